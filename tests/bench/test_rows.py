import json
from dataclasses import dataclass

import pytest

from taskodec.bench.rows import RowFile
from taskodec.errors import TaskodecError


@dataclass(frozen=True)
class Pair:
    name: str
    value: float

    @property
    def key(self):
        return self.name


@pytest.fixture
def path(tmp_path):
    return tmp_path / "new" / "pairs.jsonl"


def pairs(path):
    return RowFile(path, Pair, "pair")


def test_rows_are_found_again(path):
    file = pairs(path)
    assert file.find("a") is None
    file.add(Pair("a", 1.5))
    file.add(Pair("b", 2.5))
    file.add(Pair("a", 3.5))
    assert [json.loads(line)["value"] for line in path.read_text().splitlines()] == [1.5, 2.5, 3.5]
    for each in (file, pairs(path)):
        assert (each.find("a"), each.find("b")) == (Pair("a", 3.5), Pair("b", 2.5))


@pytest.mark.parametrize("cut", [1, 10])
def test_a_last_line_that_was_cut_off_is_dropped(path, cut):
    file = pairs(path)
    file.add(Pair("a", 1.5))
    whole = path.read_bytes()
    file.add(Pair("b", 2.5))
    path.write_bytes(path.read_bytes()[:-cut])
    again = pairs(path)
    assert (again.find("a"), again.find("b")) == (Pair("a", 1.5), None)
    assert path.read_bytes() == whole


@pytest.mark.parametrize("line", ["milk", '{"name": "a"}', '{"name": "a", "value": 1, "more": 2}', "[1]"])
def test_a_file_of_something_else_is_not_touched(path, line):
    pairs(path).add(Pair("a", 1.5))
    path.write_text(path.read_text() + line + "\n")
    before = path.read_bytes()
    with pytest.raises(TaskodecError, match=r"pairs.jsonl, line 2 is no pair \(.*move the file away"):
        pairs(path)
    assert path.read_bytes() == before


def test_a_place_that_cannot_be_used(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(TaskodecError, match="cannot use"):
        pairs(tmp_path / "file" / "pairs.jsonl")
    file = pairs(tmp_path / "gone" / "pairs.jsonl")
    (tmp_path / "gone").rmdir()
    with pytest.raises(TaskodecError, match="cannot write to"):
        file.add(Pair("a", 1.5))
    assert file.find("a") is None
