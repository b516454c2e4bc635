"""A page that leads to reports: tasks, codecs and pictures, each with what it came to."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import groupby

from PIL import Image

from taskodec.images.tensors import to_pil
from taskodec.report.page import rendered
from taskodec.report.pictures import one_embedded
from taskodec.report.study import PLAIN, TUNED, Study

__all__ = ["Card", "card_of", "gallery_page"]

SIDE = 420
"""Pixels of the longer side of a picture in the gallery."""


@dataclass(frozen=True)
class Card:
    """What a gallery says of a report; `page` is its file beside the gallery, `picture` a data URI."""

    page: str
    picture: str
    width: int
    height: int
    name: str
    task: str
    codec: str
    sizes: tuple[int, int]
    """Bytes of the plain and of the tuned file."""
    losses: tuple[float, float]
    says: tuple[str, str]
    """What the task finds in either, in a few words; empty where it finds nothing that has a name."""


def card_of(study: Study, page: str) -> Card:
    """The card of a study whose report is the file `page`."""
    own, tuned = study.opinions[0], study.takes[2]
    small = to_pil(tuned.x)
    small.thumbnail((SIDE, SIDE), Image.Resampling.LANCZOS)
    return Card(
        page,
        one_embedded(small, 82),
        *small.size,
        study.given.name,
        study.given.task_name,
        study.given.codec.name,
        (study.takes[1].bytes or 0, tuned.bytes or 0),
        (own.losses[PLAIN], own.losses[TUNED]),
        (_words(study, PLAIN), _words(study, TUNED)),
    )


def _words(study: Study, key: str) -> str:
    """The surest things that the task finds in a take."""
    found = study.opinions[0].findings.get(key)
    if found is None or not found.found:
        return ""
    first = sorted(found.found, key=lambda one: -(1.0 if one.score is None else one.score))[:2]
    return ", ".join(one.label if one.score is None else f"{one.label} {one.score:.0%}" for one in first)


def gallery_page(cards: Sequence[Card], title: str = "Gallery") -> str:
    """The page of these cards, by task and codec, in their order."""
    ordered = sorted(cards, key=lambda card: (card.task, card.codec))
    groups = [(key, list(own)) for key, own in groupby(ordered, key=lambda card: (card.task, card.codec))]
    return rendered("gallery.html", title=title, groups=groups)
