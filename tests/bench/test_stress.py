import copy

import pytest
import torch

from taskodec.bench.stress import Coders, in_tasks, in_threads, kinds_of_streams, mixed

THREADS = 6


def drawing(x_hat, x):
    """A loss on random pixels, from the process's own generator."""
    return ((x_hat - 0.8 * x).square() * (torch.rand(x.shape[-2:]) < 0.5)).mean()


@pytest.fixture
def coders(make_compressor, tiny_decompressor):
    """All of one codec: untuned, two adapters of low rank, a loss that draws, and an adapter that must be alone."""
    phases = "ttft.phases=[{train: [decoder, latents], steps: 4, lr: 0.1, lr_latents: 0.1}]"
    compressors = {
        "untuned": make_compressor("ttft.steps=0"),
        "svd-lora": make_compressor("adapter=svd-lora"),
        "other rank": make_compressor("adapter.name=svd-lora", "adapter.options.rank=2"),
        "drawing": make_compressor(task=drawing),
        "colour-gain": make_compressor(phases, "adapter=colour-gain"),
    }
    return Coders(compressors, tiny_decompressor)


@pytest.mark.parametrize("way", [in_threads, in_tasks])
def test_threads_and_tasks_give_what_is_given_one_after_the_other(coders, pieces, way):
    works = coders.plan(pieces)
    assert kinds_of_streams(works) == {"changes": 8, "no adapter": 2}
    outcome = way(coders, mixed(works, 150, 30), THREADS)
    assert (outcome.right, outcome.wrong, dict(outcome.errors)) == (180, 0, {})


def test_differences_and_errors_are_counted(coders, pieces):
    works = coders.plan(pieces[:1])
    wrong = [copy.copy(work) for work in works]
    for work in wrong:
        object.__setattr__(work, "expected", b"another")
    broken = copy.copy(works[1])
    object.__setattr__(broken, "given", b"no stream")
    outcome = in_threads(coders, [*works, *wrong, broken], 2)
    assert (outcome.right, outcome.wrong, outcome.errors.total(), outcome.fine) == (10, 10, 1, False)
