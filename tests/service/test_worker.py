import gc

import pytest
import torch
from picture_files import png

from taskodec.api.compressor import Compressor
from taskodec.errors import PluginError, WeightsError
from taskodec.isolation.faults import named
from taskodec.service.work import GIVEN, MADE, Done, Failed, Work
from taskodec.service.worker import Coders, failed
from taskodec.settings.model import load_settings

TINY = ["codec=tiny", "quality=2", "ttft.steps=0", "task.lmbda=300"]


@pytest.fixture
def coders(tiny_registry):
    return Coders(load_settings(overrides=[*TINY, "serve.kept=2"]), tiny_registry)


@pytest.fixture
def folders(tmp_path):
    """A function from the contents of files to folders that hold them as jobs do."""

    def make(*contents):
        found = []
        for number, content in enumerate(contents):
            found.append(tmp_path / f"{len(list(tmp_path.iterdir()))}-{number}")
            found[-1].mkdir()
            (found[-1] / GIVEN).write_bytes(content)
        return tuple(found)

    return make


def test_pictures_of_a_group_are_tuned_together_and_fail_alone(coders, folders, photo, tiny_registry):
    settings = load_settings(overrides=[*TINY, "ttft.steps=2"])
    pictures = [png(photo), png(photo.flip(3))]
    group = folders(pictures[0], b"no picture", pictures[1])
    answers = coders.do(Work(group, settings))
    assert [type(answer) for answer in answers] == [Done, Failed, Done]
    assert answers[1].kind == "ImageError"
    assert [answer.report["together"] for answer in (answers[0], answers[2])] == [3, 3]
    expected = Compressor(settings, tiny_registry).compress_batch(pictures)
    assert [(group[n] / MADE).read_bytes() for n in (0, 2)] == [one.stream for one in expected]


def test_compressors_share_codec_and_task_and_the_last_ones_are_kept(coders):
    of = {q: load_settings(overrides=[*TINY, f"quality={q}"]) for q in (1, 2, 3)}
    one, two = coders.compressor(of[1]), coders.compressor(of[2])
    assert one.codec is two.codec
    assert one.task is two.task
    assert coders.compressor(of[1]) is one
    coders.compressor(of[3])  # two are kept
    assert coders.compressor(of[1]) is one
    assert coders.compressor(of[2]) is not two


def test_what_no_compressor_uses_any_more_is_let_go(coders, tiny_registry, monkeypatch):
    coders.compressor(load_settings(overrides=[*TINY, "task=human"]))
    first = coders._tasks
    assert len(first) == 1
    coders._compressors.clear()
    gc.collect()
    assert len(first) == 0


def test_nothing_is_written_for_a_client_that_has_gone(coders, folders, photo):
    (folder,) = folders(png(photo))
    settings = load_settings(overrides=[*TINY, "ttft.steps=4"])
    steps = []

    def darker(x_hat, x):
        steps.append(1)
        for file in folder.glob("*"):
            file.unlink()
        if folder.exists():
            folder.rmdir()
        return (x_hat - x).square().mean()

    coders.compressor(settings).tuner.task.loss = darker
    (answer,) = coders.do(Work((folder,), settings))
    assert answer.kind == "InternalError"
    assert "Abandoned" in answer.message
    assert not folder.exists()
    assert len(steps) < 8


@pytest.mark.parametrize("memory", [MemoryError(), RuntimeError("DefaultCPUAllocator: can't allocate memory: you")])
def test_no_memory_has_a_type_of_its_own(memory):
    with pytest.raises(PluginError) as caught, named("codec", PluginError):
        raise memory
    assert failed(caught.value).kind == "OutOfMemoryError"
    assert failed(torch.OutOfMemoryError()).kind == "OutOfMemoryError"


def test_errors_keep_their_types():
    assert failed(WeightsError("no file")) == Failed("WeightsError", "no file")
    other = failed(ValueError("odd"))
    assert (other.kind, "ValueError: odd" in other.traceback) == ("InternalError", True)
