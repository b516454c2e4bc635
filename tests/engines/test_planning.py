import itertools

import pytest
from PIL import Image

from taskodec.engines.planning import Choice, check_names, grouped, planned
from taskodec.engines.steps import Step, Subject, failure
from taskodec.errors import PluginError, UsageError
from taskodec.sources.entries import Broken, End, Entry
from taskodec.sources.sinks import FileSink
from taskodec.sources.walking import Inputs

SUFFIXES = frozenset({".png", ".jpg"})


def sink(output=None, exact=False, flaw_of=lambda path: ""):
    return FileSink(output, exact, ".tkd", None, flaw_of)


def entry(path):
    return Entry(str(path), path.name, path)


@pytest.fixture
def steps(tmp_path):
    sizes = {"a": (8, 4), "b": (4, 8), "c": (8, 4), "d": (8, 4), "e": None}
    found = []
    for number, (name, size) in enumerate(sizes.items()):
        path = tmp_path / f"{name}.png"
        Image.new("RGB", size).save(path) if size else path.write_text("nothing")
        found.append(Step([Subject(entry(path), f"{name}.tkd", number)]))
    return found


def names(groups):
    return [[subject.entry.key[0] for subject in step.subjects] for step in groups]


def test_groups_are_of_one_size_and_no_larger_than_asked(steps):
    assert names(grouped(steps, 2)) == [["a", "c"], ["e"], ["b"], ["d"]]
    assert names(grouped(steps, 3)) == [["a", "c", "d"], ["e"], ["b"]]


def test_a_group_is_the_same_whatever_is_there(steps):
    """And is worked on as a whole where one of it is missing."""
    undisturbed = names(grouped(steps, 3))
    for step in (steps[0], steps[1]):
        step.subjects = [Subject(step.subjects[0].entry, "", step.subjects[0].number, wanted=False)]
        step.outcomes = [None]
    again = list(grouped(steps, 3))
    assert names(again) == undisturbed
    assert [step.outcomes is None for step in again] == [True, True, False]
    assert [subject.wanted for subject in again[0].subjects] == [False, True, True]


def test_a_stream_without_end_is_grouped(monkeypatch, steps):
    monkeypatch.setattr("taskodec.engines.planning.WAITING", 4)
    sizes = itertools.count(1)
    monkeypatch.setattr("taskodec.engines.planning._size", lambda entry: (next(sizes), 1))
    endless = (Step([Subject(steps[0].subjects[0].entry, "", number)]) for number in itertools.count())
    first = list(itertools.islice(grouped(endless, 2), 3))
    assert [step.subjects[0].number for step in first] == [0, 1, 2]


def test_all_of_an_archive_comes_before_its_end(steps):
    found = list(grouped([*steps[:2], Step(element=End("a.tar"), number=5), steps[2]], 2))
    assert [len(step.subjects) for step in found] == [1, 1, 0, 1]


def test_names_are_checked_before_anything_is_done(tmp_path):
    for name in ("a.png", "b.png", "b.tkd"):
        (tmp_path / name).touch()
    inputs = Inputs([str(tmp_path)], SUFFIXES)
    with pytest.raises(UsageError, match=r"b\.tkd already there: overwrite with --force, keep with"):
        check_names(inputs, sink(), Choice())
    assert check_names(inputs, sink(), Choice(force=True)) == 2
    assert check_names(inputs, sink(), Choice(skip_existing=True)) == 2
    (tmp_path / "a.jpg").touch()
    with pytest.raises(UsageError, match=r"a\.jpg and .*a\.png would both be written to .*a\.tkd: rename one"):
        check_names(inputs, sink(), Choice(force=True))
    alone = Inputs([str(tmp_path / "a.png")], SUFFIXES)
    with pytest.raises(UsageError, match="is an input and would be overwritten"):
        check_names(alone, sink(str(tmp_path / "a.png"), exact=True), Choice(force=True))


def test_trees_whose_folders_meet_collide(tmp_path):
    for name in ("x/s/a.png", "y/s/a.png"):
        (tmp_path / name).parent.mkdir(parents=True)
        (tmp_path / name).touch()
    inputs = Inputs([str(tmp_path / "x"), str(tmp_path / "y")], SUFFIXES, recursive=True)
    with pytest.raises(UsageError, match="would both be written to"):
        check_names(inputs, sink(str(tmp_path / "out")), Choice())
    assert check_names(inputs, sink(), Choice()) == 2


def test_names_that_could_not_be_checked_are_as_they_come(tmp_path):
    for name in ("a.png", "a.jpg", "b.png", "b.tkd", "c.png", "c.tkd"):
        (tmp_path / name).touch()
    said = []
    cut = sink(flaw_of=lambda path: "it is cut" if path.name == "c.tkd" else "")
    inputs = Inputs([str(tmp_path)], SUFFIXES)
    one, two, kept, again = planned(inputs, cut, Choice(skip_existing=True), said.append, checked=False)
    assert one.outcomes is None
    assert isinstance(two.element, Broken)
    assert "would both be written to" in str(two.element.error)
    assert not kept.subjects[0].wanted
    assert again.subjects[0].wanted
    assert said == [f"{tmp_path / 'c.tkd'} is not whole (it is cut): it is made anew"]
    refused = list(planned(inputs, cut, Choice(), said.append, checked=False))[2]
    assert "already there" in str(refused.element.error)
    assert [step.number if step.element else step.subjects[0].number for step in (one, two, kept, again)] == [
        0,
        1,
        2,
        3,
    ]


@pytest.mark.parametrize(
    "error", [MemoryError(), RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried")]
)
def test_want_of_memory_is_an_outcome_of_its_own_whatever_it_was_made_into(error):
    made = PluginError("codec 'x' raised RuntimeError")
    made.__cause__ = error
    outcome = failure(made)
    assert outcome.kind == "OutOfMemoryError"
    assert "more memory than there is" in outcome.error
    assert failure(PluginError("another")).kind == "PluginError"
