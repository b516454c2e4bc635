import multiprocessing
import pickle
from concurrent.futures import ProcessPoolExecutor

import pytest
import torch
from losses import softer

from taskodec.api.compressor import Compressor
from taskodec.api.decompressor import Decompressor
from taskodec.bench.stress import Coders, in_processes
from taskodec.errors import UsageError
from taskodec.hooks import registry as registries
from taskodec.hooks.registry import Registry, default_registry, register_task
from taskodec.hooks.sending import Call
from taskodec.hooks.specs import TaskSpec
from taskodec.settings.model import load_settings

QUICK = load_settings(overrides=["ttft.steps=2", "ttft.preset=latents", "quality=2"])


def there_and_back(value):
    return pickle.loads(pickle.dumps(value))


@pytest.fixture
def own_registry(monkeypatch):
    """A process's registry that tests may change."""
    found = Registry()
    found.load_builtins()
    monkeypatch.setattr(registries, "_default", lambda: found)
    return found


def test_processes_give_what_is_given_here(own_registry, pieces):
    """Compressors with a function and with a task by name, and a decompressor, in a process that was started anew."""
    compressors = {"softer": Compressor(QUICK, task=softer), "human": Compressor(QUICK)}
    coders = Coders(compressors, Decompressor())
    works = coders.plan(pieces[:1])
    outcome = in_processes(coders, works, 1)
    assert (outcome.right, outcome.wrong, dict(outcome.errors)) == (4, 0, {})


def test_what_is_sent_is_made_anew_of_the_same(own_registry, pieces):
    compressor = Compressor(QUICK, task=softer)
    again = there_and_back(compressor)
    assert again is not compressor
    assert again.codec is not compressor.codec
    assert again.compress(pieces[0]).stream == compressor.compress(pieces[0]).stream
    assert there_and_back(Decompressor()).registry is own_registry


@pytest.mark.parametrize("task", [lambda x_hat, x: x_hat.mean(), open])
def test_what_cannot_be_sent_is_named(task):
    compressor = Compressor(QUICK.model_copy(update={"ttft": QUICK.ttft.model_copy(update={"steps": 0})}), task=softer)
    compressor._made_of = (*compressor._made_of[:2], task if task is not open else (i for i in range(3)), None)
    with pytest.raises(UsageError, match=r"Compressor cannot go to another process, since .*cannot be pickled"):
        pickle.dumps(compressor)


def test_a_registry_comes_with_what_was_given_to_it(tmp_path):
    plugin = tmp_path / "plugin.py"
    hook = "@hookimpl\ndef register_tasks():\n    return [TaskSpec('mine', int)]\n"
    plugin.write_text(f"from taskodec import TaskSpec, hookimpl\n{hook}")
    known = Registry()
    known.load_builtins(("taskodec.adapters.plugin",))
    known.load_plugin_file(plugin)
    known.register(Call("register_tasks", TaskSpec("yours", str)), "tests")
    again = there_and_back(known)
    assert (list(again.tasks), list(again.adapters)) == (["mine", "yours"], list(known.adapters))
    assert again.tasks.owner("mine") == str(plugin)


def test_the_registry_of_a_process_gets_what_is_missing(own_registry, monkeypatch):
    register_task("softer-here", softer)
    sent = pickle.dumps(own_registry)
    assert pickle.loads(sent) is own_registry  # has it already
    other = Registry()
    other.load_builtins()
    monkeypatch.setattr(registries, "_default", lambda: other)
    register_task("softer-there", softer)
    assert pickle.loads(sent) is default_registry() is other
    assert {other.task_from(name).function for name in ("softer-here", "softer-there")} == {softer}
    assert pickle.loads(pickle.dumps(other)) is other


def test_plugins_that_cannot_be_sent_are_named(own_registry):
    register_task("nameless", lambda x_hat, x: x_hat.mean())
    with pytest.raises(UsageError, match=r"plugins registered here cannot go .*cannot be pickled"):
        pickle.dumps(Decompressor())


def compressed(compressor):
    return compressor.compress(torch.full((1, 3, 16, 16), 0.5)).stream


def test_an_error_of_sending_reaches_who_sent(own_registry):
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(1, context) as pool:
        future = pool.submit(compressed, Compressor(QUICK, task=lambda x_hat, x: (x_hat - x).mean()))
        with pytest.raises(UsageError, match="give what can be found by its name"):
            future.result(60)
