"""Rate-distortion curves and what they say: means over images, and BD-rates of learned codecs against anchors."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from itertools import pairwise
from statistics import fmean
from typing import TYPE_CHECKING, Any

from taskodec.extras import missing, require
from taskodec.report.run_page import framed

if TYPE_CHECKING:
    from taskodec.bench.fidelity import Point

__all__ = [
    "METRICS",
    "MIN_OVERLAP",
    "MIN_POINTS",
    "BDRate",
    "Comparison",
    "Curve",
    "CurvePoint",
    "Summary",
    "bd_rate",
    "common_range",
    "decibel",
    "pchip_bd_rate",
    "pchip_bd_value",
    "summarise",
]

MIN_POINTS = 4
"""Points that a curve needs for a BD-rate, as in the method's definition."""

PCHIP: dict[str, Any] = {"method": "pchip", "require_matching_points": False, "min_overlap": 0}
"""How `bjontegaard` interpolates; what curves must share is checked here."""

MIN_OVERLAP = 0.25
"""What two curves must share at least of the shorter one's range of quality."""


@dataclass(frozen=True)
class CurvePoint:
    """Means over images at one quality; seconds and LPIPS are None where they are not known."""

    quality: float
    bpp: float
    psnr: float
    ms_ssim: float
    lpips: float | None = None
    encode_seconds: float | None = None
    decode_seconds: float | None = None

    @property
    def ms_ssim_db(self) -> float:
        """MS-SSIM in dB, of the mean."""
        return decibel(self.ms_ssim)


Metric = Callable[[CurvePoint], float]

METRICS: dict[str, Metric] = {"PSNR": lambda point: point.psnr, "MS-SSIM": lambda point: point.ms_ssim_db}
"""What BD-rates are given for; both in dB."""


@dataclass(frozen=True)
class Curve:
    """A codec's points, ascending in rate. `kind` is codec or anchor."""

    name: str
    kind: str
    points: tuple[CurvePoint, ...]


@dataclass(frozen=True)
class BDRate:
    """A BD-rate in percent, less than zero for fewer bits, with the range of quality (dB) it is an average over.

    `percent` is None if there is none, and `problem` says why.
    """

    percent: float | None
    low: float = math.nan
    high: float = math.nan
    problem: str = ""


@dataclass(frozen=True)
class Comparison:
    """A codec against an anchor in one metric: on every image, and on the mean curves.

    `per_image` is the mean over those `used` of all `images` whose curves can be compared; `problems` says how
    many could not, and why.
    """

    codec: str
    anchor: str
    metric: str
    per_image: float | None
    used: int
    images: int
    problems: dict[str, int]
    mean_curve: BDRate


@dataclass(frozen=True)
class Summary:
    """All that a benchmark says."""

    images: int
    devices: tuple[str, ...]
    curves: tuple[Curve, ...]
    comparisons: tuple[Comparison, ...]

    def _repr_html_(self) -> str | None:
        from taskodec.bench.pages import rates_part

        return None if missing("report") else framed([rates_part(self)])


def decibel(ms_ssim: float) -> float:
    """-10 log10(1 - MS-SSIM), at most 100."""
    return -10 * math.log10(max(1 - ms_ssim, 1e-10))


def bd_rate(
    rate_anchor: Sequence[float], db_anchor: Sequence[float], rate_test: Sequence[float], db_test: Sequence[float]
) -> BDRate:
    """How many percent more bits the test needs than the anchor for the same quality (Bjøntegaard 2001, VCEG-M33).

    Log-rates are interpolated by piecewise cubics (PCHIP, as in JVET's common test conditions) over the range of
    quality that both curves have. There is none for curves of fewer than four points, for such as do not ascend,
    and for ranges that hardly meet.
    """
    curves = {"anchor": sorted(zip(rate_anchor, db_anchor, strict=True))}
    curves["codec"] = sorted(zip(rate_test, db_test, strict=True))
    for whose, curve in curves.items():
        if len(curve) < MIN_POINTS:
            return BDRate(
                None, problem=f"the {whose}'s curve has {len(curve)} points, at least {MIN_POINTS} are needed"
            )
        if any(a[0] >= b[0] or a[1] >= b[1] for a, b in pairwise(curve)):
            return BDRate(None, problem=f"the {whose}'s curve does not ascend: more bits gave no better picture")
    low, high, share = common_range([value for _, value in curves["anchor"]], [value for _, value in curves["codec"]])
    if share <= 0:
        return BDRate(None, low, high, "the curves do not overlap in quality")
    if share < MIN_OVERLAP:
        return BDRate(None, low, high, f"the curves overlap only from {low:.1f} to {high:.1f} dB")
    rates_and_dbs = [list(column) for curve in curves.values() for column in zip(*curve, strict=True)]
    return BDRate(pchip_bd_rate(*rates_and_dbs), low, high)


