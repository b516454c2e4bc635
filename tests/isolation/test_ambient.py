import contextlib
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from switches import dtype, put

from taskodec.api.compressor import Compressor
from taskodec.api.decompressor import Decompressor
from taskodec.codecs.lite.codec import Lite
from taskodec.errors import TaskError
from taskodec.hooks.registry import Registry
from taskodec.hooks.specs import CodecSpec, hookimpl
from taskodec.images.tensors import load_image
from taskodec.isolation.switches import process_switches
from taskodec.settings.model import load_settings
from taskodec.stream.bitstream import Stream

PHASES = "ttft.phases=[{train: [encoder, decoder, latents], steps: 2, lr: 0.05, lr_latents: 0.1, rounding: mixed}]"
ALWAYS_SENT = ["ttft.keep=last", "ttft.send=tuned", "ttft.search=[]"]
SETTINGS = load_settings(overrides=[PHASES, *ALWAYS_SENT, "adapter=svd-lora", "quality=2", "task.lmbda=300"])


def darker(x_hat, x):
    return (x_hat - 0.8 * x).square().mean()


def attribute(owner, name, value):
    return put(lambda: getattr(owner, name), lambda found: setattr(owner, name, found), value)


def matmul(value):
    return put(torch.get_float32_matmul_precision, torch.set_float32_matmul_precision, value)


def flushed():
    """Denormals are zero; there is nothing in Python that says whether they are."""
    return put(lambda: sys.float_info.min / len("ab") == 0, torch.set_flush_denormal, True)


@contextlib.contextmanager
def default_device():
    torch.set_default_device("meta")
    try:
        yield
    finally:
        torch.set_default_device(None)


@contextlib.contextmanager
def deterministic():
    torch.use_deterministic_algorithms(True)
    try:
        yield
    finally:
        torch.use_deterministic_algorithms(False)


AMBIENT = {
    "autocast in bfloat16": lambda: torch.autocast("cpu", torch.bfloat16),
    "autocast in float16": lambda: torch.autocast("cpu", torch.float16),
    "no_grad": torch.no_grad,
    "inference_mode": torch.inference_mode,
    "default dtype float64": lambda: dtype(torch.float64),
    "default dtype bfloat16": lambda: dtype(torch.bfloat16),
    "default device": default_device,
    "device block": lambda: torch.device("meta"),
    "deterministic algorithms": deterministic,
    "anomaly mode": lambda: torch.autograd.set_detect_anomaly(True),
    "matmul precision high": lambda: matmul("high"),
    "matmul precision medium": lambda: matmul("medium"),
    "without oneDNN": lambda: attribute(torch.backends.mkldnn, "enabled", False),
    "without NNPACK": lambda: put(torch._C._get_nnpack_enabled, torch._C._set_nnpack_enabled, False),
    "plain attention": lambda: torch.nn.attention.sdpa_kernel(torch.nn.attention.SDPBackend.MATH),
    "one thread": lambda: put(torch.get_num_threads, torch.set_num_threads, 1),
    "denormals are zero": flushed,
    "errors of numpy raise": lambda: np.errstate(all="raise"),
    "saved tensors on the CPU": torch.autograd.graph.save_on_cpu,
}
if hasattr(torch.backends, "fp32_precision"):
    AMBIENT["fp32 precision tf32"] = lambda: attribute(torch.backends, "fp32_precision", "tf32")
    AMBIENT["oneDNN in bfloat16"] = lambda: attribute(torch.backends.mkldnn.matmul, "fp32_precision", "bf16")


def state():
    """All that is looked at, as it is here and now."""
    device = torch.get_default_device() if not torch.is_inference_mode_enabled() else None
    thread = (torch.is_grad_enabled(), torch.is_inference_mode_enabled(), torch.is_autocast_enabled("cpu"), device)
    autocast = (torch.get_autocast_dtype("cpu"), torch.is_autocast_cache_enabled(), torch.get_num_threads())
    return *thread, *autocast, np.geterr(), sys.float_info.min / len("ab") == 0, switches()


def switches():
    found = []
    for switch in process_switches():
        try:
            found.append(switch.read())
        except RuntimeError as error:  # precisions of a new kind make the old kind raise
            found.append(type(error))
    return found


@pytest.fixture(scope="module")
def x():
    return load_image(Path(__file__).parents[2] / "docs" / "images" / "kodim23.png").x[..., 128:178, 192:250].clone()


@pytest.fixture(scope="module")
def registry(small_lite):
    """With a small codec of the kind of `lite`, which is made anew whenever it is loaded."""

    def load(quality=3.0):
        codec = Lite(M=16, N=24, D=20, stem=8, Z=8, F=12, C=8)
        codec.load_state_dict(small_lite.state_dict())
        return codec

    class Plugin:
        @hookimpl
        def register_codecs(self):
            return [CodecSpec("lite", load)]

    found = Registry()
    found.load_builtins(("taskodec.adapters.plugin", "taskodec.plugins.perception"))
    found.register(Plugin(), "tests")
    return found


