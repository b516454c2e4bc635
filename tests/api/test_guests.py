"""What a guest raises, through a compressor."""

import copy

import pytest
import torch

from taskodec.api.compressor import Compressor
from taskodec.api.decompressor import Decompressor
from taskodec.errors import MismatchError, PluginError
from taskodec.hooks.specs import CodecSpec
from taskodec.settings.model import load_settings


def test_a_codec_from_inference_mode_can_be_tuned(make_compressor, tiny_codec, pieces):
    with torch.inference_mode():
        made = copy.deepcopy(tiny_codec)
    assert make_compressor(codec=made).compress(pieces[0]).stream == make_compressor().compress(pieces[0]).stream


class Stop(BaseException):
    """No error of Python's, and none of ours."""


@pytest.mark.parametrize("error", [SystemExit(0), GeneratorExit(), Stop("now"), ValueError("no")])
def test_whatever_a_callback_raises_comes_back_as_it_is(make_compressor, pieces, error):
    def stop(*_):
        raise error

    compressor = make_compressor()
    before = compressor.compress(pieces[0]).stream
    with pytest.raises(type(error)) as caught:
        compressor.compress(pieces[0], stop)
    assert caught.value is error
    assert compressor.compress(pieces[0]).stream == before


@pytest.mark.parametrize("error", [SystemExit(0), GeneratorExit(), Stop("now")])
@pytest.mark.parametrize("where", ["analysis", "synthesis", "decode", "load"])
def test_what_a_codec_raises_to_end_the_program_is_an_error_of_its(tiny_registry, tiny_codec, pieces, error, where):
    def stop(*args, **options):
        raise error

    settings = load_settings(overrides=["codec=tiny", "ttft.steps=0"])
    stream = Compressor(settings, tiny_registry).compress(pieces[0]).stream
    if where == "load":
        tiny_registry.codecs._entries["tiny"] = (CodecSpec("tiny", stop), "tests")
        with pytest.raises(PluginError, match=rf"codec 'tiny': its loader raised {type(error).__name__}"):
            Compressor(settings, tiny_registry)
        with pytest.raises(MismatchError, match=rf"its loader raised {type(error).__name__}"):
            Decompressor(settings, tiny_registry).decompress(stream)
        return
    setattr(tiny_codec, where, stop)
    if where != "decode":
        with pytest.raises(PluginError, match=rf"codec 'tiny'.* {type(error).__name__}"):
            Compressor(settings, tiny_registry).compress(pieces[0])
    if where != "analysis":
        with pytest.raises(MismatchError, match=rf"codec 'tiny'.* {type(error).__name__}"):
            Decompressor(settings, tiny_registry).decompress(stream)
