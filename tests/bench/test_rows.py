import json
from dataclasses import dataclass, field
from typing import Any

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


@dataclass(frozen=True)
class Full:
    name: str
    count: int | None = None
    value: float = 0.0
    on: bool = False
    record: dict[str, Any] = field(default_factory=dict)

    @property
    def key(self):
        return self.name


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ('{"name": 5}', "its name is 5"),
        ('{"name": "a", "count": 1.5}', "its count is 1.5"),
        ('{"name": "a", "count": true}', "its count is True"),
        ('{"name": "a", "count": "1"}', "its count is '1'"),
        (f'{{"name": "a", "count": {10**30}}}', "its count is 1000000000000000000000000000000"),
        ('{"name": "a", "value": "0.5"}', "its value is '0.5'"),
        ('{"name": "a", "value": null}', "its value is None"),
        ('{"name": "a", "on": 1}', "its on is 1"),
        ('{"name": "a", "record": [1]}', r"its record is \[1\]"),
        ('{"name": "a", "other": 1}', r"it has \['other'\], which no row has"),
        ('{"name": "a", "name": "b"}', "'name' comes twice"),
        ('{"count": 1}', "missing .*'name'"),
        ("[]", r"found \[\], expected an object"),
        ("[" * 100_000, "nested too deeply"),
        ('{"a":' * 5000 + "1" + "}" * 5000, "nested"),
        ("\udcff", "codec can't decode"),
    ],
)
def test_rows_of_other_types(tmp_path, line, words):
    path = tmp_path / "rows.jsonl"
    path.write_bytes(line.encode("utf-8", "surrogateescape") + b"\n")
    with pytest.raises(TaskodecError, match=rf"(?s)rows\.jsonl, line 1 is no row \(.*{words}"):
        RowFile(path, Full, "row")


def test_rows_hold_all_that_python_writes(tmp_path):
    rows = [Full("a", 3, float("inf"), True, {"x": [1, {"y": None}]}), Full("b", None, 2, False)]
    file = RowFile(tmp_path / "rows.jsonl", Full, "row")
    for row in rows:
        file.add(row)
    again = RowFile(tmp_path / "rows.jsonl", Full, "row")
    assert [again.find(row.key) for row in rows] == rows
