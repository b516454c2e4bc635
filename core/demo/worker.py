"""What runs in the worker process: a picture is compressed step by step, and compared with other files of its size."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import torch
from PIL import Image

from taskodec.api.compressor import Result
from taskodec.console.progress import Progress
from taskodec.contracts import Task
from taskodec.demo.asked import Asked
from taskodec.demo.files import ASKED, PAGE, PIECE, TOLD
from taskodec.demo.told import Teller
from taskodec.errors import ImageError
from taskodec.files.inputs import NamedBytes
from taskodec.hooks.specs import Anchor
from taskodec.images.tensors import LoadedImage, load_image, to_pil
from taskodec.report.picture_page import picture_piece, pictures_page
from taskodec.report.study import called
from taskodec.service.work import GIVEN, MADE, Answer, Done, Work
from taskodec.service.worker import PICTURE, Coders, figures, watched
from taskodec.tuning.task_calls import on_device

__all__ = ["Studies", "reduced"]

ANCHORS = ("jpeg", "avif")


class Studies(Coders):
    """Compresses one picture at a time, tells how far it is, and leaves a page about it beside the stream."""

    def compressed(self, work: Work) -> list[Answer]:
        (folder,) = work.folders
        asked, look, teller = Asked.read(folder / ASKED), watched(work), Teller(folder / TOLD)

        def stage(name: str, **facts: Any) -> None:
            look(0, 0, {})
            teller.stage(name, **facts)

        try:
            stage("reading")
            limit = work.settings.limits.max_pixels
            given = NamedBytes((folder / GIVEN).read_bytes(), PICTURE)
            image = reduced(load_image(given, max_pixels=limit), asked.megapixels)
            stage("loading", width=image.x.shape[3], height=image.x.shape[2])
            compressor = self.compressor(work.settings)
            judges = dict(self._judge(spec, compressor.device) for spec in asked.judges)
            stage("tuning")
            result = compressor.compress(image.x, _told(teller, look))
            result = replace(result, notes=(*image.notes, *result.notes))
            (folder / MADE).write_bytes(result.stream)
            stage("comparing", bytes=len(result.stream))
            study = result.study(asked.name, judges, self._anchors(result))
            stage("drawing")
            (folder / PIECE).write_text(picture_piece(study), encoding="utf-8")
            (folder / PAGE).write_text(pictures_page([study]), encoding="utf-8")
            return [Done(figures(result))]
        finally:
            teller.close()

    def _judge(self, spec: str, device: torch.device) -> tuple[str, Task]:
        task = self.registry.task_from(spec)
        return called(spec, task.name), on_device(task, device)

    def _anchors(self, result: Result) -> dict[str, Anchor]:
        """The formats to compare with that can be written here."""
        shelf = self.registry.anchors
        usable = [name for name in ANCHORS if name in shelf and not shelf[name].unavailable]
        return {name: shelf.make(name, {}) for name in usable}


def reduced(image: LoadedImage, megapixels: float | None) -> LoadedImage:
    """A picture of at most so many million pixels, which its notes then say; None for as it is."""
    height, width = image.x.shape[2:]
    most = None if megapixels is None else megapixels * 1e6
    if most is None or height * width <= most:
        return image
    scale = (most / (height * width)) ** 0.5
    size = (max(1, int(width * scale)), max(1, int(height * scale)))
    if size[0] * size[1] > most:  # a mere line of pixels
        raise ImageError(f"{width}x{height} pixels cannot be reduced to {megapixels:g} megapixels; choose another size")
    small = load_image(to_pil(image.x).resize(size, Image.Resampling.LANCZOS)).x
    note = f"the picture of {width}x{height} pixels was reduced to {size[0]}x{size[1]} before anything else, as chosen"
    return LoadedImage(small, [*image.notes, note])


def _told(teller: Teller, look: Progress) -> Progress:
    def told(done: int, total: int, info: dict[str, float]) -> None:
        look(done, total, info)
        teller.step(done, total, info)

    return told
