"""The weights of a codec: what counts as one, and how they are checked, filled in and saved."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from safetensors.torch import save
from torch import Tensor, nn

from taskodec.coding.tensor_files import tensor_problem
from taskodec.errors import WeightsError
from taskodec.files.atomic import write_atomic

if TYPE_CHECKING:
    from taskodec.contracts import Codec

__all__ = ["fill", "lasting_state", "save_weights"]


def lasting_state(module: nn.Module) -> dict[str, Tensor]:
    """Parameters and persistent buffers by name: all that makes one trained network another than the next.

    Caches are left out: what is made from the parameters, or never changes. A part whose state dict has such entries,
    or had them in another version, names them in its class attribute `not_weights`; CompressAI's entropy models are
    known.
    """
    caches = _caches(module)
    return {name: value for name, value in module.state_dict().items() if name not in caches}


def fill(module: nn.Module, state: Mapping[str, Tensor], source: str) -> None:
    """Copy `state` into `module`; a WeightsError names `source` and what does not fit, and changes nothing.

    Every parameter must be there. Buffers may be missing, and then stay as they are: older files have fewer.
    """
    caches = _caches(module)
    expected = lasting_state(module)
    given = {name: value for name, value in state.items() if name not in caches}
    needed = {name for name, _ in module.named_parameters()}
    problems = [*_listed("missing", needed - given.keys()), *_listed("unexpected", given.keys() - expected.keys())]
    for name in sorted(expected.keys() & given.keys()):
        if problem := tensor_problem(given[name], expected[name]):
            problems.append(f"{name}: {problem}")
    if problems:
        shown = "; ".join(problems[:8]) + ("; …" if len(problems) > 8 else "")
        raise WeightsError(
            f"{source} does not fit {type(module).__name__}: {shown}. Use a checkpoint of this very model and size."
        )
    module.load_state_dict(given, strict=False)  # strict is what has just been checked, caches left out


def save_weights(codec: Codec, weights: Mapping[str, Tensor], path: Path, card: Mapping[str, str]) -> None:
    """Write those of `weights` that last as safetensors, whole or not at all; `card` and version are its metadata."""
    names = lasting_state(codec).keys()
    kept = {name: value.detach().cpu().contiguous() for name, value in weights.items() if name in names}
    write_atomic(path, save(kept, metadata={"codec": codec.name, "format": str(codec.weights_format), **card}))


def _caches(module: nn.Module) -> set[str]:
    """Names of what is no weight in a state dict of the module."""
    return {f"{path}.{name}" if path else name for path, part in module.named_modules() for name in _caches_of(part)}


def _caches_of(part: nn.Module) -> Iterable[str]:
    theirs = sys.modules.get("compressai.entropy_models")  # where it is not imported, no part can be one of its
    if theirs is not None and isinstance(part, theirs.EntropyModel | theirs.EntropyModelVbr):
        return (name for name, _ in part.named_buffers())
    names: Iterable[str] = getattr(type(part), "not_weights", ())
    return names


def _listed(what: str, names: Iterable[str]) -> list[str]:
    """One line for all names, or none."""
    ordered = sorted(names)
    more = f" and {len(ordered) - 5} more" if len(ordered) > 5 else ""
    return [f"{what} {', '.join(ordered[:5])}{more}"] if ordered else []
