"""Weights from files: what other projects save, in the names of this one.

A checkpoint is a safetensors file, or a `torch.save` file with a dictionary of tensors, bare or under
`state_dict`. It is read as data only: a pickle that wants to run code is refused.

Left out on purpose: coding tables (`_quantized_cdf`, `_offset`, `_cdf_length`, all of `gaussian_conditional`),
which are rebuilt from the weights and so never of the wrong size, constants, and buffers and leftovers of other
implementations that this one computes itself.
"""

from __future__ import annotations

import io
import re
import zipfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from safetensors import safe_open
from torch import Tensor, nn

from taskodec.coding.bottleneck import names_of
from taskodec.coding.tensor_files import read_tensors
from taskodec.coding.weights import fill
from taskodec.console.terminal import shown
from taskodec.errors import WeightsError
from taskodec.files.atomic import pointer_to

__all__ = ["Checkpoint", "load_state", "load_tensors", "read_checkpoint"]

LEFT_OUT = re.compile(
    r"(^|\.)gaussian_conditional\."
    r"|\.(_quantized_cdf|_offset|_cdf_length|relative_position_index|attn_mask|prompt_embeddings)$"
    r"|(^|\.)entropy_bottleneck\.(target|likelihood_lower_bound\.bound)$"
)
ADAPTER = re.compile(r"(?P<layer>.+)\.w_lora_(?P<part>[USV])")


MAX_MEMBER = 2**32
"""Bytes of a checkpoint inside an archive, which is read into memory."""


@dataclass(frozen=True)
class Checkpoint:
    """The tensors of a file: the plain weights, and SVD-LoRA's U, S and V of each adapted layer."""

    state: dict[str, Tensor]
    adapter: dict[str, dict[str, Tensor]]
    format: str = ""
    """What the file calls its format, if it does; a version, in digits, where `taskodec train` wrote it."""

    def check_format(self, newest: int, source: str) -> None:
        """WeightsError, which names `source`, for a version that is not known here; 1 where the file has none."""
        known = not re.fullmatch("[0-9]+", self.format) or self.format in map(str, range(1, newest + 1))
        if not known:
            raise WeightsError(
                f"{source} has weights of format {shown(self.format)}, this version of taskodec reads up to {newest}: "
                "install a newer one"
            )


def load_state(module: nn.Module, path: str | Path, rename: Callable[[str], str] | None = None) -> Checkpoint:
    """Fill `module` with the plain weights of a file, and return all that the file holds.

    Args:
        module: gets every one of its weights replaced.
        path: the file.
        rename: the file's names to those of `module`, after `module.` prefixes are gone.

    Raises WeightsError if the file cannot be read, or does not fit.
    """
    checkpoint = read_checkpoint(path, rename)
    checkpoint.check_format(getattr(module, "weights_format", 1), str(path))
    load_tensors(module, checkpoint.state, str(path))
    return checkpoint


def read_checkpoint(path: str | Path, rename: Callable[[str], str] | None = None, member: str = "") -> Checkpoint:
    """The tensors of a file, on the CPU; with `member`, of the one in a ZIP archive whose path ends so.

    Raises WeightsError if it is not a readable checkpoint.
    """
    state: dict[str, Tensor] = {}
    adapter: dict[str, dict[str, Tensor]] = {}
    for original, value in _tensors(Path(path), member).items():
        name = original.removeprefix("module.")
        if rename is not None:
            name = rename(name)
        if part := ADAPTER.fullmatch(name):
            adapter.setdefault(part["layer"], {})[part["part"]] = value
        elif not LEFT_OUT.search(name):
            state[name] = value
    return Checkpoint(state, adapter, _format(Path(path)))


def load_tensors(module: nn.Module, state: Mapping[str, Tensor], source: str) -> None:
    """Copy `state` into `module`; a WeightsError names `source` and what does not fit, and changes nothing.

    The entropy bottleneck's parameters may have the names of any CompressAI version.
    """
    expected = module.state_dict()
    fill(module, {_name_of_prior(n, expected): v for n, v in state.items() if not LEFT_OUT.search(n)}, source)


def _tensors(path: Path, member: str = "") -> dict[str, Tensor]:
    """The file's dictionary of tensors."""
    if not path.is_file():
        raise WeightsError(f"there is no checkpoint file {path}; check the path")
    if found := pointer_to("the weights", path):
        raise WeightsError(f"{path} is {found}")
    try:
        return read_tensors(_member(path, member) if member else path)
    except WeightsError:
        raise
    except ValueError as error:
        raise WeightsError(
            f"{path} holds no dictionary of tensors, neither bare nor under 'state_dict': {_first_line(error)}"
        ) from error
    except Exception as error:  # a damaged file can raise nearly anything
        raise WeightsError(
            f"{path} cannot be read as a checkpoint ({type(error).__name__}: {_first_line(error)}); "
            "valid are safetensors files and torch.save files that hold only tensors and plain values"
        ) from error


def _format(path: Path) -> str:
    """What a safetensors file that was read calls its format; other projects write what made its tensors, `pt`."""
    if path.suffix != ".safetensors":
        return ""
    with safe_open(path, framework="pt") as file:
        return str((file.metadata() or {}).get("format", ""))


def _member(path: Path, member: str) -> BinaryIO:
    """The one file of an archive whose path ends with `member`."""
    with zipfile.ZipFile(path) as archive:
        names = [name for name in archive.namelist() if f"/{name}".endswith(f"/{member}")]
        if len(names) != 1:
            raise WeightsError(
                f"{path} has {len(names)} files {member}, expected one; it holds: {', '.join(archive.namelist()[:10])}"
            )
        if archive.getinfo(names[0]).file_size > MAX_MEMBER:
            raise WeightsError(f"{path}: {names[0]} has more than the limit of {MAX_MEMBER} bytes")
        return io.BytesIO(archive.read(names[0]))


def _name_of_prior(name: str, expected: Mapping[str, Tensor]) -> str:
    """An entropy bottleneck's parameter by the name that is expected; any other name as it is."""
    start, layer, parameter = name.rpartition("entropy_bottleneck.")
    if not layer or name in expected:
        return name
    candidates = [start + layer + known for known in names_of(parameter)]
    return next((candidate for candidate in candidates if candidate in expected), name)


def _first_line(error: Exception) -> str:
    return str(error).partition("\n")[0]
