"""The code blocks of docs/plugins.md, written to files by the names the page gives them, and run."""

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from PIL import Image
from safetensors.torch import save_file

from taskodec.adapters.files import save_adapter
from taskodec.adapters.lora import build_svd_lora
from taskodec.bench.coders import AnchorEntry
from taskodec.codecs.lite.codec import Lite
from taskodec.hooks import specs as hookspecs
from taskodec.hooks.registry import Registry
from taskodec.hooks.specs import resolve
from taskodec.tuning.checks import checked_loss

DOCS = Path(__file__).parents[2] / "docs"
PAGE = (DOCS / "plugins.md").read_text(encoding="utf-8")
BLOCKS = dict(re.findall(r"^`(\S+)`:\n\n```\w+\n(.*?)^```$", PAGE, flags=re.DOTALL | re.MULTILINE))

INSTALLED = """
import json, sys
from taskodec.hooks.registry import default_registry

registry = default_registry()
found = {"owner": registry.tasks.owner("sharpness"), "failures": registry.failures, "light": "torch" not in sys.modules}
import torch
from taskodec.tuning.checks import checked_loss

x = torch.rand(1, 3, 9, 14, generator=torch.Generator().manual_seed(0))
x_hat = (0.5 * x).requires_grad_()
losses = []
for radius in (1, 2):
    task = registry.task_from("sharpness", radius=radius)
    losses.append(checked_loss(task, x_hat, task.prepare(x)).item())
print(json.dumps({**found, "losses": losses, "zero": task.loss(x, task.prepare(x)).item()}))
"""


@pytest.fixture
def files(tmp_path):
    """A folder with all the page's files."""
    for name, code in BLOCKS.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(code, encoding="utf-8")
    return tmp_path


@pytest.fixture(scope="module")
def lite():
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        codec = Lite().eval()
    codec.ranges.fill_(1.0)  # as after training
    return codec


def falls(task):
    """Whether a task's loss is smaller nearer to the original, and has a gradient."""
    x, other = torch.rand(2, 1, 3, 16, 24, generator=torch.Generator().manual_seed(0))
    x_hat = (0.5 * x + 0.5 * other).requires_grad_()
    far = checked_loss(task, x_hat, task.prepare(x))
    far.backward()
    near = float(task.loss(x, task.prepare(x)))
    return 0 <= near < far.item() and bool(x_hat.grad.any())


def test_an_installed_task_takes_under_40_lines():
    package = [code for name, code in BLOCKS.items() if name.startswith("sharpness/")]
    assert len(package) == 2
    assert sum(len(code.splitlines()) for code in package) < 40


def test_the_installed_task_is_discovered_and_its_loss_evaluates(files):
    install = [sys.executable, "-m", "pip", "install", "--no-deps", "--no-build-isolation", "--no-index", "--quiet"]
    subprocess.run([*install, "--target", files / "site", files / "sharpness"], check=True)
    environment = os.environ | {"PYTHONPATH": str(files / "site")}
    run = subprocess.run(
        [sys.executable, "-c", INSTALLED], check=True, env=environment, cwd=files, stdout=subprocess.PIPE, text=True
    )
    found = json.loads(run.stdout)
    assert found["owner"] == "sharpness (taskodec-sharpness 0.1.0)"
    assert found["failures"] == {}
    assert found["light"]
    assert 0 < found["losses"][0] < found["losses"][1]
    assert found["zero"] == 0


def test_the_loss_in_a_file(files):
    assert falls(Registry().task_from(f"{files / 'contrast.py'}:loss"))


def test_the_call_compresses_and_decompresses(files):
    Image.new("RGB", (40, 24), "teal").save(files / "photo.png")
    subprocess.run([sys.executable, "by_call.py"], check=True, cwd=files)
    with Image.open(files / "decoded.png") as decoded:
        assert decoded.size == (40, 24)


def test_the_task_class(files):
    registry = Registry()
    registry.load_plugin_file(files / "brightness.py")
    task = registry.task_from("brightness")
    assert falls(task)
    white = torch.ones(1, 3, 4, 4)
    assert task.metrics(white * 0.5, white) == {"brightness_error": 0.5}


def test_the_codec_with_weights_of_ones_own(files, lite):
    save_file(lite.state_dict(), files / "forest.safetensors")
    registry = Registry()
    registry.load_plugin_file(files / "forest.py")
    codec = resolve(registry.codecs["lite-forest"].load)(quality=2)
    assert codec.name == "lite-forest"
    assert torch.equal(codec.h_a.first.weight, lite.h_a.first.weight)


def test_the_pre_trained_adapter(files, lite):
    made = build_svd_lora(lite, rank=1, encoder_layers="g_a.dct", decoder_layers="g_s.linear", seed=7)
    save_adapter(files / "sharp_adapter.safetensors", made, {"codec": "lite", "task": "sharpness"})
    registry = Registry()
    registry.load_plugin_file(files / "sharp_adapter.py")
    spec = registry.adapters["lite-sharpness"]
    assert (spec.codec, spec.task) == ("lite", "sharpness")
    assert resolve(spec.build)(lite).fingerprint() == made.fingerprint()


def test_the_anchor(files):
    registry = Registry()
    registry.load_plugin_file(files / "palette.py")
    coder = AnchorEntry("png-palette", registry).at(16)
    picture = Image.linear_gradient("L").convert("RGB")
    decoded = coder.decode(coder.encode(picture))
    assert (decoded.size, decoded.mode, len(decoded.getcolors())) == (picture.size, "RGB", 16)


def test_the_weights(files, monkeypatch):
    monkeypatch.setenv("TORCH_HOME", str(files))
    registry = Registry()
    registry.load_plugin_file(files / "weighty.py")
    assert registry.weights["my-encoder"].state() == "missing"
    cached = registry.weights["my-encoder"].cached
    cached.parent.mkdir(parents=True)
    save_file({"kernel": torch.randn(2, 3, 3, 3, generator=torch.Generator().manual_seed(0))}, cached)
    assert falls(registry.task_from("structure"))
    assert registry.weights["my-encoder"].state() == "verified"


@pytest.mark.parametrize("hook", sorted(name for name in vars(hookspecs) if name.startswith("register_")))
def test_every_hook_is_explained_with_an_example(hook):
    section = re.search(rf"^### {hook}$(.*?)^##", PAGE, flags=re.DOTALL | re.MULTILINE)
    assert section is not None
    assert re.search(rf"```python\n.*@taskodec\.hookimpl\ndef {hook}\(\)", section[1], flags=re.DOTALL)


def test_every_block_of_python_is_run_and_every_link_leads_somewhere():
    assert PAGE.count("```python") + PAGE.count("```toml") == len(BLOCKS)
    assert all((DOCS / link.partition("#")[0]).exists() for link in re.findall(r"\]\(([^):]+)\)", PAGE))
    assert shutil.which("taskodec", path=str(Path(sys.executable).parent))
