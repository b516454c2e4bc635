import sys
from concurrent.futures import ThreadPoolExecutor

import pytest
import torch

from taskodec.contracts import Task
from taskodec.contracts.function_task import FunctionTask
from taskodec.errors import PluginError, TaskError, UsageError
from taskodec.hooks.handover import build, check_task, load_module, make_task, object_from


class Edges(Task):
    name = "edges"

    def __init__(self, weight=1.0):
        self.weight = weight

    def prepare(self, x):
        return x

    def loss(self, x_hat, reference):
        return self.weight * (x_hat - reference).abs().mean()


def distance(x_hat, x):
    return (x_hat - x).square().mean()


def test_a_function_becomes_a_task():
    task = make_task("mine", distance, {}, lmbda=2.0)
    x = torch.rand(1, 3, 4, 4)
    assert isinstance(task, FunctionTask)
    assert task.name == "mine"
    assert task.lmbda(None, 3) == 2.0
    assert float(task.loss(x, task.prepare(x))) == 0


def test_an_instance_is_used_as_it_is_and_a_class_takes_options():
    instance = Edges(2.0)
    assert make_task("x", instance, {}) is instance
    assert make_task("x", Edges, {"weight": 3.0}).weight == 3.0


def test_options_that_do_not_exist_are_named():
    with pytest.raises(UsageError, match=r"task 'x'.*'wieght'.*options: weight"):
        make_task("x", Edges, {"wieght": 3.0})
    with pytest.raises(UsageError, match="takes no options, found: weight"):
        make_task("x", distance, {"weight": 3.0})


def test_a_type_error_inside_a_loader_is_not_mistaken_for_a_wrong_option():
    def load(weight=1.0):
        return weight + "text"

    with pytest.raises(TypeError, match="unsupported operand"):
        build("task 'x'", load, {})


@pytest.mark.parametrize(("what", "words"), [(3, "found a int"), (dict, "class dict is not a subclass")])
def test_what_is_no_task_is_refused(what, words):
    with pytest.raises(TaskError, match=f"task 'x'.*{words}"):
        check_task("x", what)


def test_a_file_is_run_once_until_it_changes(tmp_path):
    path = tmp_path / "mine.py"
    path.write_text("value = object()\n")
    first = load_module(path)
    assert load_module(path) is first
    path.write_text("value = 2\n")
    assert load_module(path).value == 2


def test_a_name_that_the_file_does_not_define(tmp_path):
    path = tmp_path / "mine.py"
    path.write_text("def loss(x_hat, x): ...\n")
    with pytest.raises(UsageError, match=r"has no 'los', did you mean 'loss'\?; it defines: loss"):
        object_from(f"{path}:los")
    assert object_from(f"{path}:loss").__name__ == "loss"


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("def broken(:\n", "SyntaxError"),
        ("import nowhere_to_be_found\n", "nowhere_to_be_found"),
        ("exit(3)", "SystemExit: 3"),
        ("raise GeneratorExit\n", "GeneratorExit"),
        ("class Stop(BaseException): ...\nraise Stop('now')\n", "Stop: now"),
    ],
)
def test_a_file_that_cannot_be_run_is_a_plugin_error(text, words, tmp_path):
    path = tmp_path / "broken.py"
    path.write_text(text)
    before = set(sys.modules)
    with pytest.raises(PluginError, match=rf"broken\.py cannot be imported.*{words}"):
        load_module(path)
    assert not any(name.startswith("taskodec_file") for name in set(sys.modules) - before)


def test_missing_and_foreign_files(tmp_path):
    with pytest.raises(UsageError, match="no such plugin file"):
        load_module(tmp_path / "none.py")
    other = tmp_path / "plugin.txt"
    other.write_text("x = 1")
    with pytest.raises(UsageError, match=r"must end in \.py"):
        load_module(other)


def test_threads_that_load_a_file_at_once_get_the_whole_of_it(tmp_path):
    path = tmp_path / "slow.py"
    path.write_text("import threading\nthreading.Event().wait(0.05)\nloss = print\n")
    with ThreadPoolExecutor(4) as pool:
        assert list(pool.map(object_from, [f"{path}:loss"] * 4)) == [print] * 4


@pytest.mark.parametrize("error", [SystemExit(0), GeneratorExit()])
def test_a_loader_that_would_end_the_program_is_a_plugin_error(error):
    def load():
        raise error

    with pytest.raises(PluginError, match=f"task 'mine': its loader raised {type(error).__name__}"):
        build("task 'mine'", load, {})


def test_a_loader_draws_from_the_generator_as_it_is_and_leaves_it_so():
    with torch.random.fork_rng([]):
        torch.manual_seed(4)
        expected = torch.rand(3)
        torch.manual_seed(4)
        assert torch.equal(build("task 'mine'", lambda: torch.rand(3), {}), expected)
        assert torch.equal(torch.rand(3), expected)
