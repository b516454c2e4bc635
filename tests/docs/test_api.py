"""docs/api.md lists the public names: all of them exist, and no page or example uses another one."""

import ast
import importlib
import re
from pathlib import Path

import pytest

import taskodec

ROOT = Path(__file__).parents[2]
DOCS = ROOT / "docs"
PAGES = [ROOT / "README.md", *sorted(DOCS.rglob("*.md")), *sorted(DOCS.rglob("*.py"))]
LISTED = re.findall(r"^\| `(taskodec\.[\w.]+)` \|", (DOCS / "api.md").read_text(encoding="utf-8"), re.MULTILINE)
FOLDERS = ("core", "codecs", "configs", "plugins", "tasks")


def find(name):
    """The object of a dotted name."""
    parts = name.split(".")
    for cut in range(len(parts), 0, -1):
        try:
            found = importlib.import_module(".".join(parts[:cut]))
        except ModuleNotFoundError:
            continue
        for part in parts[cut:]:
            found = getattr(found, part)
        return found
    raise ModuleNotFoundError(name)


def imported(source):
    """The dotted names that lines of Python import from taskodec, wherever they stand in a page."""
    names = set()
    for line in re.findall(r"^\s*(from taskodec[\w.]* import [\w, ]+|import taskodec[\w.]*)", source, re.MULTILINE):
        (node,) = ast.parse(line.strip()).body
        if isinstance(node, ast.ImportFrom):
            names |= {f"{node.module}.{alias.name}" for alias in node.names}
        else:
            names |= {alias.name for alias in node.names if alias.name != "taskodec"}
    return names


def mentioned(source):
    """Dotted names anywhere in a page's text."""
    return {name.rstrip(".") for name in re.findall(r"\btaskodec\.[a-z_]+(?:\.\w+)*", source)}


def public(name):
    """Whether a name is on the list, is inside of something on it, or is a public name of `taskodec.errors`."""
    if name.startswith("taskodec.errors"):
        return name == "taskodec.errors" or name.replace(".errors", "") in LISTED
    return any(name == listed or name.startswith(f"{listed}.") or listed.startswith(f"{name}.") for listed in LISTED)


@pytest.mark.parametrize("name", LISTED)
def test_a_listed_name_exists(name):
    assert find(name) is not None


def test_every_name_of_the_package_is_listed_once():
    assert {f"taskodec.{name}" for name in taskodec.__all__} <= set(LISTED)
    assert len(LISTED) == len(set(LISTED))


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_a_page_uses_public_names_only(page):
    source = page.read_text(encoding="utf-8")
    source = source.replace("::: taskodec.hooks.specs\n", "")  # where the hooks are written, for the site
    assert {name for name in imported(source) | mentioned(source) if not public(name)} == set()


def test_the_check_sees_other_names():
    source = (
        "text\n    from taskodec.tuning.ttft import Tuner, tune\nimport taskodec.bench.rd\n`taskodec.pixels.reading`"
    )
    names = imported(source) | mentioned(source)
    assert {"taskodec.tuning.ttft.Tuner", "taskodec.bench.rd", "taskodec.pixels.reading"} <= names
    assert not any(public(name) for name in names)


def test_paths_of_sources_in_the_docs_exist():
    for page in [*PAGES, ROOT / "CONTRIBUTING.md"]:
        paths = re.findall(rf"\b(?:{'|'.join(FOLDERS)}|tests|scripts)/[\w/]+\.py\b", page.read_text(encoding="utf-8"))
        assert [path for path in paths if not (ROOT / path).is_file()] == [], page.name
