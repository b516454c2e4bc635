"""A benchmark's summary as tables in a terminal, as Markdown, as JSON, and as plots."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from taskodec.bench.plots import name_curves, new_figure, plain, save_figure
from taskodec.bench.published import PublishedCurve, against_published
from taskodec.bench.rd import METRICS, BDRate, Comparison, Curve, Summary
from taskodec.bench.tables import Table, markdown_tables, print_report

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from taskodec.bench.published import PublishedCurve

__all__ = ["as_json", "markdown", "notes", "plot", "print_tables", "tables"]

BD_NOTE = (
    "BD-rate: bits more (+) or fewer (-) than the anchor for the same quality, PCHIP over log-rate. "
    "Per image: a BD-rate for every image, then their mean. Mean curve: one BD-rate, of the curves in the first table."
)

WIDE = 0.75
"""The share of a curve's range of quality from which on a BD-rate needs no remark."""

PUBLISHED_NOTE = (
    "published curves were not measured here; BD-rates against them are those of the mean curves: * where these meet "
    "in less than three quarters of the measured one's range of quality, - where there is no BD-rate"
)

PUBLISHED_MARKERS = "x+^v<>12"


def as_json(summary: Summary, published: Sequence[PublishedCurve] = ()) -> dict[str, Any]:
    """The summary as plain values."""
    return {
        "images": summary.images,
        "measured": list(summary.devices),
        "curves": [
            {
                "codec": curve.name,
                "kind": curve.kind,
                "points": [{**vars(point), "ms_ssim_db": point.ms_ssim_db} for point in curve.points],
            }
            for curve in summary.curves
        ],
        "bd_rates": [{**vars(each), "mean_curve": vars(each.mean_curve)} for each in summary.comparisons],
        "published": [
            {
                "name": other.name,
                "source": other.source,
                "bd_rates": [
                    {"codec": curve.name, "metric": metric, "mean_curve": vars(found)}
                    for curve in summary.curves
                    for metric, found in against_published(curve, other).items()
                ],
            }
            for other in published
        ],
    }


def print_tables(summary: Summary, published: Sequence[PublishedCurve] = ()) -> None:
    """The summary on standard output."""
    print_report([*tables(summary), *_published_tables(summary, published)], notes(summary))


def markdown(summary: Summary, plots: Sequence[Path] = (), published: Sequence[PublishedCurve] = ()) -> str:
    """The summary as Markdown, with the plots in it."""
    parts = ["# Benchmark", *markdown_tables([*tables(summary), *_published_tables(summary, published)])]
    said = notes(summary)
    if published:
        listed = ", ".join(f"{curve.name} ({curve.source})" for curve in published)
        said += [PUBLISHED_NOTE, f"in the plots, but not measured here: {listed}"]
    parts.append("\n".join(f"- {note}" for note in said))
    parts += [f"![{path.stem}]({path.name})" for path in plots if path.suffix == ".png"]
    return "\n\n".join(parts) + "\n"


def tables(summary: Summary) -> list[Table]:
    """Means by quality, and BD-rates where there are some."""
    rates = Table(
        f"Means over {summary.images} image{'s' * (summary.images != 1)}",
        ("codec", "quality", "bpp", "PSNR dB", "MS-SSIM", "MS-SSIM dB", "LPIPS", "encode s", "decode s"),
        [
            (
                curve.name,
                f"{p.quality:g}",
                f"{p.bpp:.4f}",
                f"{p.psnr:.2f}",
                f"{p.ms_ssim:.4f}",
                f"{p.ms_ssim_db:.2f}",
                _number(p.lpips, ".4f"),
                _number(p.encode_seconds, ".3f"),
                _number(p.decode_seconds, ".3f"),
            )
            for curve in summary.curves
            for p in curve.points
        ],
    )
    deltas = Table(
        "BD-rates",
        ("codec", "against", "by", "per image", "images", "mean curve", "over dB"),
        [_delta(each) for each in summary.comparisons],
    )
    return [rates, deltas] if deltas.rows else [rates]


def _published_tables(summary: Summary, published: Sequence[PublishedCurve]) -> list[Table]:
    """BD-rates of all that was measured against curves that were not; no table without any."""
    rows = []
    for metric in METRICS:
        for other in (curve for curve in published if metric in curve.values):
            found = [(curve, against_published(curve, other)[metric]) for curve in summary.curves]
            rows.append((other.name, metric, *(_published_cell(curve, metric, rate) for curve, rate in found)))
    header = ("against", "by", *(curve.name for curve in summary.curves))
    return [Table("BD-rates against published curves, not measured here", header, rows)] if rows else []


