"""Make core/stream/data/gaussian_tables.npz, the integer tables that every stream is coded with.

    python scripts/make_gaussian_tables.py core/stream/data/gaussian_tables.npz

The file is part of the stream format: other integers make every existing stream undecodable.
"""

from __future__ import annotations

import math
import sys
from pathlib import Path

import numpy as np
import numpy.typing as npt

from taskodec.stream.entropy import SCALES, Tables

TAIL = 2.0**-17
"""A row ends where less than this is left outside on both sides together; the escape takes it."""


def unit_bins(scale: float) -> npt.NDArray[np.float64]:
    """Probabilities of the integers -r…r under N(0, scale²), rounded to 2**-40.

    The rounding hides the last bits, in which C libraries differ.
    """
    edge = 1.5  # at least -1, 0, 1
    while math.erfc(edge * 2**-0.5 / scale) > TAIL:
        edge += 1
    above = [0.5 * math.erfc((k - 0.5) * 2**-0.5 / scale) for k in range(int(edge) + 2)]  # mass above k - 1/2
    half = [round((above[k] - above[k + 1]) * 2**40) / 2**40 for k in range(int(edge) + 1)]
    return np.array(half[:0:-1] + half)


def make_tables() -> Tables:
    """The tables of all scales."""
    pmfs = [unit_bins(float(scale)) for scale in SCALES]
    return Tables.from_pmfs(pmfs, np.array([-(len(pmf) // 2) for pmf in pmfs]))


def main(path: str) -> None:
    """Write the file."""
    rows = make_tables().rows
    with Path(path).open("wb") as file:
        np.savez_compressed(
            file,
            lengths=np.array([len(row) for row in rows], dtype=np.uint16),
            counts=np.concatenate(rows).astype(np.uint16),
        )


if __name__ == "__main__":
    main(sys.argv[1])
