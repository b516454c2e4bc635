"""What is installed is what is in the folders."""

import importlib.metadata
import os
import re
import shutil
import subprocess
import sys
import tomllib
import zipfile
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from taskodec.extras import _NAMES, EXTRAS, NO_WHEELS

ROOT = Path(__file__).parents[1]
ROOMS = ("core", "codecs", "configs", "plugins", "tasks")
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
ABOUT = PROJECT["project"]
EXTRA_LISTS = ABOUT["optional-dependencies"]
README = (ROOT / "README.md").read_text(encoding="utf-8")


@pytest.fixture(scope="module")
def wheel(tmp_path_factory):
    """The names in a wheel that is built from a copy of the project."""
    copy = tmp_path_factory.mktemp("project")
    for room in ROOMS:
        shutil.copytree(ROOT / room, copy / room, ignore=shutil.ignore_patterns("__pycache__"))
    for file in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / file, copy)
    build = "import sys; from setuptools.build_meta import build_wheel; build_wheel(sys.argv[1])"
    subprocess.run([sys.executable, "-c", build, str(copy / "out")], cwd=copy, check=True, capture_output=True)
    (path,) = (copy / "out").glob("*.whl")
    with zipfile.ZipFile(path) as archive:
        return set(archive.namelist())


def installed_name(path):
    """Where a file of the repository lies in the wheel."""
    room, *rest = path.relative_to(ROOT).parts
    return "/".join(["taskodec", *([] if room == "core" else [room]), *rest])


def files_of(room):
    """But for weights in folders of their own, which are in the repository alone: those before, or those to come."""
    files = [p for p in (ROOT / room).rglob("*") if p.is_file() and "__pycache__" not in p.parts]
    return [p for p in files if p.parent.parent.name != "weights"]


def test_every_package_is_listed():
    listed = PROJECT["tool"]["setuptools"]["package-dir"]
    folders = {str(p.parent.relative_to(ROOT)) for room in ROOMS for p in (ROOT / room).rglob("__init__.py")}
    assert set(listed.values()) == folders
    assert set(listed) == set(PROJECT["tool"]["setuptools"]["packages"])


def test_no_room_hides_another():
    for room in ROOMS[1:]:
        assert not list((ROOT / "core").glob(f"{room}*")), room


def test_the_wheel_holds_every_file_and_nothing_else(wheel):
    expected = {installed_name(p) for room in ROOMS for p in files_of(room)}
    content = {name for name in wheel if ".dist-info/" not in name}
    assert content == expected
    assert "taskodec/py.typed" in content
    assert "taskodec/configs/default.yaml" in content
    assert any(name.endswith(".safetensors") for name in content)


