"""Where the time goes: seconds and multiplications of the stages of coding, measured around the methods that do them.

Objects get a wrapped method for as long as the measurement lasts, and are left as they were.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Protocol, runtime_checkable

__all__ = ["Span", "Stage", "Staged", "count_multiplications", "record"]

Method = Callable[..., Any]


@dataclass(frozen=True)
class Stage:
    """One method of one object, and the stage of coding it belongs to: `analysis`, `entropy` or `synthesis`.

    `part` names it within the stage, where that has several.
    """

    name: str
    owner: object
    method: str
    part: str = ""

    def check(self) -> None:
        """TypeError unless the owner has this method, and can be given another."""
        if not hasattr(self.owner, "__dict__") or not callable(getattr(self.owner, self.method, None)):
            raise TypeError(f"stage {self.name!r}: no method {self.method!r} to measure in {type(self.owner).__name__}")


@dataclass(frozen=True)
class Span:
    """One call of a stage's method; times are those of `time.perf_counter`."""

    stage: Stage
    begin: float
    end: float

    @property
    def seconds(self) -> float:
        """How long it took."""
        return self.end - self.begin


@runtime_checkable
class Staged(Protocol):
    """An anchor that says what its stages are."""

    def stages(self) -> Sequence[Stage]:
        """The methods that encoding and decoding call."""


@contextmanager
def record(stages: Sequence[Stage]) -> Iterator[list[Span]]:
    """A list that every call of these methods is added to. One inside another is part of the other, and left out."""
    spans: list[Span] = []

    def timed(stage: Stage, method: Method) -> Method:
        def call(*args: Any, **kwargs: Any) -> Any:
            begin = time.perf_counter()
            result = method(*args, **kwargs)
            spans.append(Span(stage, begin, time.perf_counter()))
            return result

        return call

    with _wrapped(stages, timed):
        yield spans


@contextmanager
def count_multiplications(stages: Sequence[Stage]) -> Iterator[Counter[str]]:
    """Multiplications of convolutions and matrix products on tensors, by the name of the stage."""
    import torch
    from torch.utils.flop_counter import FlopCounterMode, conv_flop_count, sdpa_flop_count

    found: Counter[str] = Counter()
    attention = torch.ops.aten._scaled_dot_product_flash_attention_for_cpu  # torch knows those of GPUs only
    direct = torch.ops.aten.mkldnn_convolution  # nor oneDNN's own, where a codec calls them
    formulas = {
        attention: lambda q, k, v, *_, **__: sdpa_flop_count(q, k, v),  # type: ignore[no-untyped-call]
        direct: lambda x, w, *_, out_shape, **__: conv_flop_count(x, w, out_shape),
    }

    def counted(stage: Stage, method: Method) -> Method:
        def call(*args: Any, **kwargs: Any) -> Any:
            with FlopCounterMode(display=False, custom_mapping=formulas) as counter:
                result = method(*args, **kwargs)
            found[stage.name] += counter.get_total_flops() // 2  # it counts the additions too
            return result

        return call

    with _wrapped(stages, counted):
        yield found


@contextmanager
def _wrapped(stages: Sequence[Stage], wrap: Callable[[Stage, Method], Method]) -> Iterator[None]:
    """Put a wrapper around every method, of which only the outermost does anything."""
    inside: list[Stage] = []

    def outermost(stage: Stage) -> Method:
        plain = getattr(stage.owner, stage.method)
        wrapped = wrap(stage, plain)

        def call(*args: Any, **kwargs: Any) -> Any:
            if inside:
                return plain(*args, **kwargs)
            inside.append(stage)
            try:
                return wrapped(*args, **kwargs)
            finally:
                inside.pop()

        return call

    before = [(stage, vars(stage.owner).get(stage.method)) for stage in stages]
    try:
        for stage in stages:
            setattr(stage.owner, stage.method, outermost(stage))
        yield
    finally:
        for stage, own in reversed(before):
            if own is not None:
                setattr(stage.owner, stage.method, own)
            elif stage.method in vars(stage.owner):
                delattr(stage.owner, stage.method)
