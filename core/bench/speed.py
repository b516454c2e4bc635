"""Seconds of codecs and anchors on the same images, in turn, in one process with one number of threads.

Every image is coded by all entries once to warm up, then in turn A B A B … for some rounds, so that whatever else
the machine does meets all of them alike. Figures are means over images of the minimum and of the median over rounds;
the stages are those of the median's round, so that they add up to it.
"""

from __future__ import annotations

import statistics
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import chain
from typing import TypeVar

import torch
from PIL import Image

from taskodec.bench.coders import Coder, Entry
from taskodec.bench.fidelity import Source, check_once
from taskodec.coding.stages import Span, count_multiplications, record
from taskodec.console.progress import Progress
from taskodec.errors import TaskodecError, UsageError
from taskodec.images.tensors import MAX_PIXELS, load_image, to_pil
from taskodec.isolation.ambient import in_clean_state
from taskodec.settings.model import Settings

__all__ = ["Lap", "Side", "Speed", "SpeedSummary", "TimedImage", "on_cpu", "run_speed", "torch_threads"]

Key = TypeVar("Key")
Result = TypeVar("Result")

PICTURE, REST = "picture", "rest"


@dataclass(frozen=True)
class Lap:
    """One coding or decoding of one image.

    `stages` divide the seconds: `picture` is what goes before the first stage of encoding (conversion, padding) or
    after the last of decoding (cropping, conversion), `rest` all that is in no other. Empty if no stage is known.
    `parts` divide some stages further, as (stage, part).
    """

    seconds: float
    stages: Mapping[str, float]
    parts: Mapping[tuple[str, str], float]


