"""What `compress` and `decompress` do with adapters that were trained beforehand."""

import pytest
import torch

from taskodec.adapters.files import load_adapter, save_adapter
from taskodec.adapters.lora import build_svd_lora
from taskodec.api.compressor import Compressor
from taskodec.api.decompressor import Decompressor
from taskodec.coding.streams import codec_fingerprint
from taskodec.contracts.function_task import FunctionTask
from taskodec.errors import MismatchError, WeightsError
from taskodec.hooks.registry import Registry
from taskodec.hooks.specs import AdapterSpec, CodecSpec, hookimpl
from taskodec.settings.model import load_settings
from taskodec.stream.bitstream import Stream

TASK = FunctionTask("dark", lambda x_hat, x: (x_hat - 0.5 * x).square().mean())


@pytest.fixture
def registry(tiny_codec):
    """The tiny codec and the methods; `offer` adds an adapter that was trained for it."""
    plugins = Registry()
    plugins.load_builtins(["taskodec.adapters.plugin"])

    class Codecs:
        @hookimpl
        def register_codecs(self):
            return [CodecSpec("tiny", lambda quality=3.0, checkpoint=None: tiny_codec)]

    plugins.register(Codecs(), "codecs")
    return plugins


def offer(registry, path, name="tiny-dark", task="dark"):
    class Adapters:
        @hookimpl
        def register_adapters(self):
            return [AdapterSpec(name, lambda codec: load_adapter(path, codec), codec="tiny", task=task)]

    registry.register(Adapters(), f"plugin with {name}")


def trained(codec, path, task="dark", scale=0.3):
    """A file with an adapter that changes the decoder."""
    adapter = build_svd_lora(codec, rank=2)
    with torch.no_grad():
        for name, parameter in adapter.named_parameters():
            if name.endswith("w_lora_S"):
                parameter.fill_(scale)
    save_adapter(path, adapter, {"codec": "tiny", "codec_fingerprint": codec_fingerprint(codec).hex(), "task": task})
    return path


def untuned(registry, photo, *overrides):
    settings = load_settings(overrides=["codec.name=tiny", "ttft.steps=0", *overrides])
    compressor = Compressor(settings, registry, task=TASK)
    return compressor, compressor.compress(photo)


def test_compression_starts_from_the_adapter_that_a_plugin_has(registry, tiny_codec, photo, tmp_path):
    plain = untuned(registry, photo)[1].stream
    path = trained(tiny_codec, tmp_path / "dark.safetensors")
    offer(registry, path, "tiny-bright", task="bright")
    assert untuned(registry, photo)[1].stream == plain
    offer(registry, path)
    compressor, result = untuned(registry, photo)
    assert compressor.settings.adapter.name == "tiny-dark"
    assert compressor.notes == []
    assert result.stream != plain
    assert Stream.from_bytes(result.stream).header.metadata == {}  # the fingerprint is enough
    image = Decompressor(load_settings(), registry).decompress(result.stream)
    assert image.tobytes() == result.image.tobytes()
    assert untuned(registry, photo, "adapter.name=svd-lora")[1].stream == plain
    assert untuned(registry, photo, "adapter.options.rank=2")[1].stream == plain


def test_an_adapter_of_other_weights_is_left_out_with_a_note(registry, tiny_codec, photo, tmp_path):
    offer(registry, trained(tiny_codec, tmp_path / "dark.safetensors"))
    with torch.no_grad():
        tiny_codec.g_s[0].bias.add_(0.01)
    compressor, _ = untuned(registry, photo)
    assert compressor.adapter is None
    (note,) = compressor.notes
    assert "'tiny-dark', trained for 'dark', is left out: " in note
    assert "trained on weights" in note
    with pytest.raises(WeightsError, match="trained on weights"):
        untuned(registry, photo, "adapter.name=tiny-dark")


def test_a_file_serves_both_ends(registry, tiny_codec, photo, tmp_path):
    path = trained(tiny_codec, tmp_path / "mine.safetensors")
    compressor, result = untuned(registry, photo, f"adapter={path}")
    assert compressor.settings.adapter.name == "file"
    with pytest.raises(MismatchError, match="--adapter"):
        Decompressor(load_settings(), registry).decompress(result.stream)
    given = load_settings(flags={"adapter.name": str(path)})
    assert Decompressor(given, registry).decompress(result.stream).tobytes() == result.image.tobytes()
    offer(registry, path)  # a stream does not depend on where its adapter came from
    assert Decompressor(load_settings(), registry).decompress(result.stream).tobytes() == result.image.tobytes()


def test_tuning_goes_on_from_a_trained_adapter(registry, tiny_codec, photo, tmp_path):
    offer(registry, trained(tiny_codec, tmp_path / "dark.safetensors"))
    phases = "ttft.phases=[{train: [decoder], steps: 40, lr: 0.2}]"
    settings = load_settings(overrides=["codec.name=tiny", phases, "task.lmbda=3000"])
    result = Compressor(settings, registry, task=TASK).compress(photo)
    assert result.tuned.best.coded.delta is not None
    assert result.tuned.best.cost < result.tuned.untuned.cost
    assert Decompressor(load_settings(), registry).decompress(result.stream).tobytes() == result.image.tobytes()


def test_notes_on_an_adapter_are_about_streams_that_need_it(registry, tiny_codec, photo, tmp_path):
    path = trained(tiny_codec, tmp_path / "dark.safetensors")
    _, result = untuned(registry, photo, f"adapter.name={path}")
    assert result.notes == (f"decoding needs the adapter's file: --adapter {path}",)
    assert result.report()["adapter"] == Stream.from_bytes(result.stream).header.adapter_fingerprint.hex()

    class Mine:
        @hookimpl
        def register_adapters(self):
            return [AdapterSpec("mine", lambda codec, strength: load_adapter(path, codec))]

    registry.register(Mine(), "mine")
    settings = load_settings(overrides=["codec.name=tiny", "ttft.steps=1", "ttft.send=tuned", "adapter.name=mine"])
    settings = settings.model_copy(update={"adapter": settings.adapter.model_copy(update={"options": {"strength": 2}})})
    result = Compressor(settings, registry, task=TASK).compress(photo)
    assert "streams do not carry adapter.options.strength" in result.notes[0]


def test_a_plain_stream_in_place_of_one_with_the_adapter_is_called_that(run, tiny_codec, picture, tmp_path, capsys):
    """With an adapter that spoils pictures the codec's own stream is sent, and no figure is taken for its own."""
    path = trained(tiny_codec, tmp_path / "bad.safetensors", scale=30.0)
    code, out, _ = run("compress", picture, "--codec", "tiny", "--adapter", path, "--steps", "1")
    assert code == 0
    assert "bpp (untuned, with the adapter: " in out
    assert "sent: plain, the codec without adapter and tuning; 1 step" in out
    assert "note: no tuned file was cheaper" in out
    assert out.count("note") == 1
