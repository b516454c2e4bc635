"""The core stands alone: codecs, tasks and plugins come to it through hooks only."""

import ast
from pathlib import Path

import pytest

CORE = Path(__file__).parents[1] / "core"
ROOMS = ("codecs", "tasks", "plugins")


def rooms_imported(source):
    """The rooms outside the core that some source imports from, at any depth."""
    modules = []
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            modules += [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            base = node.module if not node.level else ".".join(filter(None, ("taskodec", node.module)))
            modules += [f"{base}.{alias.name}" for alias in node.names]
    return sorted(m for m in modules if any(f"{m}.".startswith(f"taskodec.{room}.") for room in ROOMS))


def test_the_core_imports_no_codec_task_or_plugin():
    found = {path.name: rooms_imported(path.read_text(encoding="utf-8")) for path in CORE.glob("*.py")}
    assert len(found) > 20
    assert {name: rooms for name, rooms in found.items() if rooms} == {}


@pytest.mark.parametrize(
    "line",
    [
        "import taskodec.codecs.lite.codec",
        "from taskodec.tasks.human import Human",
        "from taskodec import plugins",
        "def f():\n    from .codecs import lite",
        "from . import tasks",
    ],
)
def test_the_check_sees_every_way_to_import(line):
    assert len(rooms_imported(line)) == 1


def test_the_check_lets_the_rest_pass():
    assert (
        rooms_imported(
            "import taskodec.codecs_list\nfrom taskodec.hooks.registry import Registry\nx = 'taskodec.tasks:f'"
        )
        == []
    )
