import ast
import subprocess
import sys
from pathlib import Path

import pytest

import taskodec
from taskodec import errors


def in_new_process(code):
    return subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.strip()


def test_every_public_name_loads():
    for name in taskodec.__all__:
        assert getattr(taskodec, name) is not None, name
    assert taskodec.__all__ == sorted(taskodec.__all__)
    assert dir(taskodec) == taskodec.__all__


def test_all_errors_are_public():
    assert set(errors.__all__) <= set(taskodec.__all__)


def test_type_checkers_see_the_same_names():
    tree = ast.parse(Path(taskodec.__file__).read_text())
    (block,) = [node for node in tree.body if isinstance(node, ast.If)]
    imported = {alias.name for node in block.body if isinstance(node, ast.ImportFrom) for alias in node.names}
    assert imported | {"__version__"} == set(taskodec.__all__)


def test_an_unknown_name_is_an_attribute_error():
    with pytest.raises(AttributeError, match="no attribute 'compres'"):
        taskodec.compres  # noqa: B018


def test_importing_and_registering_do_not_load_torch():
    code = (
        "import sys, taskodec; taskodec.hookimpl, taskodec.UsageError, taskodec.CodecSpec;"
        "from taskodec.hooks.registry import default_registry; registry = default_registry();"
        "print('torch' in sys.modules, len(registry.codecs) > 0, registry.failures)"
    )
    assert in_new_process(code) == "False True {}"