@pytest.fixture(scope="module")
def alone(x, registry):
    """A stream and its picture, without any setting."""
    stream = Compressor(SETTINGS, registry, darker).compress(x).stream
    assert Stream.from_bytes(stream).header.has_delta
    return stream, np.asarray(Decompressor(registry=registry).decompress(stream))


@pytest.mark.parametrize("name", AMBIENT)
def test_whatever_the_caller_has_set_bytes_and_pictures_are_those_without_it(name, x, alone, registry):
    with AMBIENT[name]():
        before = state()
        result = Compressor(SETTINGS, registry, darker).compress(x)
        report = result.report()
        picture = np.asarray(Decompressor(registry=registry).decompress(result.stream))
        assert state() == before
    assert result.stream == alone[0]
    assert np.array_equal(picture, alone[1])
    assert np.array_equal(np.asarray(result.image), alone[1])
    assert not result.x.is_inference()
    assert report["chosen"] == "encoder+decoder+latents"


@pytest.mark.parametrize("name", AMBIENT)
def test_what_the_caller_has_set_holds_after_an_error_too(name, x, registry):
    def broken(x_hat, x):
        raise ValueError("no")

    compressor = Compressor(SETTINGS, registry, broken)
    with AMBIENT[name]():
        before = state()
        with pytest.raises(TaskError, match="raised ValueError: no"):
            compressor.compress(x)
        assert state() == before


LEAKS = {
    "grad mode": lambda: torch.set_grad_enabled(False),
    "inference mode": lambda: torch.inference_mode().__enter__(),
    "autocast": lambda: torch.autocast("cpu", torch.bfloat16).__enter__(),
    "autocast switch": lambda: torch.set_autocast_enabled("cpu", True),
    "default dtype": lambda: torch.set_default_dtype(torch.float64),
    "default device": lambda: torch.set_default_device("meta"),
    "device block": lambda: torch.device("meta").__enter__(),
    "deterministic algorithms": lambda: torch.use_deterministic_algorithms(True),
    "anomaly mode": lambda: torch.set_anomaly_enabled(True),
    "matmul precision": lambda: torch.set_float32_matmul_precision("medium"),
    "oneDNN": lambda: setattr(torch.backends.mkldnn, "enabled", False),
    "threads": lambda: torch.set_num_threads(torch.get_num_threads() + 1),
    "denormals": lambda: torch.set_flush_denormal(True),
    "seed": lambda: torch.manual_seed(0),
}


@pytest.mark.parametrize("name", LEAKS)
def test_what_a_loss_changes_is_as_before_after_it(name, x, alone, registry):
    """It runs in the clean state each time, and its own value is right: everything is computed before it changes it."""
    found = []

    def leaking(x_hat, x):
        loss = darker(x_hat, x)
        found.append((torch.get_default_dtype(), torch.is_autocast_enabled("cpu"), torch.backends.mkldnn.enabled))
        LEAKS[name]()
        return loss

    before, numbers = state(), torch.get_rng_state()
    stream = Compressor(SETTINGS, registry, leaking).compress(x).stream
    assert state() == before
    assert torch.equal(torch.get_rng_state(), numbers)
    assert set(found) == {(torch.float32, False, True)}
    assert stream == alone[0]


def test_what_a_progress_callback_changes_is_as_before_after_it(x, alone, registry):
    def leaking(*_):
        for leak in LEAKS.values():
            leak()

    before = state()
    assert Compressor(SETTINGS, registry, darker).compress(x, leaking).stream == alone[0]
    assert state() == before


@pytest.mark.parametrize("where", ["module", "loader"])
def test_what_a_task_file_changes_while_it_is_loaded_is_as_before_after_it(tmp_path, where):
    leak = "torch.set_default_dtype(torch.float64); torch.set_grad_enabled(False); torch.set_default_device('meta')"
    plugin = tmp_path / "leaking.py"
    indented = "\n".join(["class Leaking(Task):", '    name = "leaking"', "    def __init__(self):", f"        {leak}"])
    methods = "    def prepare(self, x): return x\n    def loss(self, x_hat, x): return (x_hat - x).square().mean()\n"
    first = f"import torch\nfrom taskodec import Task\n{leak if where == 'module' else ''}\n"
    plugin.write_text(first + (indented if where == "loader" else indented.replace(leak, "pass")) + "\n" + methods)
    before = state()
    assert Registry().task_from(f"{plugin}:Leaking").name == "leaking"
    assert state() == before
