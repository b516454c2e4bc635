from __future__ import annotations

import subprocess
import sys

import pluggy

from taskodec.adapters import files as adapter_files
from taskodec.adapters import lora
from taskodec.adapters import plugin as adapters_plugin
from taskodec.hooks import specs as hookspecs


def test_methods_are_found_through_the_hook() -> None:
    manager = pluggy.PluginManager("taskodec")
    manager.add_hookspecs(hookspecs)
    manager.register(adapters_plugin)
    (specs,) = manager.hook.register_adapters()
    assert {s.name: hookspecs.resolve(s.build) for s in specs} == {
        "svd-lora": lora.build_svd_lora,
        "lora": lora.build_lora,
        "file": adapter_files.adapter_from,
    }


def test_listing_the_methods_does_not_import_torch() -> None:
    code = "import sys, taskodec.adapters.plugin as p; p.register_adapters(); assert 'torch' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True)
