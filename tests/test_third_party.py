"""The separate package in tests/third_party, installed and seen from another process."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

SCRIPT = """
import json, sys

from taskodec.hooks.registry import default_registry

registry = default_registry()
found = {
    "owners": [registry.codecs.owner("blocks"), registry.adapters.owner("colour-gain"), registry.tasks.owner("smooth")],
    "failures": registry.failures,
    "builtins": "human" in registry.tasks and "svd-lora" in registry.adapters,
    "light": "torch" not in sys.modules,
}

import torch
from taskodec.tuning.checks import checked_loss
from taskodec.contracts import Adapter, Codec, Task
from taskodec.stream.entropy import SymbolDecoder, SymbolEncoder
from taskodec.hooks.specs import resolve

codec = resolve(registry.codecs["blocks"].load)(quality=2)
adapter = resolve(registry.adapters["colour-gain"].build)(codec)
task = registry.task_from("smooth", weight=2.5)
found["built"] = [isinstance(codec, Codec), isinstance(adapter, Adapter), isinstance(task, Task)]

x = torch.rand(1, 3, 16, 24, generator=torch.Generator().manual_seed(0))
with torch.no_grad():
    latents = codec.analysis(x, 2)
    coder = SymbolEncoder()
    y_hat = codec.encode(latents, 2, coder)
    found["exact"] = torch.equal(codec.decode((16, 24), 2, SymbolDecoder(coder.getvalue())), y_hat)
    plain = codec.synthesis(y_hat, 2)
    found["error"] = float((plain - x).abs().max())
    adapter.attach(codec)
    adapter.set_delta(torch.tensor([0.5, 0.0, 0.0]))
    sizes = [(image - 0.5).abs().sum((0, 2, 3)) for image in (codec.synthesis(y_hat, 2), plain)]
    found["gains"] = (sizes[0] / sizes[1]).tolist()
    adapter.detach()
    found["restored"] = torch.equal(codec.synthesis(y_hat, 2), plain)
x_hat = codec(x.requires_grad_(), 2, "ste").x_hat
checked_loss(task, x_hat, task.prepare(x.detach())).backward()
found["gradient"] = float(x.grad.abs().sum())
found["weight"] = task.lmbda(codec, 2)

from taskodec.api.compressor import Compressor
from taskodec.api.decompressor import Decompressor
from taskodec.settings.model import load_settings

names = {"codec.name": "blocks", "adapter.name": "colour-gain", "task.name": "smooth", "quality": 2, "ttft.steps": 8}
result = Compressor(load_settings(flags=names)).compress(x.detach())
found["report"] = result.report()
found["decoded"] = Decompressor().decompress(result.stream).tobytes() == result.image.tobytes()
print(json.dumps(found))
"""


@pytest.fixture(scope="module")
def found(tmp_path_factory):
    """What a new process sees after the package was installed."""
    folder = tmp_path_factory.mktemp("third_party")
    source = shutil.copytree(Path(__file__).parent / "third_party", folder / "source")
    install = [sys.executable, "-m", "pip", "install", "--no-deps", "--no-build-isolation", "--no-index", "--quiet"]
    subprocess.run([*install, "--target", folder / "site", source], check=True)
    environment = os.environ | {"PYTHONPATH": str(folder / "site")}
    run = subprocess.run(
        [sys.executable, "-c", SCRIPT], check=True, env=environment, cwd=folder, stdout=subprocess.PIPE, text=True
    )
    return json.loads(run.stdout)


def test_every_hook_is_listed_with_its_owner(found):
    assert found["owners"] == ["blocks (taskodec-blocks 1.2.3)"] * 3


def test_a_broken_plugin_is_named_and_skipped(found):
    (said,) = found["failures"].values()
    assert list(found["failures"]) == ["broken (taskodec-blocks 1.2.3)"]
    assert said == "ModuleNotFoundError: No module named 'a_package_that_nobody_has' (broken.py, line 3)"
    assert found["builtins"]


def test_listing_loads_no_torch(found):
    assert found["light"]


def test_the_codec_round_trips_through_real_coding(found):
    assert found["built"] == [True, True, True]
    assert found["exact"]
    assert 0 < found["error"] < 0.5


def test_the_adapter_changes_the_decoder_and_leaves_no_trace(found):
    assert found["gains"] == pytest.approx([1.5, 1, 1])
    assert found["restored"]


def test_the_three_together_do_the_main_job(found):
    assert found["decoded"]
    assert found["report"]["cost_after"] <= found["report"]["cost_before"]


def test_the_task_reaches_the_picture_through_the_codec(found):
    assert found["gradient"] > 0
    assert found["weight"] == 2.5
