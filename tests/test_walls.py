"""The walls between the rooms hold: contracts of import-linter, ruff's ban, and both are seen to break."""

import json
import os
import runpy
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
SIBLINGS = ("codecs", "configs", "plugins", "tasks")
LINT = "from importlinter.cli import lint_imports_command as lint; lint(['--no-cache', '--no-logo'])"


@pytest.fixture(scope="module")
def house(tmp_path_factory):
    """The package as it is installed, of sources alone."""
    folder = tmp_path_factory.mktemp("house")
    sources = shutil.ignore_patterns("__pycache__", "*.safetensors", "*.md", "*.npz")
    shutil.copytree(ROOT / "core", folder / "taskodec", ignore=sources)
    for sibling in SIBLINGS:
        shutil.copytree(ROOT / sibling, folder / "taskodec" / sibling, ignore=sources)
    shutil.copy(ROOT / "pyproject.toml", folder)
    return folder


def lint(house):
    """Exit code and output of import-linter in the house."""
    environment = {**os.environ, "PYTHONPATH": str(house), "COLUMNS": "200", "NO_COLOR": "1"}
    done = subprocess.run(
        [sys.executable, "-c", LINT], cwd=house, env=environment, capture_output=True, text=True, check=False
    )
    return done.returncode, done.stdout + done.stderr


def test_all_walls_stand(house):
    code, output = lint(house)
    assert code == 0, output
    assert "5 kept, 0 broken" in output


@pytest.mark.parametrize(
    ("room", "line", "wall"),
    [
        ("images/sets.py", "import taskodec.bench.rd", "Rooms stand on one another"),
        ("pixels/exif.py", "import taskodec.images.sets", "Rooms stand on one another"),
        ("coding/tiles.py", "from taskodec.tuning import ttft", "Rooms stand on one another"),
        ("settings/base.py", "import taskodec.runtime.decoder", "Rooms stand on one another"),
        ("stream/guard.py", "import torch", "Streams are decoded without torch"),
        ("pixels/colour.py", "import torch", "Streams are decoded without torch"),
        ("runtime/decoder.py", "def f():\n    import torchvision", "Streams are decoded without torch"),
        ("tuning/phases.py", "def f():\n    from taskodec.codecs import lite", "Core knows no codec, task or plugin"),
        ("hooks/registry.py", "import taskodec.plugins.detection", "Core knows no codec, task or plugin"),
        ("cli/compress.py", "from taskodec.tasks.human import Human", "Core knows no codec, task or plugin"),
        ("codecs/dct.py", "import taskodec.tasks.human", "A codec serves every task"),
        ("coding/priors.py", "def f():\n    import compressai", "CompressAI has no wheels"),
        ("attic/__init__.py", "'''A room that no layer names.'''", "attic"),
    ],
)
def test_a_broken_wall_is_seen(house, room, line, wall):
    path = house / "taskodec" / room
    before = path.read_bytes() if path.exists() else None
    path.parent.mkdir(exist_ok=True)
    try:
        path.write_bytes((before or b"") + f"\n{line}\n".encode())
        code, output = lint(house)
    finally:
        shutil.rmtree(path.parent) if room == "attic/__init__.py" else path.unlink()
        if before is not None:
            path.write_bytes(before)
    assert code != 0
    assert wall in output


def banned(path, source):
    """What ruff says of module-level imports in a file of this name."""
    call = [sys.executable, "-m", "ruff", "check", "--select", "TID253", "--output-format", "json", "--no-cache"]
    done = subprocess.run(
        [*call, "--stdin-filename", path, "-"], cwd=ROOT, input=source, capture_output=True, text=True, check=False
    )
    return [found["code"] for found in json.loads(done.stdout)]


@pytest.mark.parametrize("path", ["core/cli/new.py", "core/console/new.py", "codecs/plugin.py", "plugins/detection.py"])
@pytest.mark.parametrize("line", ["import torch", "from matplotlib import figure", "from taskodec.api import result"])
def test_heavy_packages_are_imported_lazily_where_commands_start(path, line):
    assert banned(path, f"{line}\n") == ["TID253"]
    assert banned(path, f"def f():\n    {line}\n") == []


def test_elsewhere_heavy_packages_are_imported_at_the_top():
    assert banned("core/coding/new.py", "import torch\n") == []


def test_the_picture_in_contributing_is_that_of_the_contracts():
    module = runpy.run_path(str(ROOT / "scripts" / "rooms.py"))
    assert module["BEGIN"] + module["draw"]() + module["END"] in module["PAGE"].read_text(encoding="utf-8")


def test_few_modules_lie_directly_in_the_core():
    assert len(list((ROOT / "core").glob("*.py"))) <= 12


def test_every_room_says_what_it_is_for():
    for path in [p for room in ("core", *SIBLINGS) for p in (ROOT / room).rglob("__init__.py")]:
        assert path.read_text(encoding="utf-8").startswith('"""'), path
