import io

import pytest

from taskodec.console.layout import columns, counted, fitted, say


class Terminal(io.StringIO):
    def isatty(self):
        return True


def test_one_of_a_thing_is_no_plural():
    assert [counted(number, "step") for number in (0, 1, 2)] == ["0 steps", "1 step", "2 steps"]


def test_files_and_pipes_have_no_width(monkeypatch):
    monkeypatch.setenv("COLUMNS", "80")
    assert columns(io.StringIO()) is None
    assert columns(Terminal()) == 80


@pytest.mark.parametrize(
    "text", ["", "short", "  set in " + "word " * 40, "lite-cls  " + "https://example.org/" + "x" * 90]
)
@pytest.mark.parametrize("width", [20, 80])
def test_lines_are_broken_between_words_and_lose_none(text, width):
    lines = fitted(text, width).splitlines()
    assert " ".join(lines).split() == text.split()
    assert all(len(line) <= width or len(line.split()) == 1 for line in lines)
    assert all(line.startswith("    ") for line in lines[1:])
    assert fitted(text, None) == text


def test_only_a_terminal_breaks_what_is_said(monkeypatch, capsys):
    monkeypatch.setenv("COLUMNS", "40")
    say("word " * 20)
    assert capsys.readouterr().out == "word " * 20 + "\n"
    terminal = Terminal()
    say("word " * 20, indent=2, file=terminal)
    assert [line[:4] for line in terminal.getvalue().splitlines()] == ["word", "  wo", "  wo"]
