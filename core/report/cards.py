"""What objects show of themselves in a notebook: a few figures and a picture, as a piece of HTML."""

from __future__ import annotations

from typing import TYPE_CHECKING

from taskodec.console.layout import counted
from taskodec.extras import missing
from taskodec.images.tensors import to_pil
from taskodec.report.page import rendered, size_text
from taskodec.report.pictures import embedded

if TYPE_CHECKING:
    from taskodec.report.study import Compressed

__all__ = ["Shown", "result_card"]

BYTES = 60_000
"""Of a picture in a card."""


class Shown:
    """An object that shows itself by a few facts, in a line and in a notebook."""

    def facts(self) -> dict[str, str]:
        """What there is to say of it, by name."""
        raise NotImplementedError

    def __repr__(self) -> str:
        said = ", ".join(f"{name} {value}" for name, value in self.facts().items())
        return f"<{type(self).__name__}: {said}>"

    def _repr_html_(self) -> str | None:
        if missing("report"):
            return None
        return rendered("card.html", title=type(self).__name__, facts=self.facts(), pictures={}, width=0)


def result_card(given: Compressed) -> str:
    """A compressed picture, its original, and what it took."""
    best, untuned = given.tuned.best, given.tuned.untuned
    shown = embedded({"original": to_pil(given.x), "decoded": to_pil(best.x_hat)}, BYTES)
    facts = {
        "file": f"{size_text(len(best.coded.stream))} bytes, {best.bpp:.4f} bpp",
        "codec": f"{given.settings.codec.name}, quality {given.settings.quality:g}",
        "task": given.task_name,
        "task loss": f"{untuned.loss:.5g} → {best.loss:.5g}",
        "cost": f"{untuned.cost:.5g} → {best.cost:.5g}",
        "sent": f"{best.name}, after {counted(given.tuned.steps, 'step')} and {given.tuned.seconds:.1f} s",
    }
    title = f"{given.name or 'Result'}, {given.x.shape[3]}×{given.x.shape[2]}"
    return rendered("card.html", title=title, facts=facts, pictures=shown.data, width=min(320, shown.width))
