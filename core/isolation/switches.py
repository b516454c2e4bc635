"""PyTorch's switches that decide what is computed: those of the process, and those of a thread.

Each with how it is read and set, and the value that PyTorch starts with: the state that taskodec computes in
(`taskodec.isolation.ambient`).
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from typing import Any

import torch
from torch._C import _len_torch_function_stack
from torch.overrides import _pop_mode, _push_mode
from torch.utils import _device
from torch.utils._device import DeviceContext

__all__ = ["Switch", "ThreadSwitches", "process_switches"]

Precisions = tuple[tuple[str, str, str], ...]
"""Backend, kind of operation, and the precision of its float32."""

FP32: Precisions = (
    ("generic", "all", "none"),
    ("cuda", "all", "none"),
    ("cuda", "matmul", "none"),
    ("cuda", "conv", "tf32"),
    ("cuda", "rnn", "tf32"),
    ("mkldnn", "all", "none"),
    ("mkldnn", "matmul", "none"),
    ("mkldnn", "conv", "none"),
    ("mkldnn", "rnn", "none"),
)
"""As PyTorch starts; `none` is what `generic` says, and that is what float32 has."""


HALF = {"cpu": torch.bfloat16, "cuda": torch.float16, "mps": torch.float16, "xpu": torch.float16}
"""What autocast computes in, by device, unless told otherwise."""

SMALL = sys.float_info.min


@dataclass(frozen=True)
class Switch:
    """One setting of the process: `read` it, `write` it; `plain` is what PyTorch starts with."""

    name: str
    read: Callable[[], Any]
    write: Callable[[Any], object]
    plain: Any

    def is_plain(self, value: Any) -> bool:
        """Whether this value computes as `plain` does."""
        return bool(value == self.plain)


class _Fp32(Switch):
    """Where the full precision of float32 is named, it is the same as where nothing is."""

    def is_plain(self, value: Any) -> bool:
        full = tuple(
            (backend, kind, "none" if precision == "ieee" else precision) for backend, kind, precision in value
        )
        return bool(full == self.plain)


@cache
def process_switches() -> tuple[Switch, ...]:
    """All of them, in the order in which they are to be written."""
    switches = [
        Switch("default dtype", torch.get_default_dtype, torch.set_default_dtype, torch.float32),
        Switch("deterministic algorithms", _deterministic, _set_deterministic, (False, False)),
        Switch("anomaly mode", _anomaly, _set_anomaly, (False, True)),
        *_precisions(),
        *_kernels(),
    ]
    return tuple(switches + (_cuda() if torch.cuda.is_available() else []))


def _precisions() -> list[Switch]:
    """Of float32. Those of each backend, which torch has from 2.9 on, come first: mixed, they make the other raise."""
    matmul = Switch(
        "float32 matmul precision", torch.get_float32_matmul_precision, torch.set_float32_matmul_precision, "highest"
    )
    if hasattr(torch._C, "_get_fp32_precision_getter"):
        return [_Fp32("fp32 precisions", _fp32, _set_fp32, FP32), matmul]
    return [matmul, Switch("TF32 of cuDNN", *_attribute(torch.backends.cudnn, "allow_tf32"), True)]


def _kernels() -> list[Switch]:
    """Which implementations may be chosen: each rounds in its own way."""
    cuda, mkldnn, cudnn = torch.backends.cuda, torch.backends.mkldnn, torch.backends.cudnn
    attention = (
        ("flash", cuda.flash_sdp_enabled, cuda.enable_flash_sdp),
        ("memory-efficient", cuda.mem_efficient_sdp_enabled, cuda.enable_mem_efficient_sdp),
        ("plain", cuda.math_sdp_enabled, cuda.enable_math_sdp),
        ("cuDNN", cuda.cudnn_sdp_enabled, cuda.enable_cudnn_sdp),
    )
    mha = torch.backends.mha
    return [
        Switch("oneDNN", *_attribute(mkldnn, "enabled"), True),
        Switch("oneDNN deterministic", *_attribute(mkldnn, "deterministic"), False),
        Switch("NNPACK", torch._C._get_nnpack_enabled, torch._C._set_nnpack_enabled, True),
        Switch("cuDNN", *_attribute(cudnn, "enabled"), True),
        Switch("cuDNN benchmark", *_attribute(cudnn, "benchmark"), False),
        Switch("cuDNN deterministic", *_attribute(cudnn, "deterministic"), False),
        Switch("fast path of attention", mha.get_fastpath_enabled, mha.set_fastpath_enabled, True),
        *(Switch(f"{name} attention", read, write, True) for name, read, write in attention),
    ]


def _cuda() -> list[Switch]:
    """Which sums of a GPU may be in few bits."""
    matmul = torch.backends.cuda.matmul
    return [
        Switch(f"{kind} sums", *_attribute(matmul, f"allow_{kind}_reduced_precision_reduction"), True)
        for kind in ("fp16", "bf16")
    ]


def _attribute(owner: Any, name: str) -> tuple[Callable[[], Any], Callable[[Any], object]]:
    return lambda: getattr(owner, name), lambda value: setattr(owner, name, value)


def _deterministic() -> tuple[bool, bool]:
    return torch.are_deterministic_algorithms_enabled(), torch.is_deterministic_algorithms_warn_only_enabled()


def _set_deterministic(value: tuple[bool, bool]) -> None:
    torch.use_deterministic_algorithms(value[0], warn_only=value[1])


def _anomaly() -> tuple[bool, bool]:
    return torch.is_anomaly_enabled(), torch.is_anomaly_check_nan_enabled()


def _set_anomaly(value: tuple[bool, bool]) -> None:
    torch.set_anomaly_enabled(*value)


def _fp32() -> Precisions:
    return tuple((where, kind, torch._C._get_fp32_precision_getter(where, kind)) for where, kind, _ in FP32)


def _set_fp32(value: Precisions) -> None:
    for where, kind, precision in value:
        if torch._C._get_fp32_precision_getter(where, kind) != precision:  # else it may be what one above says
            torch._C._set_fp32_precision_setter(where, kind, precision)


class ThreadSwitches:
    """What this thread had set when this was made; inference mode aside, which only a `with` block can leave."""

    def __init__(self) -> None:
        self.grad = torch.is_grad_enabled()
        self.autocast = _autocast()
        self.nesting = _nesting()
        self.modes = _modes()
        self.default = getattr(torch._GLOBAL_DEVICE_CONTEXT, "device_context", None)
        self.current = getattr(_device, "CURRENT_DEVICE", None)
        self.flushes = _flushes_denormals()

    def make_plain(self) -> None:
        """As in a new thread of a new process."""
        torch.set_grad_enabled(True)
        for device, (enabled, dtype) in _autocast().items():
            _set_autocast(device, (enabled, dtype), (False, HALF[device]))
        _nest(0)  # or what autocast keeps of a parameter would outlive the step that changes it
        if self.modes:
            _set_modes([mode for mode in self.modes if not isinstance(mode, DeviceContext)])
        _name_default(None, None)
        if self.flushes:
            torch.set_flush_denormal(False)

    def restore(self) -> None:
        """As it was."""
        if torch.is_grad_enabled() != self.grad:
            torch.set_grad_enabled(self.grad)
        for device, now in _autocast().items():
            _set_autocast(device, now, self.autocast[device])
        _nest(self.nesting)
        if _modes() != self.modes:
            _set_modes(self.modes)
        _name_default(self.default, self.current)
        if _flushes_denormals() != self.flushes:
            torch.set_flush_denormal(self.flushes)


@cache
def _autocast_devices() -> tuple[str, ...]:
    others = (("cuda", torch.cuda), ("mps", torch.mps), ("xpu", torch.xpu))
    return ("cpu", *(name for name, device in others if device.is_available()))


def _autocast() -> dict[str, tuple[bool, torch.dtype]]:
    return {d: (torch.is_autocast_enabled(d), torch.get_autocast_dtype(d)) for d in _autocast_devices()}


def _set_autocast(device: str, now: tuple[bool, torch.dtype], wanted: tuple[bool, torch.dtype]) -> None:
    if now != wanted:
        torch.set_autocast_enabled(device, wanted[0])
        torch.set_autocast_dtype(device, wanted[1])


def _nesting() -> int:
    """How many blocks of autocast are open."""
    torch.autocast_increment_nesting()
    return torch.autocast_decrement_nesting()


def _nest(wanted: int) -> None:
    for _ in range(_nesting(), wanted):
        torch.autocast_increment_nesting()
    for _ in range(wanted, _nesting()):
        torch.autocast_decrement_nesting()


def _modes() -> list[Any]:
    """What torch's functions go through, innermost last: a default device is one of them."""
    stack: Any = torch.overrides._get_current_function_mode_stack
    return list(stack()) if _len_torch_function_stack() else []


def _set_modes(modes: list[Any]) -> None:
    for _ in range(_len_torch_function_stack()):
        _pop_mode()  # type: ignore[no-untyped-call]
    for mode in modes:
        _push_mode(mode)  # type: ignore[no-untyped-call]


def _name_default(context: Any, current: torch.device | None) -> None:
    """What `torch.set_default_device` notes beside the modes."""
    if getattr(torch._GLOBAL_DEVICE_CONTEXT, "device_context", None) is not context:
        torch._GLOBAL_DEVICE_CONTEXT.device_context = context
    if getattr(_device, "CURRENT_DEVICE", current) is not current:
        _device.CURRENT_DEVICE = current


def _flushes_denormals() -> bool:
    return SMALL / 2 == 0
