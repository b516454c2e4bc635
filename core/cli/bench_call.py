"""What the kinds of `taskodec bench` have in common: images, codecs and anchors, and what to do with the results."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from taskodec.bench.coders import Entry
    from taskodec.bench.fidelity import Source
    from taskodec.hooks.registry import Registry
    from taskodec.settings.model import Settings

__all__ = ["BenchCall"]

NONE = "none"


@dataclass(frozen=True)
class BenchCall:
    """A call of the command, read but not yet acted on.

    Args:
        paths: the image files.
        codecs: as `NAME` or `NAME=CHECKPOINT`; empty for that of the settings.
        anchors: names with commas between, `none`, or None for those that go with the kind of benchmark.
        output: the folder of the results.
    """

    paths: Sequence[Path]
    codecs: Sequence[str]
    anchors: str | None
    output: Path
    settings: Settings
    registry: Registry
    as_json: bool
    quiet: bool

    def images(self) -> list[Source]:
        """The images, each with its digest; UsageError if two have one name, or one cannot be read."""
        from taskodec.bench.fidelity import sources

        return sources(self.paths)

    def entries(self, settings: Settings, qualities: Sequence[float] | None, anchors: str) -> list[Entry]:
        """Codecs at these qualities, then anchors: where the call names none, those of `anchors` that are here."""
        from taskodec.bench.coders import AnchorEntry, learned_entries

        names = [name.strip() for name in (anchors if self.anchors is None else self.anchors).split(",")]
        if self.anchors is None:
            names = [name for name in names if self._is_here(name)]
        compared = [] if names == [NONE] else [AnchorEntry(name, self.registry) for name in names]
        return [*learned_entries(self.codecs, settings, self.registry, qualities), *compared]

    def _is_here(self, anchor: str) -> bool:
        """Whether a usual anchor can be compared with; a warning says why not."""
        if problem := self.registry.anchors[anchor].unavailable:
            warnings.warn(f"anchor {anchor!r} is left out: {problem}", stacklevel=2)
        return not problem
