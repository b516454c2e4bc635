"""Names of training pictures as a few large arrays, which processes of a machine can share."""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import overload

import numpy as np

from taskodec.training.pictures import Picture

__all__ = ["PackedNames"]


class PackedNames(Sequence[Picture]):
    """Names in the memory of their bytes and 9 bytes each; they are pickled as buffers, which a store can share."""

    def __init__(self, pictures: Iterable[Picture]) -> None:
        text, ends, local = bytearray(), [], bytearray()
        for picture in pictures:
            text += os.fsencode(picture)
            ends.append(len(text))
            local.append(isinstance(picture, Path))
        self._text = np.frombuffer(text, np.uint8)
        self._ends = np.array(ends, np.int64)
        self._local = np.frombuffer(local, np.bool_)

    def __len__(self) -> int:
        return len(self._ends)

    @overload
    def __getitem__(self, index: int) -> Picture: ...

    @overload
    def __getitem__(self, index: slice) -> list[Picture]: ...

    def __getitem__(self, index: int | slice) -> Picture | list[Picture]:
        if isinstance(index, slice):
            return [self[one] for one in range(*index.indices(len(self)))]
        place = range(len(self))[index]
        start = int(self._ends[place - 1]) if place else 0
        name = os.fsdecode(self._text[start : int(self._ends[place])].tobytes())
        return Path(name) if self._local[place] else name
