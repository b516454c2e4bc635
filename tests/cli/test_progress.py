import io
import sys

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
