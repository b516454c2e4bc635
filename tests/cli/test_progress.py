import io
import re
import sys

import pytest

from taskodec.cli.progress import progress_bar
from taskodec.console.terminal import guarded


class Terminal(io.StringIO):
    def isatty(self):
        return True


def test_nobody_to_see_it():
    with progress_bar("train", quiet=True) as update:
        assert update is None
    with progress_bar("train", quiet=False) as update:
        assert update is None


def test_step_and_figures_are_shown(monkeypatch):
    monkeypatch.setattr(sys, "stderr", Terminal())
    monkeypatch.setenv("COLUMNS", "160")
    with progress_bar("train tiny", quiet=False) as update:
        update(501, 1000, {"loss": 1.23456, "lr": 1e-3})
        update(502, 1000, {"loss": 1.5, "lr": 1e-3})
    shown = sys.stderr.getvalue()
    for text in ("train tiny", "502/1000", "loss 1.5", "lr 0.001"):
        assert text in shown


def test_names_are_drawn_as_they_are(monkeypatch):
    monkeypatch.setattr(sys, "stderr", Terminal())
    monkeypatch.setenv("COLUMNS", "160")
    with guarded(), progress_bar("a\x1b[2Jb [red]", quiet=False) as update:
        update(1, 2, {"c\x1b[3Jd": 1.5})
    drawn = sys.stderr.getvalue()
    assert r"a\x1b[2Jb [red]" in drawn
    assert r"c\x1b[3Jd 1.5" in drawn
    assert "\x1b[2Jb" not in drawn
    assert "\x1b[3Jd" not in drawn


LONG = "photographs/of/my/phone/from_the_summer_of_last_year.png"
FIGURES = {"loss": 1234.5, "bpp": 0.12345, "psnr": 31.234, "norm": 123.45, "lr": 0.000123}


@pytest.mark.parametrize("columns", [60, 80, 120])
def test_a_bar_takes_one_line_of_any_terminal(monkeypatch, columns):
    monkeypatch.setattr(sys, "stderr", Terminal())
    monkeypatch.setenv("COLUMNS", str(columns))
    with progress_bar(LONG, quiet=False) as update:
        for step in (501, 502):
            update(step, 100_000, FIGURES)
    drawn = re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", sys.stderr.getvalue())
    lines = re.split(r"[\r\n]", drawn)
    assert max(map(len, lines)) <= columns
    (line,) = {line for line in lines if "502/100000" in line}
    for whole in ("last_year.png", "502/100000", "━", ":"):
        assert whole in line
    shown = [name for name in FIGURES if f"{name} {FIGURES[name]:.4g}" in line]
    assert shown == list(FIGURES)[: len(shown)]  # figures that have no room are left out, and none is cut
    assert len(shown) >= {60: 0, 80: 2, 120: 5}[columns]
