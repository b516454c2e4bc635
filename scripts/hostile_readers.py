"""What reads hostile files: every reader of files that are not made on this machine, as the commands call them."""

from __future__ import annotations

import contextlib
import copy
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch

from taskodec.adapters.files import load_adapter, read_card
from taskodec.adapters.lora import build_svd_lora
from taskodec.api.loading import build_adapter, load_codec
from taskodec.bench.published import read_published
from taskodec.codecs.checkpoints import load_state
from taskodec.codecs.lite.codec import Lite
from taskodec.coding.streams import StreamWriter
from taskodec.contracts import MeanEvaluator
from taskodec.errors import WeightsError
from taskodec.evaluation.methods import Method
from taskodec.evaluation.paper import measured
from taskodec.evaluation.rows import Row, row_file
from taskodec.evaluation.summary import complete_rows, summarise
from taskodec.evaluation.variants import read_variants
from taskodec.export.folder import Form, export_codec
from taskodec.hooks.registry import Registry
from taskodec.images.sets import list_images
from taskodec.plugins.networks.state_dicts import put_weights, read_weights
from taskodec.runtime import Decoder, Encoder
from taskodec.settings.model import AdapterSettings, CodecSettings, Settings, TaskSettings, TrainSettings, load_settings
from taskodec.tasks.coco_labels import CocoLabels
from taskodec.tasks.human import Human
from taskodec.tasks.labels import ClassLabels
from taskodec.tasks.semantic_metrics import SemanticEvaluator
from taskodec.training.state import TrainingState
from taskodec.tuning.task_calls import metrics_of, on_device, prepared, weight_of

__all__ = ["Readers", "small_codec", "write_seeds"]

SIZES = {"M": 16, "N": 24, "D": 20, "stem": 8, "Z": 8, "F": 12, "C": 8}


def small_codec() -> Lite:
    """`lite` of few channels, with random weights that are the same in every process."""
    torch.manual_seed(0)
    codec = Lite(**SIZES).eval().requires_grad_(False)
    for parameter in (codec.g_s.stem[-1].weight, codec.context.last.weight, codec.h_s.last.weight):
        parameter.normal_(std=0.1)
    codec.finish(torch.rand(1, 3, 64, 128, generator=torch.Generator().manual_seed(0)))
    return codec


PICTURE = torch.rand(1, 3, 64, 64, generator=torch.Generator().manual_seed(1))


def write_seeds(folder: Path) -> None:
    """The valid files that hostile ones are made from."""
    from safetensors.torch import save_file

    from taskodec.adapters.files import save_adapter

    codec = small_codec()
    adapter = build_svd_lora(codec, rank=2)
    for branch in adapter.branches("decoder").values():
        branch.w_lora_S.data.fill_(0.1)
    save_adapter(folder / "adapter.safetensors", adapter, {"codec": "lite", "task": "cls"})
    save_file({name: value.contiguous() for name, value in codec.state_dict().items()}, folder / "weights.safetensors")
    export_codec(codec, adapter.requires_grad_(False), folder / "exported", Form(encoder=True))
    with torch.no_grad():
        latents = codec.analysis(PICTURE, 3.0)
    stream = StreamWriter(codec, adapter, 3.0, (64, 64)).write(latents, None).stream
    (folder / "stream.tkd").write_bytes(stream)
    run = _training(folder)
    run.advance(lambda: _loss(run.model), 1.0)
    run.save()


def _training(folder: Path) -> TrainingState[Lite]:
    codec = small_codec().requires_grad_(True)
    return TrainingState(codec, TrainSettings(steps=9), folder)


def _loss(codec: Lite) -> tuple[torch.Tensor, torch.Tensor]:
    error = (codec(PICTURE, 3.0, "ste").x_hat - PICTURE).square().mean()
    return error, error.detach()[None]


