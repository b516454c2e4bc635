"""Of how large a picture that is a piece which goes through a codec, for whoever looks at the size of pictures."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar

__all__ = ["piece_of", "whole_size"]

_WHOLE: ContextVar[tuple[int, int] | None] = ContextVar("whole", default=None)


@contextmanager
def piece_of(height: int, width: int) -> Iterator[None]:
    """Within, and in this thread or task alone, pieces of a picture of this padded size go through codecs.

    Around it may be another: what is a piece of a piece is one of the larger.
    """
    token = _WHOLE.set(whole_size() or (height, width))
    try:
        yield
    finally:
        _WHOLE.reset(token)


def whole_size() -> tuple[int, int] | None:
    """Padded height and width, in pixels, of the picture that pieces are of; None where whole pictures go through."""
    return _WHOLE.get()
