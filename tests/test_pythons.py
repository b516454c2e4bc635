"""The script that finds this machine's other Pythons."""

import importlib.util
import os
import sys
from pathlib import Path

import pytest

SCRIPT = Path(__file__).parents[1] / "scripts" / "pythons.py"
OWN = sys.version_info[:2]


@pytest.fixture
def pythons():
    spec = importlib.util.spec_from_file_location("pythons", SCRIPT)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def program(path, output="", code=0):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(f"#!/bin/sh\necho {output}\nexit {code}\n")
    path.chmod(0o755)
    return path


def test_the_first_that_starts_of_every_other_version(pythons, tmp_path, monkeypatch):
    for name, output, code in (
        ("a/python3.97", "3 97", 0),
        ("b/python3.97", "3 97", 0),
        ("b/python3.98", "", 127),  # as pyenv's shims for versions that are not chosen
        ("b/python3.99", "3 99", 0),
        ("b/python3.9", "3 9", 0),
        ("b/python3.97-config", "3 96", 0),
        ("b/python3.96t", "3 96", 0),
        ("b/python3.95", f"{OWN[0]} {OWN[1]}", 0),
    ):
        program(tmp_path / name, output, code)
    folders = [tmp_path / "nowhere", tmp_path / "a", tmp_path / "b"]
    monkeypatch.setenv("PATH", os.pathsep.join(map(str, folders)))
    found = pythons.others(pythons.candidates(), pythons.lowest_supported())
    assert found == {(3, 97): tmp_path / "a/python3.97", (3, 99): tmp_path / "b/python3.99"}


def test_versions_of_pyenv_are_found_whichever_is_chosen(pythons, tmp_path, monkeypatch):
    program(tmp_path / "bin/pyenv", str(tmp_path / "root"))
    for version in ("3.97.1", "3.97.4", "3.98.0"):
        program(tmp_path / "root/versions" / version / "bin" / f"python{version[:4]}", version[:4].replace(".", " "))
    monkeypatch.setenv("PATH", str(tmp_path / "bin"))
    found = pythons.others(pythons.candidates(), (3, 11))
    assert [str(path.relative_to(tmp_path / "root/versions")) for path in found.values()] == [
        "3.97.4/bin/python3.97",
        "3.98.0/bin/python3.98",
    ]


def test_the_lowest_is_that_of_the_project(pythons):
    assert pythons.lowest_supported() == (3, 11)


def test_this_python_knows_itself(pythons):
    assert pythons.version_of(Path(sys.executable)) == OWN
    assert pythons.version_of(SCRIPT) is None