class Readers:
    """By kind, what is done with the files of a folder; the codec is made once."""

    def __init__(self, seeds: Path) -> None:
        self.stream = (seeds / "stream.tkd").read_bytes()
        self.codec = small_codec()
        self.by_kind: dict[str, Callable[[Path], object]] = {
            "labels of objects": lambda folder: _objects(CocoLabels(folder / "labels.json", "bbox")),
            "labels of masks": lambda folder: _objects(CocoLabels(folder / "labels.json", "segm")),
            "labels of classes": lambda folder: ClassLabels.read(folder / "labels.tsv").check_classes(1000),
            "label pictures": _label_picture,
            "settings": lambda folder: load_settings([folder / "settings.yaml"]).to_yaml(),
            "variants": lambda folder: read_variants(folder / "variants.yaml"),
            "rows": _rows,
            "curve": lambda folder: read_published([folder / "curve.json"]),
            "summary": measured,
            "adapters": self._adapter,
            "weights": self._weights,
            "training": lambda folder: _training(folder).load(),
            "exported": self._exported,
            "plugins": _plugin,
        }

    def _adapter(self, folder: Path) -> None:
        read_card(folder / "adapter.safetensors")
        load_adapter(folder / "adapter.safetensors", self.codec)

    @torch.no_grad()
    def _weights(self, folder: Path) -> None:
        """Read in both ways; what fits the codec must code a picture, or say why not."""
        (path,) = folder.iterdir()
        with contextlib.suppress(WeightsError):  # of which the other way does not know
            put_weights(copy.deepcopy(self.codec), read_weights(path), path)
        codec = copy.deepcopy(self.codec)
        load_state(codec, path)
        StreamWriter(codec, None, 3.0, (64, 64)).write(codec.analysis(PICTURE, 3.0), None)

    def _exported(self, folder: Path) -> None:
        Decoder(folder / "exported", threads=1).decode(self.stream)
        pixels = (255 * PICTURE[0].permute(1, 2, 0)).numpy().astype(np.uint8)  # (1, 3, H, W) -> (H, W, 3)
        Encoder(folder / "exported", threads=1).encode(pixels, 3)


def _objects(labels: CocoLabels) -> None:
    for name, picture in labels.images.items():
        labels.of(name, picture.size)
    list_images([labels.path.parent], only=labels.path) if (labels.path.parent / "0.jpg").exists() else None


def _label_picture(folder: Path) -> None:
    judge = SemanticEvaluator(lambda x: torch.zeros(x.shape[2:], dtype=torch.long), folder / "semantic")
    judge.summarise([judge.observe("a.jpg", torch.rand(1, 3, 6, 8), torch.rand(1, 3, 6, 8))])


def _rows(folder: Path) -> None:
    found: list[Row] = list(row_file(folder)._rows.values())
    whole = [row for row in complete_rows(found, 1) if row.method == "plain"]
    if whole:
        judge = MeanEvaluator(Human(), {"task_loss": False})
        summarise(whole[:1], [Method("plain", "plain")], judge, resamples=2)


def _plugin(folder: Path) -> None:
    """Load all that the file registers, and compress a picture with it."""
    from taskodec.api.compressor import Compressor

    registry = Registry()
    registry.load_builtins()
    registry.load_plugin_file(folder / "strange.py")
    settings = Settings(
        codec=CodecSettings(name="strange"),
        adapter=AdapterSettings(name="odd"),
        task=TaskSettings(name="peculiar"),
        quality=1,
    )
    codec = load_codec(registry, settings.codec, 1.0)
    build_adapter(registry, settings.adapter, codec)
    task = on_device(registry.task_from("peculiar"), torch.device("cpu"))
    prepared(task, PICTURE)
    weight_of(task, codec, 1.0)
    metrics_of(task, PICTURE, PICTURE)
    tuned = load_settings(overrides=["ttft.preset=quick", "ttft.steps=2", "ttft.search=[]"]).ttft
    Compressor(settings.model_copy(update={"ttft": tuned}), registry).compress(PICTURE).report()