def _published_cell(curve: Curve, metric: str, rate: BDRate) -> str:
    mark = "*" if rate.percent is not None and _share(curve, metric, rate) < WIDE else ""
    return _number(rate.percent, "+.1f", " %" + mark)


def _delta(each: Comparison) -> tuple[str, ...]:
    curve = each.mean_curve
    span = "-" if curve.percent is None else f"{curve.low:.1f} to {curve.high:.1f}"
    per_image, mean_curve = (_number(value, "+.1f", " %") for value in (each.per_image, curve.percent))
    return (each.codec, each.anchor, each.metric, per_image, f"{each.used} of {each.images}", mean_curve, span)


def _number(value: float | None, form: str, unit: str = "") -> str:
    return "-" if value is None else f"{value:{form}}{unit}"


def notes(summary: Summary) -> list[str]:
    """What the tables mean, and everything that could not be compared; equal remarks become one."""
    remarks: dict[str, list[str]] = {}
    for each in summary.comparisons:
        pair = f"{each.codec} against {each.anchor} by {each.metric}"
        if each.mean_curve.percent is None:
            remarks.setdefault(f"no BD-rate of the mean curve: {each.mean_curve.problem}", []).append(pair)
        for problem, count in each.problems.items():
            remarks.setdefault(f"no BD-rate of {count} of {each.images} images: {problem}", []).append(pair)
        if remark := _short_range(each, summary):
            remarks.setdefault(remark, []).append(pair)
    said = [f"measured on {device}" for device in summary.devices]
    said += [BD_NOTE] * bool(summary.comparisons)
    return said + [f"{remark} ({', '.join(pairs)})" for remark, pairs in remarks.items()]


def _short_range(each: Comparison, summary: Summary) -> str:
    """A remark if the mean curves meet in less than three quarters of the codec's range."""
    curve = next(curve for curve in summary.curves if curve.name == each.codec)
    if each.mean_curve.percent is None or (share := _share(curve, each.metric, each.mean_curve)) >= WIDE:
        return ""
    return f"the mean curves meet in {share:.0%} of the codec's range of quality only"


def _share(curve: Curve, metric: str, rate: BDRate) -> float:
    """Over which share of a curve's range of quality a BD-rate of it is an average."""
    values = [METRICS[metric](point) for point in curve.points]
    return (rate.high - rate.low) / (max(values) - min(values))


def plot(curves: Sequence[Curve], folder: Path, published: Sequence[PublishedCurve] = ()) -> list[Path]:
    """One rate-distortion plot for each metric, as PNG and as SVG; needs no display."""
    written = []
    for metric in METRICS:
        figure = new_figure()
        _draw(figure.add_subplot(), metric, curves, published)
        name_curves(figure, "lower right")
        written += save_figure(figure, folder / f"rd_{metric.lower().replace('-', '_')}")
    return written


def _draw(axes: Axes, metric: str, curves: Sequence[Curve], published: Sequence[PublishedCurve]) -> None:
    """The curves of one metric: codecs stand out, anchors are thin, published curves dashed and grey."""
    lines: list[tuple[str, list[float], list[float], dict[str, Any]]] = []
    for number, curve in enumerate(curves):
        strong = curve.kind == "codec"
        style: dict[str, Any] = {
            "color": f"C{number}",
            "linewidth": 2.2 if strong else 1.2,
            "marker": "o" if strong else "s",
        }
        values = [METRICS[metric](point) for point in curve.points]
        lines.append((curve.name, [point.bpp for point in curve.points], values, style | {"markersize": 4}))
    for number, other in enumerate(curve for curve in published if metric in curve.values):
        marker = PUBLISHED_MARKERS[number % len(PUBLISHED_MARKERS)]
        style = {"color": "0.5", "linewidth": 0.8, "linestyle": "--", "marker": marker, "markersize": 5}
        lines.append((f"{other.name} (not measured here)", list(other.bpp), list(other.values[metric]), style))
    right = _right(curves)
    heights = []
    for label, rates, values, style in lines:
        axes.plot(rates, values, label=plain(label), **style)
        heights += [value for rate, value in zip(rates, values, strict=True) if rate <= right]
    margin = 0.03 * (max(heights) - min(heights)) + 0.1
    axes.set(xlim=(0, right), ylim=(min(heights) - margin, max(heights) + margin))
    axes.set(xlabel="bits per pixel", ylabel=f"{metric} (dB)")
    axes.grid(alpha=0.3)


def _right(curves: Sequence[Curve]) -> float:
    """Where the rate axis ends: somewhat after the codecs, or after the anchors if there are only those."""
    ends = [curve.points[-1].bpp for curve in curves if curve.kind == "codec"]
    return 1.15 * max(ends or [curve.points[-1].bpp for curve in curves])
