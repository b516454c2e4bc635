"""One registry for all threads, and what comes through its hooks."""

import threading
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from types import ModuleType

import pytest

from taskodec.errors import PluginError
from taskodec.hooks import registry
from taskodec.hooks.registry import Registry, default_registry
from taskodec.hooks.specs import TaskSpec, hookimpl


def plugin_of(**hooks):
    """A plugin whose hooks return the given values."""
    plugin = ModuleType("plugin")
    for name, value in hooks.items():
        setattr(plugin, name, hookimpl(lambda value=value: value))
    return plugin


def test_threads_that_ask_first_all_get_the_one_registry(monkeypatch):
    made = []

    class Slow(Registry):
        def __init__(self):
            made.append(self)
            threading.Event().wait(0.02)
            super().__init__()

    monkeypatch.setattr(registry, "Registry", Slow)
    monkeypatch.setattr(registry, "_default", cache(registry._default.__wrapped__))
    with ThreadPoolExecutor(4) as pool:
        found = list(pool.map(lambda _: default_registry(), range(4)))
    assert len(made) == 1
    assert all(one is made[0] for one in found)


def test_threads_that_register_one_name_at_once_get_it_once():
    plugins, refused = Registry(), []

    def register(number):
        try:
            plugins.register(plugin_of(register_tasks=[TaskSpec("mine", str)]), f"plugin {number}")
        except PluginError as error:
            refused.append(str(error))

    with ThreadPoolExecutor(6) as pool:
        list(pool.map(register, range(6)))
    assert len(refused) == 5
    assert all("registered by" in message for message in refused)


@pytest.mark.parametrize("error", [GeneratorExit(), KeyboardInterrupt()])
def test_only_ctrl_c_comes_through_a_hook(error):
    class Plugin:
        @hookimpl
        def register_tasks(self):
            raise error

    plugins = Registry()
    with pytest.raises(KeyboardInterrupt if isinstance(error, KeyboardInterrupt) else PluginError):
        plugins.register(Plugin(), "tests")
    plugins.register(plugin_of(register_tasks=[TaskSpec("mine", str)]), "tests")


def test_a_loader_that_fails_is_a_typed_error_with_its_options():
    class Broken:
        @hookimpl
        def register_tasks(self):
            return [TaskSpec("broken", lambda radius=1: int(radius))]

    registry = Registry()
    registry.register(Broken(), "tests")
    message = "tests: task 'broken' cannot be loaded with radius='wide': ValueError: invalid literal"
    with pytest.raises(PluginError, match=message):
        registry.task_from("broken", radius="wide")
