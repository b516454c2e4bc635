import pytest
from PIL import Image

from taskodec.cli.batches import Batches, groups_of_one_size
from taskodec.files.plans import Job


@pytest.fixture
def jobs(tmp_path):
    sizes = {"a": (8, 4), "b": (4, 8), "c": (8, 4), "d": (8, 4), "e": None}
    for name, size in sizes.items():
        path = tmp_path / f"{name}.png"
        Image.new("RGB", size).save(path) if size else path.write_text("nothing")
    return {name: Job(tmp_path / f"{name}.png", tmp_path / f"{name}.tkd") for name in sizes}


def test_groups_are_of_one_size_and_no_larger_than_asked(jobs):
    groups = [[job.source.stem for job in group] for group in groups_of_one_size(list(jobs.values()), 2)]
    assert groups == [["a", "c"], ["d"], ["b"], ["e"]]


def test_a_group_is_compressed_once_when_its_first_job_is_asked_for(jobs):
    calls = []

    def compress(group):
        calls.append([job.source.stem for job in group])
        return [ValueError("bad") if job.source.stem == "a" else job.source.stem for job in group]

    batches = Batches(list(jobs.values()), 3, compress)
    assert [job.source.stem for job in batches.jobs] == ["a", "c", "d", "b", "e"]
    with pytest.raises(ValueError, match="bad"):
        batches.result(jobs["a"])
    assert [batches.result(jobs[name]) for name in "cdb"] == ["c", "d", "b"]
    assert calls == [["a", "c", "d"], ["b"]]


def test_without_a_batch_no_file_is_looked_at(jobs, monkeypatch):
    monkeypatch.setattr(Image, "open", None)
    assert Batches(list(jobs.values()), 1, lambda group: []).jobs == list(jobs.values())
