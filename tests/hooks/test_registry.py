import sys
from importlib.metadata import EntryPoint
from pathlib import Path
from types import ModuleType

import pytest

from taskodec.contracts import Task
from taskodec.errors import PluginError, TaskError, UsageError
from taskodec.hooks import registry
from taskodec.hooks import specs as hookspecs
from taskodec.hooks.registry import (
    BUILTINS,
    Registry,
    default_registry,
    register_adapter,
    register_codec,
    register_task,
)
from taskodec.hooks.specs import AdapterSpec, AnchorSpec, CodecSpec, TaskSpec, hookimpl


def distance(x_hat, x):
    return (x_hat - x).square().mean()


def plugin_of(**hooks):
    """A plugin whose hooks return the given values."""
    plugin = ModuleType("plugin")
    for name, value in hooks.items():
        setattr(plugin, name, hookimpl(lambda value=value: value))
    return plugin


@pytest.fixture
def fresh(monkeypatch):
    """A registry with nothing in it, which stands for the process-wide one."""
    empty = Registry()
    monkeypatch.setattr(registry, "default_registry", lambda: empty)
    return empty


def test_each_hook_fills_its_shelf():
    plugins = Registry()
    plugins.register(
        plugin_of(
            register_codecs=[CodecSpec("c", lambda: None)],
            register_adapters=(AdapterSpec("a", lambda codec: None),),
            register_tasks=[TaskSpec("t", lambda: None), TaskSpec("u", lambda: None)],
            register_anchors=[AnchorSpec("v", lambda: None)],
        ),
        "me",
    )
    assert list(plugins.codecs) == ["c"]
    assert list(plugins.adapters) == ["a"]
    assert list(plugins.tasks) == ["t", "u"]
    assert list(plugins.anchors) == ["v"]
    assert plugins.tasks.owner("u") == "me"
    assert len(plugins.tasks) == 2
    assert "u" in plugins.tasks


def test_an_unknown_name_lists_what_there_is():
    plugins = Registry()
    plugins.register(plugin_of(register_tasks=[TaskSpec("edges", str), TaskSpec("faces", str)]), "me")
    with pytest.raises(UsageError, match=r"unknown task 'edge', did you mean 'edges'\?; valid: edges, faces"):
        plugins.tasks["edge"]
    with pytest.raises(UsageError, match="unknown codec 'x'; valid: none"):
        plugins.codecs["x"]


def test_a_name_taken_twice_names_both_owners_and_adds_nothing():
    plugins = Registry()
    plugins.register(plugin_of(register_tasks=[TaskSpec("edges", str)]), "first")
    second = plugin_of(register_tasks=[TaskSpec("other", str), TaskSpec("edges", str)])
    with pytest.raises(PluginError, match="'edges' is registered by first and again by second"):
        plugins.register(second, "second")
    assert list(plugins.tasks) == ["edges"]
    assert plugins.tasks.owner("edges") == "first"
    plugins.register(plugin_of(register_tasks=[TaskSpec("third", str)]), "second")  # the name is free again
    with pytest.raises(PluginError, match="'x' is registered twice by me"):
        plugins.register(plugin_of(register_tasks=[TaskSpec("x", str), TaskSpec("x", str)]), "me")


def unknown_hook():
    return plugin_of(register_everything=[])


def raising_hook():
    plugin = ModuleType("plugin")
    plugin.register_tasks = hookimpl(lambda: 1 / 0)
    return plugin


def exiting_hook():
    plugin = ModuleType("plugin")
    plugin.register_tasks = hookimpl(lambda: sys.exit(3))
    return plugin


def argument_hook():
    plugin = ModuleType("plugin")
    plugin.register_tasks = hookimpl(lambda codec: [])
    return plugin


