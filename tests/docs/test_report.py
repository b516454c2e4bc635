"""The code of docs/report.md runs."""

import re
from pathlib import Path

import torch
from PIL import Image

from taskodec.tuning.task_calls import findings_of

PAGE = Path(__file__).parents[2] / "docs" / "report.md"
BLOCKS = re.findall(r"```python\n(.*?)```", PAGE.read_text(encoding="utf-8"), re.DOTALL)


def test_the_page_from_python(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Image.new("RGB", (48, 32), "teal").save("photo.png")
    names = {}
    exec(compile(BLOCKS[0], str(PAGE), "exec"), names)
    assert names["page"].startswith("<!doctype html>")
    assert "photo.png" in names["page"]


def test_a_task_that_shows_what_it_finds():
    names = {"__name__": "block"}
    exec(compile(BLOCKS[1], str(PAGE), "exec"), names)
    x = torch.zeros(1, 3, 20, 30)
    x[:, :, 7, 11] = 1
    (spot,) = findings_of(names["Brightest"](), x).found
    assert (spot.label, spot.score, spot.box) == ("brightest", 1.0, (7, 3, 15, 11))


def test_every_block_is_run():
    assert len(BLOCKS) == 2
