import copy

import numpy as np
import pytest
import torch

from taskodec.adapters.lora import build_svd_lora
from taskodec.coding import streams
from taskodec.coding.singular_values import Delta
from taskodec.coding.streams import StreamWriter, codec_fingerprint, quantize_quality, read_latents
from taskodec.contracts import EarlierWeights
from taskodec.errors import MismatchError
from taskodec.stream.bitstream import Stream


@pytest.fixture
def latents(tiny_codec, photo):
    with torch.no_grad():
        return tiny_codec.analysis(photo, 2.0)


def delta_of(adapter, value=3):
    values = np.zeros(sum(adapter.delta_groups), dtype=np.int32)
    values[1] = value
    return Delta(values, 4)


def test_latents_and_delta_come_back(tiny_codec, latents):
    adapter = build_svd_lora(tiny_codec)
    coded = StreamWriter(tiny_codec, adapter, 2.0, (60, 90)).write(latents, delta_of(adapter))
    y_hat, delta = read_latents(Stream.from_bytes(coded.stream), tiny_codec, adapter)
    assert torch.equal(y_hat, coded.y_hat)
    assert delta is not None
    assert np.array_equal(delta.values, delta_of(adapter).values)
    assert delta.step_index == 4
    assert torch.equal(delta.tensor(y_hat), torch.from_numpy(delta.values) * 0.25)


def test_parts_add_up_to_the_file(tiny_codec, latents):
    adapter = build_svd_lora(tiny_codec)
    writer = StreamWriter(tiny_codec, adapter, 2.0, (60, 90))
    plain, tuned = writer.write(latents, None), writer.write(latents, delta_of(adapter))
    for coded in (plain, tuned):
        assert coded.latent_bytes + coded.adapter_bytes + coded.header_bytes == len(coded.stream)
    assert plain.adapter_bytes == 0
    assert tuned.adapter_bytes > 4
    assert len(tuned.stream) - len(plain.stream) == pytest.approx(tuned.adapter_bytes, abs=2)
    assert tuned.latent_bytes == pytest.approx(plain.latent_bytes, abs=2)


def test_a_delta_of_zeros_is_not_sent(tiny_codec, latents):
    adapter = build_svd_lora(tiny_codec)
    writer = StreamWriter(tiny_codec, adapter, 2.0, (60, 90))
    zero = Delta(np.zeros(sum(adapter.delta_groups), dtype=np.int32), 4)
    assert writer.write(latents, zero).stream == writer.write(latents, None).stream


def in_place(codec):
    codec.g_s[0].bias.add_(1e-3)


def by_data(codec):
    codec.g_s[0].bias.data.mul_(1.001)


def other_data(codec):
    codec.g_s[0].bias.data = codec.g_s[0].bias.data + 1e-3


def loaded(codec):
    codec.load_state_dict({name: value + 1e-3 for name, value in codec.state_dict().items()})


def named(codec):
    codec.name = "another"


def replaced(codec):
    codec.g_s[0] = copy.deepcopy(codec.g_s[0]).half()


@pytest.mark.parametrize("change", [in_place, by_data, other_data, loaded, named, replaced])
@torch.no_grad()
def test_the_fingerprint_is_made_once_and_anew_after_any_change(tiny_codec, monkeypatch, change):
    hashed = []
    monkeypatch.setattr(streams, "_hashed", lambda *of, right=streams._hashed: hashed.append(of) or right(*of))
    torch.nn.init.normal_(tiny_codec.g_s[0].bias)
    before = codec_fingerprint(tiny_codec)
    assert codec_fingerprint(tiny_codec) == before
    assert len(hashed) == 1
    change(tiny_codec)
    after = codec_fingerprint(tiny_codec)
    assert len(hashed) == 2
    assert after != before
    assert after == codec_fingerprint(copy.deepcopy(tiny_codec))


