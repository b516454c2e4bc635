import pytest
import torch

from taskodec.adapters.files import load_adapter, save_adapter
from taskodec.adapters.lora import build_lora, build_svd_lora, merged
from taskodec.adapters.modulation import REACH, Modulation, build_modulation
from taskodec.errors import UsageError, WeightsError


@pytest.fixture
def adapter(tiny_codec):
    """One whose modulation does something."""
    made = build_svd_lora(tiny_codec, rank=2, modulation=6)
    torch.manual_seed(1)
    with torch.no_grad():
        made.modulation.last.weight.normal_(std=0.3)
    return made


def test_it_begins_as_the_identity():
    y = torch.randn(2, 8, 5, 7)
    assert torch.equal(Modulation(8, 6)(y), y)


def test_it_sees_as_far_as_it_says():
    torch.manual_seed(0)
    network = Modulation(4, 6)
    torch.nn.init.normal_(network.last.weight)
    y = torch.randn(1, 4, 1, 4 * REACH + 1)
    changed = y.clone()
    changed[..., 2 * REACH] += 1
    differs = (network(y) != network(changed)).any(1)[0, 0].nonzero().flatten()
    assert (int(differs[0]), int(differs[-1])) == (REACH, 3 * REACH)


def test_y_may_be_wider_than_the_network():
    y = torch.randn(1, 4, 3, 3, dtype=torch.float64) + 1e-12
    assert torch.equal(Modulation(4, 6)(y), y)


def test_latents_and_what_is_made_of_them_are_modulated(tiny_codec, adapter, photo):
    before = tiny_codec.analysis(photo, 2.0)
    with adapter.applied(tiny_codec):
        within = tiny_codec.analysis(photo, 2.0)
    after = tiny_codec.analysis(photo, 2.0)
    assert torch.equal(within.y, adapter.modulation(before.y))
    assert not torch.equal(within.y, before.y)
    assert torch.equal(within.z, tiny_codec.h_a(within.y))
    assert torch.equal(after.y, before.y)


def test_attached_and_detached(tiny_codec, adapter, photo):
    before = tiny_codec.analysis(photo, 2.0).y
    adapter.attach(tiny_codec)
    assert torch.equal(tiny_codec.analysis(photo, 2.0).y, adapter.modulation(before))
    with pytest.raises(UsageError, match="has an adapter already"):
        build_svd_lora(tiny_codec).attach(tiny_codec)
    adapter.detach()
    assert torch.equal(tiny_codec.analysis(photo, 2.0).y, before)


def test_decoders_do_not_know_of_it(tiny_codec, adapter):
    plain = build_svd_lora(tiny_codec, rank=2)
    assert adapter.fingerprint() == plain.fingerprint()
    assert not adapter.changes_decoder()
    names = [*adapter.adapter_params("encoder"), *adapter.adapter_params("decoder")]
    assert not any("modulation" in name for name in names)  # trained on a data set, not for one image


def test_merged(tiny_codec, adapter, photo):
    whole = merged(tiny_codec, adapter)
    with adapter.applied(tiny_codec):
        assert torch.equal(whole.analysis(photo, 2.0).y, tiny_codec.analysis(photo, 2.0).y)
    assert torch.equal(merged(whole, build_svd_lora(whole)).analysis(photo, 2.0).y, whole.analysis(photo, 2.0).y)


def test_the_seed_makes_it_and_no_numbers_of_others_are_drawn(tiny_codec):
    state = torch.get_rng_state()
    one, same, other = (build_modulation(tiny_codec, 6, seed)[1].state_dict() for seed in (0, 0, 1))
    assert torch.equal(torch.get_rng_state(), state)
    assert all(torch.equal(one[name], same[name]) for name in one)
    assert not torch.equal(one["first.weight"], other["first.weight"])


def test_files(tiny_codec, adapter, tmp_path, photo):
    save_adapter(tmp_path / "a.safetensors", adapter, {})
    loaded = load_adapter(tmp_path / "a.safetensors", tiny_codec)
    assert loaded.state_dict().keys() == adapter.state_dict().keys()
    y = tiny_codec.analysis(photo, 1.0).y
    assert torch.equal(loaded.modulation(y), adapter.modulation(y))


def test_alone_without_any_layer(tiny_codec, tmp_path):
    adapter = build_lora(tiny_codec, modulation=4, encoder_layers=[], decoder_layers=[])
    save_adapter(tmp_path / "a.safetensors", adapter, {})
    assert load_adapter(tmp_path / "a.safetensors", tiny_codec).modulation is not None


UNFIT = [["coded", 8], ["coded", 8, 0], ["coded", 8, True], ["coded", 8, 10**9], "coded", [1, 8, 6], {}]


@pytest.mark.parametrize("said", UNFIT)
def test_damaged_files(tiny_codec, adapter, tmp_path, said, monkeypatch):
    monkeypatch.setattr("taskodec.adapters.files.asdict", lambda about: {**about.__dict__, "modulation": said})
    save_adapter(tmp_path / "a.safetensors", adapter, {})
    says = "modulation is" if said else "does not fit this adapter"  # nothing said, but there are its tensors
    with pytest.raises(WeightsError, match=says):
        load_adapter(tmp_path / "a.safetensors", tiny_codec)


def test_files_of_other_layers(tiny_codec, adapter, tmp_path):
    save_adapter(tmp_path / "a.safetensors", adapter, {})
    tiny_codec.latents_layer = None
    with pytest.raises(WeightsError, match="modulates after 'coded', but codec 'tiny' has no such layer"):
        load_adapter(tmp_path / "a.safetensors", tiny_codec)


@pytest.mark.parametrize("width", [-1, 2.5, True, 10**9, "6"])
def test_widths_that_are_none(tiny_codec, width):
    with pytest.raises(UsageError, match="number of hidden channels"):
        build_svd_lora(tiny_codec, modulation=width)


def test_codecs_without_the_layer(tiny_codec):
    tiny_codec.latents_layer = None
    with pytest.raises(UsageError, match="no latents_layer"):
        build_svd_lora(tiny_codec, modulation=4)
