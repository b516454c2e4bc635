"""What can be known of the Dockerfile without building it."""

import re
import shlex
import tomllib
from pathlib import Path

import pytest

from taskodec.cli.main import main

ROOT = Path(__file__).parents[1]
TEXT = (ROOT / "Dockerfile").read_text(encoding="utf-8")
IGNORED = (ROOT / ".dockerignore").read_text(encoding="utf-8").split()


def instructions():
    """Word and arguments of every instruction, comments left out and lines joined."""
    lines = "\n".join(line for line in TEXT.splitlines() if not line.startswith("#")).replace("\\\n", " ")
    return [tuple(line.split(None, 1)) for line in lines.splitlines() if line.strip()]


def stages():
    """The instructions of each stage."""
    found = []
    for word, rest in instructions():
        if word == "FROM":
            found.append([])
        found[-1].append((word, rest))
    return found


def test_there_are_two_stages_of_one_base():
    build, final = stages()
    assert build[0][1].endswith(" AS build")
    assert build[0][1].removesuffix(" AS build") == final[0][1]
    assert re.fullmatch(r"python:3\.\d+-slim", final[0][1])


def test_every_instruction_is_one():
    known = {"FROM", "RUN", "COPY", "WORKDIR", "ENV", "USER", "EXPOSE", "VOLUME", "HEALTHCHECK", "ENTRYPOINT"}
    assert {word for word, _ in instructions()} <= known
    assert not re.search(r"\b(sudo|apt-get|apk|curl|wget|ADD)\b", TEXT)


def test_what_is_copied_exists_and_is_all_that_the_package_is_made_of():
    copied = {name for word, rest in stages()[0] if word == "COPY" for name in shlex.split(rest)[:-1]}
    assert all((ROOT / name).exists() for name in copied)
    package_dirs = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["setuptools"]["package-dir"].values()
    assert {folder.partition("/")[0] for folder in package_dirs} <= copied
    assert {"pyproject.toml", "README.md", "LICENSE"} <= copied
    assert {f"!{name}" for name in copied} == set(IGNORED) - {"*", "**/__pycache__"}


def test_the_final_stage_installs_nothing_and_is_not_root():
    final = stages()[1]
    assert [rest.split()[0] for word, rest in final if word == "RUN"] == ["useradd"]
    assert [rest for word, rest in final if word == "COPY"] == ["--from=build /opt/taskodec /opt/taskodec"]
    words = [word for word, _ in final]
    assert words.index("USER") < words.index("ENTRYPOINT")
    (user,) = [rest for word, rest in final if word == "USER"]
    assert user not in ("root", "0")


def test_what_is_installed_is_for_the_cpu_and_leaves_no_cache():
    installs = [part for word, rest in stages()[0] if word == "RUN" for part in rest.split("&&") if " install " in part]
    assert len(installs) == 2
    assert all("--no-cache-dir" in part for part in installs)
    index = "https://download.pytorch.org/whl/cpu"
    assert index in installs[0]
    assert index in (ROOT / "README.md").read_text(encoding="utf-8")
    extras = set(re.search(r"\.\[([a-z,]+)\]", installs[1])[1].split(","))
    assert "serve" in extras
    assert extras <= tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["optional-dependencies"].keys()


def test_the_command_is_one_and_the_health_check_asks_an_address_that_exists(capsys):
    (entry,) = [rest for word, rest in instructions() if word == "ENTRYPOINT"]
    command = re.findall(r'"([^"]+)"', entry)
    assert command == ["taskodec", "serve", "--host", "0.0.0.0"]
    with pytest.raises(SystemExit):
        main(["serve", "--help"])
    assert "--host" in capsys.readouterr().out
    (health,) = [rest for word, rest in instructions() if word == "HEALTHCHECK"]
    assert "http://127.0.0.1:8000/readyz" in health
    assert ("EXPOSE", "8000") in instructions()