def test_other_weights_are_refused(tiny_codec, latents):
    stream = Stream.from_bytes(StreamWriter(tiny_codec, None, 2.0, (64, 96)).write(latents, None).stream)
    with torch.no_grad():
        tiny_codec.g_s[0].bias += 1e-3
    with pytest.raises(MismatchError, match=r"codec\.checkpoint"):
        read_latents(stream, tiny_codec, None)


def test_earlier_weights_are_named_with_the_files_to_give(tiny_codec, tiny_decompressor, latents):
    adapter = build_svd_lora(tiny_codec)
    for branch in adapter.branches("decoder").values():
        branch.w_lora_S.data.fill_(0.3)
    plain, tuned = (StreamWriter(tiny_codec, one, 2.0, (64, 96)).write(latents, None).stream for one in (None, adapter))
    adapters = {adapter.fingerprint().hex(): "old/cls.safetensors"}
    own = EarlierWeights("version 1 of tiny's weights", "old/tiny.safetensors", adapters, "of the archive")
    tiny_codec.earlier = {codec_fingerprint(tiny_codec).hex(): own}
    assert tiny_decompressor.decompress(plain).size == (96, 64)
    with pytest.raises(MismatchError, match=r"give its file, old/cls\.safetensors, with --adapter"):
        tiny_decompressor.decompress(tuned)
    with torch.no_grad():
        tiny_codec.g_s[0].bias += 1e-3
    said = r"written with version 1 of tiny's weights \([0-9a-f]{8}\), the ones here are .*"
    with pytest.raises(MismatchError, match=said + r"codec\.checkpoint=old/tiny\.safetensors`, of the archive"):
        tiny_decompressor.decompress(plain)
    with pytest.raises(MismatchError, match=said + r"=old/tiny\.safetensors --adapter old/cls\.safetensors`"):
        tiny_decompressor.decompress(tuned)
    tiny_codec.earlier = {}
    with pytest.raises(MismatchError, match=r"made with weights .*codec\.checkpoint=FILE"):
        tiny_decompressor.decompress(tuned)


def test_other_scale_indexes_are_an_error_and_no_picture(tiny_codec, latents, monkeypatch):
    stream = Stream.from_bytes(StreamWriter(tiny_codec, None, 2.0, (64, 96)).write(latents, None).stream)
    right = type(tiny_codec).scales_and_means
    monkeypatch.setattr(
        type(tiny_codec), "scales_and_means", lambda self, z: (right(self, z)[0] * 1.2, right(self, z)[1])
    )
    with pytest.raises(MismatchError, match="computes codec 'tiny' differently"):
        read_latents(stream, tiny_codec, None)


def test_fingerprint_sees_every_weight(tiny_codec):
    before = codec_fingerprint(tiny_codec)
    assert len(before) == 4
    assert codec_fingerprint(tiny_codec) == before
    with torch.no_grad():
        tiny_codec.entropy_bottleneck.quantiles[0, 0, 0] -= 1
    assert codec_fingerprint(tiny_codec) != before


def test_fingerprint_sees_buffers_but_no_caches(tiny_codec):
    before = codec_fingerprint(tiny_codec)
    tiny_codec.register_buffer("scratch", torch.ones(3), persistent=False)
    assert codec_fingerprint(tiny_codec) == before
    tiny_codec.register_buffer("statistics", torch.ones(3))
    with_buffer = codec_fingerprint(tiny_codec)
    assert with_buffer != before
    tiny_codec.statistics[1] += 1e-6
    assert codec_fingerprint(tiny_codec) != with_buffer


def test_fingerprint_sees_whole_numbers(tiny_codec):
    tiny_codec.register_buffer("count", torch.tensor(2**40))
    before = codec_fingerprint(tiny_codec)
    tiny_codec.count += 1
    assert codec_fingerprint(tiny_codec) != before


@pytest.mark.parametrize(("asked", "sent"), [(3, 3), (2.53, 2.5), (2.54, 2.5625), (1.0, 1.0)])
def test_quality_is_what_a_header_can_say(asked, sent):
    assert quantize_quality(asked) == sent