BROKEN = [
    (unknown_hook, "register_everything"),
    (raising_hook, "ZeroDivisionError"),
    (exiting_hook, "SystemExit: 3"),
    (argument_hook, "codec"),
    (lambda: plugin_of(register_tasks=None), "NoneType"),
    (lambda: plugin_of(register_tasks=TaskSpec("x", str)), "TaskSpec, expected a list"),
    (lambda: plugin_of(register_tasks="x"), "returned a str"),
    (lambda: plugin_of(register_tasks=["x"]), "returned a str, expected TaskSpec"),
    (lambda: plugin_of(register_tasks=[CodecSpec("x", str)]), "returned a CodecSpec, expected TaskSpec"),
    (lambda: plugin_of(register_tasks=[TaskSpec("a b", str)]), "'a b' is not valid"),
    (lambda: plugin_of(register_codecs=[CodecSpec("x", str, stream_id=1)]), "stream_id"),
    (lambda: ModuleType("empty"), "no hooks found"),
]


@pytest.mark.parametrize(("make", "words"), BROKEN)
def test_a_broken_plugin_is_refused_and_leaves_no_trace(make, words):
    plugins = Registry()
    with pytest.raises(PluginError, match=words):
        plugins.register(make(), "broken")
    plugins.register(plugin_of(register_tasks=[TaskSpec("fine", str)]), "fine")
    assert [*plugins.codecs, *plugins.adapters, *plugins.tasks] == ["fine"]


def test_broken_installed_plugins_are_recorded_and_skipped(tmp_path, monkeypatch):
    files = {
        "fine_plugin": "from taskodec import TaskSpec, hookimpl\n"
        "@hookimpl\ndef register_tasks():\n    return [TaskSpec('fine', dict)]\n",
        "late_plugin": "from taskodec import TaskSpec, hookimpl\n"
        "@hookimpl\ndef register_tasks():\n    return [TaskSpec('fine', dict)]\n",
        "import_plugin": "import nowhere_to_be_found\n",
        "exit_plugin": "raise SystemExit(3)\n",
    }
    for name, text in files.items():
        (tmp_path / f"{name}.py").write_text(text)
    points = [EntryPoint(name, name, "taskodec") for name in (*files, "missing_plugin")]
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setattr(registry, "entry_points", lambda group: points)
    plugins = Registry()
    plugins.load_entry_points()
    assert plugins.tasks.owner("fine") == "fine_plugin"
    assert set(plugins.failures) == {"late_plugin", "import_plugin", "exit_plugin", "missing_plugin"}
    assert "registered by fine_plugin and again by late_plugin" in plugins.failures["late_plugin"]
    assert plugins.failures["import_plugin"].startswith("ModuleNotFoundError: No module named 'nowhere_to_be_found' (")
    assert plugins.failures["exit_plugin"] == "SystemExit: 3 (exit_plugin.py, line 1)"


def test_a_plugin_file_registers_once(tmp_path):
    path = tmp_path / "mine.py"
    path.write_text(
        "from taskodec import TaskSpec, hookimpl\n\n"
        "@hookimpl\ndef register_tasks():\n    return [TaskSpec('mine', dict, 'my task')]\n"
    )
    plugins = Registry()
    plugins.load_plugin_file(path)
    plugins.load_plugin_file(path)
    assert plugins.tasks.owner("mine") == str(path)


def test_tasks_from_names_files_functions_and_instances(tmp_path):
    path = tmp_path / "mine.py"
    path.write_text(
        "import taskodec\n\n"
        "def loss(x_hat, x):\n    return (x_hat - x).abs().mean()\n\n"
        "class Scaled(taskodec.Task):\n    name = 'scaled'\n"
        "    def __init__(self, scale=1):\n        self.scale = scale\n"
        "    def prepare(self, x):\n        return x\n"
        "    def loss(self, x_hat, x):\n        return self.scale * (x_hat - x).abs().mean()\n\n"
        "instance = Scaled(5)\n"
    )
    plugins = Registry()
    assert plugins.task_from(f"{path}:loss").name == "loss"
    assert plugins.task_from(f"{path}:Scaled", scale=3).scale == 3
    assert plugins.task_from(f"{path}:instance").scale == 5
    assert plugins.task_from(distance).name == "distance"
    with pytest.raises(UsageError, match=r"mine\.py:NAME_OF_THE_LOSS"):
        plugins.task_from(str(path))


