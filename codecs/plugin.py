"""The built-in codecs and anchors, provided through the same hooks that every plugin uses. Imports no network."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, TypeVar

from taskodec.codecs.zoo import TIC_ADAPTERS, WEIGHTS
from taskodec.extras import missing
from taskodec.hooks.specs import AdapterSpec, AnchorSpec, CodecSpec, WeightsFile, hookimpl

if TYPE_CHECKING:
    from taskodec.contracts import Adapter, Codec

__all__ = ["ANCHORS", "CODECS", "register_adapters", "register_anchors", "register_codecs", "register_weights"]

SpecT = TypeVar("SpecT", CodecSpec, AnchorSpec)

SLOW = "; encodes and decodes one position after the other, which is slow"

# name, where its loader is, what it is; a line's number, from 1, stands for the name in streams and never changes
_TABLE = (
    ("lite", "lite.loading:load_lite", "small default codec of variable rate, made for the CPU"),
    (
        "tic",
        "tic.codec:load_tic",
        "Swin transformer codec that test-time fine-tuning was published for (Lu et al. 2022)",
    ),
    ("bmshj2018-factorized", "compressai.models:bmshj2018_factorized", "factorised prior (Ballé et al. 2018)"),
    (
        "bmshj2018-factorized-relu",
        "compressai.models:bmshj2018_factorized_relu",
        "factorised prior, ReLU instead of GDN (Ballé et al. 2018)",
    ),
    ("bmshj2018-hyperprior", "compressai.models:bmshj2018_hyperprior", "scale hyperprior (Ballé et al. 2018)"),
    ("mbt2018-mean", "compressai.models:mbt2018_mean", "mean-scale hyperprior (Minnen et al. 2018)"),
    ("mbt2018", "compressai.models:mbt2018", "hyperprior and context model (Minnen et al. 2018)" + SLOW),
    ("cheng2020-anchor", "compressai.models:cheng2020_anchor", "residual blocks (Cheng et al. 2020)" + SLOW),
    ("cheng2020-attn", "compressai.models:cheng2020_attn", "residual blocks and attention (Cheng et al. 2020)" + SLOW),
    (
        "bmshj2018-hyperprior-vbr",
        "compressai.models:bmshj2018_hyperprior_vbr",
        "scale hyperprior of variable rate (Kamisli et al. 2024)",
    ),
    (
        "mbt2018-mean-vbr",
        "compressai.models:mbt2018_mean_vbr",
        "mean-scale hyperprior of variable rate (Kamisli et al. 2024)",
    ),
    (
        "mbt2018-vbr",
        "compressai.models:mbt2018_vbr",
        "hyperprior and context model of variable rate (Kamisli et al. 2024)" + SLOW,
    ),
)

# codecs that `taskodec train` can start from nothing
_CREATE = {"lite": "taskodec.codecs.lite.loading:create_lite", "tic": "taskodec.codecs.tic.codec:create_tic"}

# task, what it looks at, and the options of the task that say so
_PAPER = (
    ("cls", "features of ResNet-50", {"loss": "features", "network": "resnet50"}),
    (
        "det",
        "features of Faster R-CNN",
        {"loss": "features", "network": "detectron2:COCO-Detection/faster_rcnn_R_50_FPN_3x.yaml"},
    ),
    (
        "seg",
        "features of Mask R-CNN",
        {"loss": "features", "network": "detectron2:COCO-InstanceSegmentation/mask_rcnn_R_50_FPN_3x.yaml"},
    ),
    ("human", "the eye", {"metric": "mse"}),
)

# what a part needs beside taskodec's own packages: where its loaders are, the extra, and what of that
_NEEDS = (
    ("taskodec.codecs.compressai.", "compressai", ()),
    ("taskodec.codecs.mozjpeg:", "anchors", ("pyvips",)),
    ("taskodec.codecs.anchors:jpegxl", "anchors", ("pillow_jxl",)),
)

CODECS = tuple(
    CodecSpec(name, f"taskodec.codecs.{loader}", description, stream_id, _CREATE.get(name))
    for stream_id, (name, loader, description) in enumerate(_TABLE, start=1)
)
"""As they are where everything is installed."""

ANCHORS = (
    AnchorSpec("jpeg", "taskodec.codecs.anchors:jpeg", "JPEG, 4:2:0, optimised tables"),
    AnchorSpec(
        "mozjpeg",
        "taskodec.codecs.mozjpeg:mozjpeg",
        "MozJPEG at its best by PSNR: 4:2:0, progressive, trellis, flat table",
    ),
    AnchorSpec("webp", "taskodec.codecs.anchors:webp", "WebP, method 6"),
    AnchorSpec("avif", "taskodec.codecs.anchors:avif", "AVIF, 4:2:0, speed 4"),
    AnchorSpec(
        "avif-420", "taskodec.codecs.anchors:avif_420", "AVIF at its best by PSNR: 4:2:0, speed 2, tuned for it"
    ),
    AnchorSpec(
        "avif-444", "taskodec.codecs.anchors:avif_444", "AVIF at its best by PSNR: 4:4:4, speed 2, tuned for it"
    ),
    AnchorSpec("jpegxl", "taskodec.codecs.anchors:jpegxl", "JPEG XL, effort 9"),
    AnchorSpec("jpeg2000", "taskodec.codecs.anchors:jpeg2000", "JPEG 2000, irreversible wavelet"),
    AnchorSpec(
        "compressai-bmshj2018-hyperprior",
        "taskodec.codecs.compressai.native:bmshj2018_hyperprior",
        "CompressAI's own scale hyperprior at quality 3, random weights",
        fidelity=False,
    ),
    AnchorSpec(
        "compressai-mbt2018-mean",
        "taskodec.codecs.compressai.native:mbt2018_mean",
        "CompressAI's own mean-scale hyperprior at quality 3, random weights",
        fidelity=False,
    ),
)


@hookimpl
def register_codecs() -> Sequence[CodecSpec]:
    """The codecs that come with taskodec; CompressAI's need an extra."""
    return _marked(CODECS)


