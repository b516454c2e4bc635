"""The command that reads hostile files: here a few of each kind, in this process; it reads thousands by itself."""

import importlib
import random
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from taskodec.adapters.files import save_adapter
from taskodec.errors import TaskodecError

SCRIPTS = Path(__file__).parents[1] / "scripts"


@pytest.fixture(scope="module")
def hostile(tmp_path_factory, exported, small_lite, small_adapter):
    """The modules of the command, its readers, and valid files."""
    seeds = tmp_path_factory.mktemp("seeds")
    shutil.copytree(exported, seeds / "exported")
    save_adapter(seeds / "adapter.safetensors", small_adapter, {"codec": "lite"})
    state = {name: value.contiguous() for name, value in small_lite.state_dict().items()}
    save_file(state, seeds / "weights.safetensors")
    torch.save({"codec": state}, seeds / "checkpoint.pt")
    (seeds / "stream.tkd").write_bytes(b"TK")
    sys.path.insert(0, str(SCRIPTS))
    try:
        command = importlib.import_module("hostile")
        readers = importlib.import_module("hostile_readers").Readers(seeds)
        yield command, readers, seeds
    finally:
        sys.path.remove(str(SCRIPTS))


KINDS = ("labels of objects", "labels of masks", "labels of classes", "label pictures", "settings", "variants")
MORE = ("adapters", "weights", "rows", "curve", "summary", "exported")


@pytest.mark.filterwarnings("ignore")  # of torch and of readers, about what the files hold
@pytest.mark.parametrize("kind", [*KINDS, *MORE])
def test_each_is_taken_or_one_of_our_errors(hostile, tmp_path, kind):
    command, readers, seeds = hostile
    cases = command.Cases(seeds, 5, [kind])
    for number in range(5 if kind == "exported" else 25):
        folder = tmp_path / str(number)
        folder.mkdir()
        assert cases.write(number, folder) == kind
        try:
            readers.by_kind[kind](folder)
        except TaskodecError as error:
            str(error)


def test_cases_are_the_same_for_the_same_seed(hostile, tmp_path):
    command, _, seeds = hostile
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
        command.Cases(seeds, 3, list(command.WEIGHTS)).write(8, tmp_path / name)
    first, second = ([path.read_bytes() for path in sorted((tmp_path / name).rglob("*.*"))] for name in "ab")
    assert first == second


OUTCOMES = {
    "accepted": lambda: None,
    "refused": lambda: (_ for _ in ()).throw(TaskodecError("no")),
    "untyped": lambda: {}["x"],
    "memory": lambda: (_ for _ in ()).throw(MemoryError),
}


@pytest.mark.parametrize("result", OUTCOMES)
def test_outcomes_are_told_apart(hostile, result):
    command, _, _ = hostile
    assert command._tried(lambda folder: OUTCOMES[result](), None)[0] == result


ENDINGS = {
    "crash": "import ctypes; ctypes.string_at(0)",
    "time": "while True: pass",
}


@pytest.mark.parametrize("result", ENDINGS)
def test_processes_that_end_are_counted_and_begun_again(tmp_path, result):
    script = tmp_path / "script.py"
    script.write_text(f"""
import sys; sys.path.insert(0, {str(SCRIPTS)!r})
import hostile
def work(connection, *about):
    number = connection.recv()
    connection.send("settings")
    hostile.SECONDS = 0.2
    def read(folder):
        {ENDINGS[result]}
    connection.send(hostile.Outcome(number, "settings", *hostile._tried(read, None)))
hostile.work = work
if __name__ == "__main__":
    for outcome in hostile.outcomes(2, 0, ["settings"], 1, None):
        print(outcome.number, outcome.kind, outcome.result)
""")
    run = subprocess.run([sys.executable, script], capture_output=True, text=True, check=False)
    assert sorted(run.stdout.splitlines()) == [f"{number} settings {result}" for number in (0, 1)], run.stderr


def test_makers_change_what_is_valid():
    sys.path.insert(0, str(SCRIPTS))
    try:
        text = importlib.import_module("hostile_text")
    finally:
        sys.path.remove(str(SCRIPTS))
    tree = {"a": [1, {"b": "x"}], "c": 2.5}
    found = [text.changed(random.Random(seed), tree) for seed in range(50)]
    assert tree == {"a": [1, {"b": "x"}], "c": 2.5}
    assert sum(repr(one) != repr(tree) for one in found) > 40