def common_range(anchor: Sequence[float], test: Sequence[float]) -> tuple[float, float, float]:
    """From where to where the values of both go, and which share of the shorter range that is; below 0 for none."""
    ranges = [(min(values), max(values)) for values in (anchor, test)]
    low, high = max(r[0] for r in ranges), min(r[1] for r in ranges)
    shorter = min(r[1] - r[0] for r in ranges)
    return low, high, (high - low) / shorter if shorter > 0 else 0.0


def pchip_bd_rate(
    rate_anchor: Sequence[float], value_anchor: Sequence[float], rate_test: Sequence[float], value_test: Sequence[float]
) -> float:
    """The BD-rate in percent of curves that ascend strictly, over the range that both have."""
    return float(_bjontegaard().bd_rate(rate_anchor, value_anchor, rate_test, value_test, **PCHIP))


def pchip_bd_value(
    rate_anchor: Sequence[float], value_anchor: Sequence[float], rate_test: Sequence[float], value_test: Sequence[float]
) -> float:
    """How much higher the test's values are at equal rates, on average over the log-rates that both curves have."""
    return float(_bjontegaard().bd_psnr(rate_anchor, value_anchor, rate_test, value_test, **PCHIP))


def _bjontegaard() -> Any:
    """The library; UsageError without it."""
    require("eval", "BD-rates", only=["bjontegaard"])
    import bjontegaard

    return bjontegaard


def summarise(points: Iterable[Point]) -> Summary:
    """Mean curves of all codecs, and every learned codec against every anchor."""
    points = list(points)
    by_codec: dict[str, list[Point]] = {}
    for point in points:
        by_codec.setdefault(point.codec, []).append(point)
    curves = tuple(_curve(name, of) for name, of in by_codec.items())
    comparisons = tuple(
        _compare(codec, anchor, metric, by_codec)
        for codec in curves
        if codec.kind == "codec"
        for anchor in curves
        if anchor.kind == "anchor"
        for metric in METRICS
    )
    images = len({point.image for point in points})
    devices = tuple(sorted({f"{point.device}: {point.version}" for point in points if not point.anchor}))
    return Summary(images, devices, curves, comparisons)


def _curve(name: str, points: Sequence[Point]) -> Curve:
    """The mean at every quality."""
    by_quality: dict[float, list[Point]] = {}
    for point in points:
        by_quality.setdefault(point.quality, []).append(point)
    means = [
        CurvePoint(
            quality=quality,
            bpp=fmean(p.bpp for p in of),
            psnr=fmean(p.psnr for p in of),
            ms_ssim=fmean(p.ms_ssim for p in of),
            lpips=None if any(p.lpips is None for p in of) else fmean(p.lpips or 0.0 for p in of),
            encode_seconds=fmean(p.encode_seconds for p in of),
            decode_seconds=fmean(p.decode_seconds for p in of),
        )
        for quality, of in by_quality.items()
    ]
    return Curve(name, "anchor" if points[0].anchor else "codec", tuple(sorted(means, key=lambda mean: mean.bpp)))


def _compare(codec: Curve, anchor: Curve, metric: str, points: dict[str, list[Point]]) -> Comparison:
    """One codec against one anchor, image by image and on the mean curves."""
    images = sorted({point.image for point in points[codec.name]})
    found = []
    for image in images:
        own = [_curve(name, [p for p in points[name] if p.image == image]) for name in (codec.name, anchor.name)]
        found.append(_of_curves(own[0], own[1], metric))
    values = [each.percent for each in found if each.percent is not None]
    problems = [_kind_of(each.problem) for each in found if each.percent is None]
    return Comparison(
        codec=codec.name,
        anchor=anchor.name,
        metric=metric,
        per_image=fmean(values) if values else None,
        used=len(values),
        images=len(images),
        problems={problem: problems.count(problem) for problem in sorted(set(problems))},
        mean_curve=_of_curves(codec, anchor, metric),
    )


def _kind_of(problem: str) -> str:
    """A problem without the figures of one image, so that equal ones can be counted."""
    return problem.partition(" from ")[0]


def _of_curves(codec: Curve, anchor: Curve, metric: str) -> BDRate:
    value = METRICS[metric]
    (rate_anchor, db_anchor), (rate_codec, db_codec) = (
        ([point.bpp for point in curve.points], [value(point) for point in curve.points]) for curve in (anchor, codec)
    )
    return bd_rate(rate_anchor, db_anchor, rate_codec, db_codec)
