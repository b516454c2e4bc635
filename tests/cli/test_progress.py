import io
import sys

from taskodec.cli.progress import progress_bar


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