@hookimpl
def register_anchors() -> Sequence[AnchorSpec]:
    """Classical codecs, two of which need an extra, and models as CompressAI runs them, for timing only."""
    return _marked(ANCHORS)


@hookimpl
def register_adapters() -> Sequence[AdapterSpec]:
    """The paper's adapters of TIC, once they are fetched, and those in checkpoints of its authors' code."""
    return [
        AdapterSpec(
            "tic-checkpoint",
            "taskodec.codecs.tic.codec:load_tic_adapter",
            "SVD-LoRA in a checkpoint of the code of Park et al. 2025 (option: checkpoint)",
            codec="tic",
        ),
        *(
            AdapterSpec(f"tic-{task}", _tic_adapter(task), f"of Park et al. 2025, for {network}", "tic", task, options)
            for task, network, options in _PAPER
        ),
    ]


@hookimpl
def register_weights() -> Sequence[WeightsFile]:
    """What is published for TIC and by CompressAI."""
    return WEIGHTS


def _tic_adapter(task: str) -> Callable[[Codec], Adapter]:
    """What builds the paper's adapter for a task, as `AdapterSpec.build` wants it."""

    def build(codec: Codec) -> Adapter:
        from taskodec.codecs.tic.codec import TIC, load_published_adapter

        assert isinstance(codec, TIC)  # by the codec that it is registered for
        return load_published_adapter(codec, TIC_ADAPTERS[task])

    return build


def _marked(specs: Iterable[SpecT]) -> list[SpecT]:
    """The specs, as unavailable those that need a package which is not installed."""
    absent = {place: missing(extra, only) for place, extra, only in _NEEDS}
    return [
        replace(spec, unavailable=next((why for at, why in absent.items() if str(spec.load).startswith(at)), ""))
        for spec in specs
    ]
