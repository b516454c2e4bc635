"""What `--help` shows: of every command a line, options and examples, on 80 columns."""

import re
import shlex

import pytest
import typer.main

from taskodec.cli.examples import EXAMPLES
from taskodec.cli.main import app

GROUP = typer.main.get_command(app)
COMMANDS = [
    *GROUP.commands,
    *(f"{name} {inner}" for name, command in GROUP.commands.items() for inner in getattr(command, "commands", ())),
]


def find(name):
    found = GROUP
    for part in name.split():
        found = found.commands[part]
    return found


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_has_examples_on_80_columns(name, run, monkeypatch):
    monkeypatch.setenv("COLUMNS", "80")
    code, out, _ = run(*name.split(), "--help")
    assert code == 0
    assert max(map(len, out.splitlines())) <= 80
    assert name in EXAMPLES, "give it examples in core/cli/examples.py"
    shown = [line.strip() for line in out.partition("Examples:\n")[2].splitlines()]
    assert shown == [line.strip() for example in EXAMPLES[name] for line in example.splitlines()]


@pytest.mark.parametrize(
    ("name", "example"), [(name, example) for name, examples in EXAMPLES.items() for example in examples]
)
def test_an_example_is_a_call_of_its_command(name, example):
    words = shlex.split(re.sub(r"[<>] \S+", "", example.replace("\\\n", " ")))  # without what the shell redirects
    assert words[0] == "taskodec"
    command, rest = GROUP, words[1:]
    while hasattr(command, "commands"):
        command = command.commands[rest.pop(0)]
    command.make_context(name, rest)  # raises for options and values that it does not take


def test_the_list_of_commands_is_not_cut_off(run, monkeypatch):
    monkeypatch.setenv("COLUMNS", "80")
    for words in ([], ["models"]):
        _, out, _ = run(*words, "--help")
        assert "..." not in out.partition("Commands:")[2]