@dataclass(frozen=True)
class Side:
    """Encoding or decoding: `laps[image][round]`, and multiplications per pixel of each stage."""

    laps: Sequence[Sequence[Lap]]
    multiplications: Mapping[str, float]

    @property
    def minimum(self) -> float:
        """Seconds per image: mean over images of the shortest round."""
        return statistics.fmean(min(lap.seconds for lap in rounds) for rounds in self.laps)

    @property
    def median(self) -> float:
        """Seconds per image: mean over images of the median round, the faster one of two."""
        return statistics.fmean(lap.seconds for lap in self._median_laps())

    @property
    def stages(self) -> dict[str, float]:
        """Seconds per image of each stage in the median rounds."""
        return _means([lap.stages for lap in self._median_laps()])

    @property
    def parts(self) -> dict[tuple[str, str], float]:
        """Seconds per image of each part of a stage in the median rounds."""
        return _means([lap.parts for lap in self._median_laps()])

    def _median_laps(self) -> list[Lap]:
        return [sorted(rounds, key=lambda lap: lap.seconds)[(len(rounds) - 1) // 2] for rounds in self.laps]


@dataclass(frozen=True)
class Speed:
    """One codec or anchor at one quality; `bytes` is the mean size of its files."""

    codec: str
    anchor: bool
    fidelity: bool
    quality: float
    version: str
    bytes: float
    encode: Side
    decode: Side


@dataclass(frozen=True)
class TimedImage:
    """A picture that was coded."""

    name: str
    digest: str
    width: int
    height: int


@dataclass(frozen=True)
class SpeedSummary:
    """Everything measured, and on what."""

    device: str
    threads: int
    rounds: int
    images: Sequence[TimedImage]
    speeds: Sequence[Speed]

    @property
    def anchors(self) -> list[Speed]:
        """What the codecs are compared with."""
        return [speed for speed in self.speeds if speed.anchor]


def on_cpu(settings: Settings) -> Settings:
    """The settings with the CPU as device; UsageError if they ask for another, where anchors could not follow."""
    if settings.device not in ("auto", "cpu"):
        raise UsageError(
            f"device={settings.device}: speed is compared on the CPU, where the anchors run; leave the setting out"
        )
    return settings.model_copy(update={"device": "cpu"})


@in_clean_state
def run_speed(
    images: Sequence[Source],
    entries: Sequence[Entry],
    *,
    rounds: int = 5,
    threads: int | None = None,
    max_pixels: int = MAX_PIXELS,
    progress: Progress | None = None,
) -> SpeedSummary:
    """Time all entries on all images; `threads` None leaves torch's number.

    Learned codecs are timed at all qualities of their entries, an anchor at the middle one of its own. UsageError if
    an entry is there twice, or if there is nothing to do; errors of coding say which codec and image.
    """
    check_once(entries)
    if not images or not entries or rounds < 1 or (threads is not None and threads < 1):
        raise UsageError("nothing to time: give an image, a codec, and at least one round and one thread")
    with torch_threads(threads):
        racers = [_Racer(entry, quality) for entry in entries for quality in _qualities(entry)]
        timed = []
        for source in images:
            picture = to_pil(load_image(source.path, max_pixels=max_pixels).x)  # every codec gets 8-bit RGB
            timed.append(TimedImage(source.path.name, source.digest, *picture.size))
            _race(racers, picture, source, rounds)
            if progress is not None:
                progress(len(timed), len(images), {})
        pixels = sum(image.width * image.height for image in timed)
        capability = torch.backends.cpu.get_cpu_capability()
        return SpeedSummary(
            f"cpu ({capability})", torch.get_num_threads(), rounds, timed, [racer.speed(pixels) for racer in racers]
        )


class _Racer:
    """One entry at one quality, and what was measured of it."""

    def __init__(self, entry: Entry, quality: float) -> None:
        self.entry, self.quality = entry, quality
        self.coder: Coder = entry.at(quality)
        self.encoded: list[list[Lap]] = []
        self.decoded: list[list[Lap]] = []
        self.sizes: list[int] = []
        self.products: dict[str, Counter[str]] = {"encode": Counter(), "decode": Counter()}

    def warm_up(self, picture: Image.Image) -> None:
        """Code once as it is, and once more to count multiplications."""
        data = self.coder.encode(picture)
        decoded = self.coder.decode(data)
        if decoded.size != picture.size:
            raise TaskodecError(f"decoded to {decoded.size} pixels, the image has {picture.size}")
        with count_multiplications(self.coder.stages()) as found:
            self.coder.encode(picture)
            self.products["encode"] += found
            found.clear()
            self.coder.decode(data)
            self.products["decode"] += found
        self.sizes.append(len(data))
        self.encoded.append([])
        self.decoded.append([])

    def lap(self, picture: Image.Image) -> None:
        """Time one encoding and one decoding."""
        with record(self.coder.stages()) as spans:
            data, encoded = _timed(lambda: self.coder.encode(picture), spans, decoding=False)
            spans.clear()
            _, decoded = _timed(lambda: self.coder.decode(data), spans, decoding=True)
        self.encoded[-1].append(encoded)
        self.decoded[-1].append(decoded)

    def speed(self, pixels: int) -> Speed:
        """All that was measured, on so many pixels in all."""
        sides = [
            Side(laps, {stage: count / pixels for stage, count in self.products[name].items()})
            for name, laps in (("encode", self.encoded), ("decode", self.decoded))
        ]
        entry = self.entry
        size = statistics.fmean(self.sizes)
        return Speed(entry.name, entry.anchor, entry.fidelity, self.quality, self.coder.version, size, *sides)


@torch.no_grad()
def _race(racers: Sequence[_Racer], picture: Image.Image, source: Source, rounds: int) -> None:
    """Warm up on one picture, then take turns; errors say what was timed."""
    for number in range(rounds + 1):
        for racer in racers:
            try:
                racer.lap(picture) if number else racer.warm_up(picture)
            except TaskodecError as error:
                raise type(error)(f"{racer.entry.name}, quality {racer.quality:g}, {source.path}: {error}") from error


def _timed(call: Callable[[], Result], spans: Sequence[Span], *, decoding: bool) -> tuple[Result, Lap]:
    """What the call returns, and its seconds divided by the spans it adds."""
    begin = time.perf_counter()
    result = call()
    end = time.perf_counter()
    stages: dict[str, float] = {}
    parts: dict[tuple[str, str], float] = {}
    if spans:
        stages[PICTURE] = end - spans[-1].end if decoding else spans[0].begin - begin
    for span in spans:
        stage = span.stage
        stages[stage.name] = stages.get(stage.name, 0) + span.seconds
        if stage.part:
            parts[stage.name, stage.part] = parts.get((stage.name, stage.part), 0) + span.seconds
    if spans:
        stages[REST] = max(0.0, end - begin - sum(stages.values()))
    return result, Lap(end - begin, stages, parts)


def _means(laps: Sequence[Mapping[Key, float]]) -> dict[Key, float]:
    """Mean of every key over laps; one that a lap has not is zero there."""
    return {key: statistics.fmean(lap.get(key, 0) for lap in laps) for key in dict.fromkeys(chain(*laps))}


def _qualities(entry: Entry) -> Sequence[float]:
    """What to time: all that was asked for of a codec, one of an anchor."""
    return [entry.qualities[len(entry.qualities) // 2]] if entry.anchor else entry.qualities


@contextmanager
def torch_threads(number: int | None) -> Iterator[None]:
    """So many threads of torch for as long as this lasts."""
    before = torch.get_num_threads()
    try:
        torch.set_num_threads(number or before)
        yield
    finally:
        torch.set_num_threads(before)