def test_a_task_by_name_takes_its_options():
    task = default_registry().task_from("human", metric="mse")
    assert isinstance(task, Task)
    with pytest.raises(UsageError, match="metrik"):
        default_registry().task_from("human", metrik="mse")


def test_run_time_registration(fresh):
    register_task("edges", distance, lmbda=2.0)
    register_codec("mine", lambda quality: None, "my codec")
    register_adapter("tuned", lambda codec: None, codec="mine", task="edges")
    task = fresh.task_from("edges")
    assert (task.name, task.lmbda(None, 3)) == ("edges", 2.0)
    assert fresh.codecs["mine"].description == "my codec"
    assert (fresh.adapters["tuned"].codec, fresh.adapters["tuned"].task) == ("mine", "edges")
    assert "distance" in fresh.tasks.owner("edges")
    with pytest.raises(PluginError, match=r"registered by .*distance.* and again by .*distance"):
        register_task("edges", distance)
    with pytest.raises(TaskError, match="found a int"):
        register_task("number", 3)


def test_what_ships_is_registered_through_the_hooks():
    plugins = default_registry()
    assert plugins is default_registry()
    assert plugins.failures == {}
    assert {"lite", "tic", "mbt2018-mean", "cheng2020-anchor"} <= set(plugins.codecs)
    assert {"svd-lora", "lora"} <= set(plugins.adapters)
    assert {"human", "cls"} <= set(plugins.tasks)
    assert {"jpeg", "webp", "avif", "jpeg2000"} <= set(plugins.anchors)
    for shelf in (plugins.codecs, plugins.adapters, plugins.tasks, plugins.anchors, plugins.weights):
        for name in shelf:
            if shelf.owner(name) in BUILTINS:
                assert shelf[name].description, name


@pytest.mark.parametrize("kind", ["codec", "adapter", "task", "anchor"])
def test_what_cannot_be_used_is_listed_with_its_reason(kind):
    plugins = Registry()
    spec = {"codec": CodecSpec, "adapter": AdapterSpec, "task": TaskSpec, "anchor": AnchorSpec}[kind]
    specs = [spec("far", lambda: None, unavailable="Atlantis is not installed"), spec("near", lambda: None)]
    plugins.register(plugin_of(**{f"register_{kind}s": specs}), "me")
    shelf = getattr(plugins, f"{kind}s")
    assert list(shelf) == ["far", "near"]
    assert shelf["far"].unavailable == "Atlantis is not installed"
    with pytest.raises(UsageError, match=f"{kind} 'far' cannot be used here: Atlantis is not installed"):
        shelf.usable("far")
    assert shelf.usable("near") is shelf["near"]
    if kind == "task":
        with pytest.raises(UsageError, match="Atlantis"):
            plugins.task_from("far")


@pytest.mark.parametrize("target", ["nowhere_to_be_found:load", "taskodec.hooks.names:nothing", "pathlib.nothing:load"])
def test_a_loader_that_cannot_be_imported_is_named(target):
    with pytest.raises(PluginError, match=rf"{target} cannot be imported \(\w+: .*\): repair"):
        hookspecs.resolve(target)


def test_every_hook_has_a_docstring_and_is_documented():
    page = (Path(__file__).parents[2] / "docs" / "plugins.md").read_text()
    hooks = [name for name, value in vars(hookspecs).items() if hasattr(value, "taskodec_spec")]
    assert {hook.removeprefix("register_") for hook in hooks} == {"codecs", "adapters", "tasks", "anchors", "weights"}
    for name in hooks:
        assert getattr(hookspecs, name).__doc__, name
        assert f"### {name}\n" in page, name