def test_the_runtime_is_a_distribution_without_torch(tmp_path):
    for folder in ("core", "scripts/runtime"):
        shutil.copytree(ROOT / folder, tmp_path / folder, ignore=shutil.ignore_patterns("__pycache__"))
    build = "import sys; from setuptools.build_meta import build_wheel; build_wheel(sys.argv[1])"
    call = [sys.executable, "-c", build, str(tmp_path / "out")]
    subprocess.run(call, cwd=tmp_path / "scripts" / "runtime", check=True, capture_output=True)
    (path,) = (tmp_path / "out").glob("*.whl")
    with zipfile.ZipFile(path) as archive:
        names = set(archive.namelist())
        (metadata,) = [name for name in names if name.endswith(".dist-info/METADATA")]
        about = archive.read(metadata).decode()
        archive.extractall(tmp_path / "installed")
    assert {"taskodec/runtime/decoder.py", "taskodec/stream/data/gaussian_tables.npz", "taskodec/py.typed"} <= names
    lines = [line.partition(": ")[2] for line in about.splitlines() if "Requires-Dist" in line]
    needed = {re.split(r"[<>=]", line)[0] for line in lines if "extra ==" not in line}
    assert needed == {"constriction", "numpy", "onnxruntime"}
    assert f"Version: {PROJECT['project']['version']}" in about
    modules = sorted(name[:-3].replace("/", ".").removesuffix(".__init__") for name in names if name.endswith(".py"))
    alone = [sys.executable, "-c", IMPORT_ALONE, *modules]
    environment = {**os.environ, "PYTHONPATH": str(tmp_path / "installed")}
    done = subprocess.run(alone, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stdout.split()[-1] == str(len(modules))


IMPORT_ALONE = """
import importlib, sys
for name in ("torch", "torchvision", "compressai", "pydantic", "scipy", "safetensors", "rich", "typer", "pluggy"):
    sys.modules[name] = None  # importing it fails
found = [importlib.import_module(name).__file__ for name in sys.argv[1:]]
assert all("installed" in file for file in found), found
import taskodec
try:
    taskodec.compress
except AttributeError as error:
    assert "install taskodec" in str(error), error
else:
    raise AssertionError("the runtime alone cannot compress")
print(len(found))
"""


def test_the_wheel_carries_licence_and_command(wheel):
    assert any(name.endswith("/licenses/LICENSE") for name in wheel)
    assert any(name.endswith("/entry_points.txt") for name in wheel)
    assert PROJECT["project"]["scripts"] == {
        "taskodec": "taskodec.cli.main:main",
        "taskodec-decode": "taskodec.runtime.cli:main",
        "taskodec-encode": "taskodec.runtime.cli:encode",
    }


def test_the_readme_has_two_commands_and_ci_can_find_the_second():
    blocks = (ROOT / "README.md").read_text().split("```sh\n")[1:]
    commands = [block.partition("\n```")[0] for block in blocks]
    assert len(commands) == 2
    assert all(command.startswith("python3 -m venv .venv && ") and "\n" not in command for command in commands)
    assert commands[1].endswith(" && .venv/bin/pytest")


def test_the_first_command_of_the_readme_can_be_repeated():
    (command,) = [line for line in README.splitlines() if line.startswith("python3 -m venv") and "compress" in line]
    for call in ("compress", "decompress"):
        (part,) = [part for part in command.split(" && ") if f"taskodec {call} " in part]
        assert part.endswith(" --force")


def test_the_readme_leads_to_pages_that_exist():
    links = {link.partition("#")[0] for link in re.findall(r"\]\(([^):]+)\)", README)}
    assert all((ROOT / link).is_file() for link in links)
    assert len(README.split()) <= 900


def test_every_page_is_in_the_navigation_of_the_site_once():
    listed = re.findall(r"^ +- [^:]+: ([\w/]+\.md)$", (ROOT / "mkdocs.yml").read_text(encoding="utf-8"), re.MULTILINE)
    pages = {str(path.relative_to(ROOT / "docs")) for path in (ROOT / "docs").rglob("*.md")}
    assert pages == set(listed), "a page is a line below `nav` in mkdocs.yml"
    assert len(listed) == len(set(listed))


def test_python_versions_have_a_lowest_one_and_no_highest():
    named = [name.rpartition(" ")[2] for name in ABOUT["classifiers"] if re.search(r":: 3\.\d+$", name)]
    assert (ABOUT["requires-python"], named) == (">=3.11", ["3.11", "3.12", "3.13", "3.14"])
    assert f"Python {named[0]} to {named[-1]}." in README
    runtime = tomllib.loads((ROOT / "scripts" / "runtime" / "pyproject.toml").read_text(encoding="utf-8"))
    assert runtime["project"]["requires-python"] == ABOUT["requires-python"]
    for requirement in map(Requirement, [*ABOUT["dependencies"], *runtime["project"]["dependencies"]]):
        assert not any(part.operator in {"<", "<=", "==", "~="} for part in requirement.specifier), requirement


def test_what_extras_bring_is_what_the_code_asks_for():
    assert {extra for extra in EXTRAS if extra != "encode"} <= EXTRA_LISTS.keys()
    for extra, packages in EXTRAS.items():
        if extra != "encode":  # of the runtime
            assert sorted(Requirement(text).name for text in EXTRA_LISTS[extra]) == sorted(
                _NAMES.get(name, name) for name in packages
            )
    for extra, limit in NO_WHEELS.items():
        for requirement in map(Requirement, EXTRA_LISTS[extra]):
            assert str(requirement.marker) == f'python_version < "{".".join(map(str, limit))}"'
    (everything, *_) = map(Requirement, EXTRA_LISTS["dev"])
    wanted = {
        "anchors",
        "compressai",
        "demo",
        "det",
        "docs",
        "eval",
        "export",
        "notebook",
        "perception",
        "remote",
        "report",
        "serve",
        "train",
    }
    assert everything.extras == wanted


def installed_for(requirements, without=frozenset()):
    """The names of the installed packages that these requirements bring, themselves and all that they need."""
    found, waiting = set(), [(Requirement(text), frozenset({""})) for text in requirements]
    while waiting:
        one, extras = waiting.pop()
        name = canonicalize_name(one.name)
        applies = one.marker is None or any(one.marker.evaluate({"extra": extra}) for extra in extras)
        if applies and name not in without and (name, *sorted(one.extras)) not in found:
            found.add((name, *sorted(one.extras)))
            needed = importlib.metadata.distribution(name).requires or []
            waiting += [(Requirement(text), {"", *one.extras}) for text in needed]
    return {name for name, *_ in found}


def test_a_plain_install_is_light():
    """Beside PyTorch and what only PyTorch needs, among which are the packages of CUDA."""
    beside = installed_for(ABOUT["dependencies"], without={"torch"})
    assert "torchvision" in beside
    assert len(beside) <= 40, sorted(beside)
    assert not beside & {"aiohttp", "compressai", "matplotlib", "onnx", "pandas", "pycocotools", "scipy"}


def test_every_dependency_is_in_the_table():
    """With the extra that brings it, if one does."""
    text = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")
    rows = [line.strip("|").split("|") for line in text.splitlines() if line.startswith("| `")]
    table = {name: row[1].strip() for row in rows if len(row) == 4 for name in re.findall(r"`([^`]+)`", row[0])}
    for requirement in map(Requirement, ABOUT["dependencies"]):
        assert table.get(requirement.name) == "", requirement.name
    for extra, packages in EXTRA_LISTS.items():
        if extra not in ("dev", "detectron2", "examples"):
            for requirement in map(Requirement, packages):
                assert f"`{extra}`" in table[requirement.name], (extra, requirement.name)


def test_pictures_named_in_the_readme_exist():
    assert (ROOT / "docs" / "images" / "kodim23.png").is_file()
    assert "docs/images/kodim23.png" in (ROOT / "README.md").read_text()


def test_one_version_everywhere():
    version = PROJECT["project"]["version"]
    runtime = tomllib.loads((ROOT / "scripts" / "runtime" / "pyproject.toml").read_text(encoding="utf-8"))
    assert runtime["project"]["version"] == version
    assert f"\nversion: {version}\n" in (ROOT / "CITATION.cff").read_text(encoding="utf-8")
    assert f"\n## [{version}]" in (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")
