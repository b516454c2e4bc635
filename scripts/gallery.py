"""Make a gallery: reports of pictures for several tasks and codecs, and a page that leads to them.

    python scripts/gallery.py PHOTOS --task cls --task docs/examples/edges.py:loss --quality 2 -o site/gallery

Each report is a file of its own; `index.html` leads to all. `--set TASK:KEY=VALUE` is a setting for one task, such as
`--set det:task.options.weights=yolox_nano.onnx`, and `--set KEY=VALUE` one for all. Reports that are there are made
anew only with --force, and their cards are kept in `cards.json`.
"""

from __future__ import annotations

import argparse
import json
import re
import sys
from collections.abc import Iterator, Sequence
from dataclasses import asdict
from pathlib import Path

import taskodec
from taskodec.errors import TaskodecError
from taskodec.files.atomic import write_atomic
from taskodec.images.sets import list_images
from taskodec.report.gallery import Card, card_of, gallery_page
from taskodec.report.picture_page import pictures_page
from taskodec.report.strip import strip_of, words_of
from taskodec.report.study import ORIGINAL, PLAIN, TUNED, Study

CARDS = "cards.json"


def overrides_for(task: str, texts: Sequence[str]) -> list[str]:
    """Those of the settings that are for all tasks, or for this one."""
    found = []
    for text in texts:
        name, colon, rest = text.rpartition(":")
        if not (colon and "=" not in name):
            found.append(text)
        elif name == task:
            found.append(rest)
    return found


def compressors(call: argparse.Namespace) -> Iterator[taskodec.Compressor]:
    """One for each task and codec."""
    for task in call.task:
        for codec in call.codec:
            flags = {"task.name": task, "codec.name": codec, "quality": call.quality, "ttft.steps": call.steps}
            settings = taskodec.load_settings(
                overrides=overrides_for(task, call.set), flags={k: v for k, v in flags.items() if v is not None}
            )
            yield taskodec.Compressor(settings)


def page_name(compressor: taskodec.Compressor, image: Path) -> str:
    """A file name that no other report of the gallery has."""
    words = f"{compressor.task.name}-{compressor.codec.name}-{image.stem}"
    return re.sub(r"[^A-Za-z0-9._-]+", "-", words) + ".html"


def known_cards(folder: Path) -> dict[str, Card]:
    """The cards of reports that are there."""
    path = folder / CARDS
    cards = json.loads(path.read_text(encoding="utf-8")) if path.is_file() else []
    tuples = ("sizes", "losses", "says")
    made = [Card(**{k: tuple(v) if k in tuples else v for k, v in card.items()}) for card in cards]
    return {card.page: card for card in made if (folder / card.page).is_file()}


def add_strip(study: Study, name: str, folder: Path, lines: Path) -> None:
    """The strip of a report, and its line of Markdown: what is compared, and what the task makes of it."""
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{Path(name).stem}.webp"
    strip_of(study).save(path, quality=80, method=6)
    own, given = study.opinions[0], study.given
    plain, tuned = (f"{own.losses[key]:.3g}" for key in (PLAIN, TUNED))
    said = [words_of(own.findings.get(key)) for key in (ORIGINAL, PLAIN, TUNED)]
    named = (f"{place}: {text or 'nothing'}" for place, text in zip(("original", "plain", "tuned"), said, strict=True))
    finds = f" Finds in the {'; '.join(named)}." if any(said) else ""
    alt = f"{given.name} for {given.task.name} by {given.codec.name}: original, plain and tuned"
    about = f"`{given.name}`, quality {given.settings.quality:g}: loss {plain} plain, {tuned} tuned.{finds}"
    with lines.open("a", encoding="utf-8") as file:
        file.write(f"![{alt}]({folder.name}/{path.name})\n\n{about}\n\n")


def main(arguments: Sequence[str] | None = None) -> int:
    """Make what is missing; the exit code."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("images", nargs="+", type=Path)
    parser.add_argument("--task", action="append", required=True)
    parser.add_argument("--codec", action="append")
    parser.add_argument("--quality", type=float)
    parser.add_argument("--steps", type=int)
    parser.add_argument("--set", action="append", default=[])
    parser.add_argument("--title", default="Gallery")
    parser.add_argument("--strips", type=Path, metavar="DIR", help="a picture of each report, for other pages")
    parser.add_argument("--force", action="store_true")
    parser.add_argument("--output", "-o", type=Path, required=True)
    call = parser.parse_args(arguments)
    call.codec = call.codec or [taskodec.load_settings().codec.name]
    call.output.mkdir(parents=True, exist_ok=True)
    try:
        return make(call)
    except TaskodecError as error:  # of a codec or a task, which is there for every picture
        print(f"error: {error}", file=sys.stderr)
        return 1


def make(call: argparse.Namespace) -> int:
    """The reports that are missing, their cards and the page; the exit code."""
    cards, failed = known_cards(call.output), 0
    for compressor in compressors(call):
        for image in list_images(call.images):
            name = page_name(compressor, image)
            if name in cards and not call.force:
                continue
            try:
                study = compressor.compress(image).study(image.name)
            except TaskodecError as error:
                print(f"error: {image}: {error}", file=sys.stderr)
                failed += 1
                continue
            write_atomic(call.output / name, pictures_page([study]).encode())
            cards[name] = card_of(study, name)
            if call.strips is not None:
                add_strip(study, name, call.strips, call.output / "strips.md")
            write_atomic(call.output / CARDS, (json.dumps([asdict(c) for c in cards.values()]) + "\n").encode())
            print(call.output / name, flush=True)
    write_atomic(call.output / "index.html", gallery_page(list(cards.values()), call.title).encode())
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
