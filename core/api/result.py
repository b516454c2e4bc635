"""What compressing an image gives."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from PIL import Image
from torch import Tensor

from taskodec.api.targets import kept
from taskodec.console.layout import counted
from taskodec.contracts import Codec, Task
from taskodec.extras import missing, require
from taskodec.hooks.specs import Anchor
from taskodec.images.metrics import psnr
from taskodec.images.tensors import to_pil
from taskodec.isolation.ambient import in_clean_state
from taskodec.report.cards import result_card
from taskodec.report.picture_page import pictures_page
from taskodec.report.study import Compressed, Study, study
from taskodec.settings.model import Settings
from taskodec.tuning.task_calls import metrics_of
from taskodec.tuning.ttft import Tuned

__all__ = ["Result"]


@dataclass(frozen=True, repr=False)
class Result:
    """A compressed image: the file's bytes, and what is known about them.

    `settings` are those that were used: with the quality that the stream names, and the task that was given. `codec` is
    the one that was, too.
    """

    stream: bytes
    x: Tensor
    task: Task
    tuned: Tuned
    settings: Settings
    codec: Codec
    notes: tuple[str, ...] = ()

    @property
    @in_clean_state
    def image(self) -> Image.Image:
        """The picture that decoding the stream gives."""
        return to_pil(self.tuned.best.x_hat)

    def __repr__(self) -> str:
        best, untuned = self.tuned.best, self.tuned.untuned
        size = f"{self.x.shape[3]}x{self.x.shape[2]}"
        made = f"{self.settings.codec.name}, quality {self.settings.quality:g}, for {self.task.name}"
        cost = f"cost {untuned.cost:.4g} -> {best.cost:.4g} in {counted(self.tuned.steps, 'step')}"
        return f"<Result: {size}, {len(self.stream)} bytes, {best.bpp:.4f} bpp; {made}; {cost}>"

    @in_clean_state
    def _repr_html_(self) -> str | None:
        return None if missing("report") else result_card(self.compressed())

    @in_clean_state
    def report_html(self, name: str = "", judges: Sequence[Task] | Mapping[str, Task] = ()) -> str:
        """A page about this picture, one file of HTML: original, plain at the same bytes and tuned side by side.

        `name` is what the picture is called there, `judges` are other tasks whose view of it is shown, if
        need be by names. UsageError without the extra `report`.
        """
        return pictures_page([self.study(name, judges)])

    @in_clean_state
    def study(
        self,
        name: str = "",
        judges: Sequence[Task] | Mapping[str, Task] = (),
        anchors: Mapping[str, Anchor] | None = None,
    ) -> Study:
        """What a page says of this picture, for pages of several (`taskodec.report.picture_page.pictures_page`).

        `anchors` are other formats by name, whose files of the same size are compared.
        """
        require("report", "reports")
        return study(self.compressed(name), judges, anchors)

    def compressed(self, name: str = "") -> Compressed:
        """This, as reports take it."""
        return Compressed(name, self.x, self.task, self.tuned, self.codec, self.settings, self.notes)

    @in_clean_state
    def report(self) -> dict[str, Any]:
        """All figures by name. Rates are `8 * bytes / pixels` of the file; costs are `lmbda * loss + bpp`."""
        best, untuned = self.tuned.best, self.tuned.untuned
        pixels = self.x.shape[2] * self.x.shape[3]
        before = metrics_of(self.task, untuned.x_hat, self.x), psnr(untuned.x_hat, self.x)
        after = before if best is untuned else (metrics_of(self.task, best.x_hat, self.x), psnr(best.x_hat, self.x))
        return {
            "codec": self.settings.codec.name,
            "task": self.task.name,
            "quality": self.settings.quality,
            "width": self.x.shape[3],
            "height": self.x.shape[2],
            "bytes": len(self.stream),
            "bpp": best.bpp,
            "bpp_latent": 8 * best.coded.latent_bytes / pixels,
            "bpp_adapter": 8 * best.coded.adapter_bytes / pixels,
            "bpp_header": 8 * best.coded.header_bytes / pixels,
            "bpp_before": untuned.bpp,
            "adapter": _hex(best.coded.adapter_fingerprint),
            "adapter_before": _hex(untuned.coded.adapter_fingerprint),
            "task_loss_before": untuned.loss,
            "task_loss_after": best.loss,
            "cost_before": untuned.cost,
            "cost_after": best.cost,
            "lmbda": self.tuned.lmbda,
            "metrics_before": before[0],
            "metrics_after": after[0],
            "psnr_before": before[1],
            "psnr": after[1],
            "steps": self.tuned.steps,
            "seconds": round(self.tuned.seconds, 3),
            "chosen": best.name,
            **({"target": kept(self.settings.target, self.tuned)} if self.settings.target.kind else {}),
            **({"notes": list(self.notes)} if self.notes else {}),
            "settings": self.settings.model_dump(mode="json", exclude={"train", "pretrain", "ray", "serve"}),
        }


def _hex(fingerprint: bytes | None) -> str | None:
    return None if fingerprint is None else fingerprint.hex()
