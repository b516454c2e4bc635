"""The light table of CompressAI's weights is CompressAI's own, and the paper's adapters are found in their archives."""

import zipfile
from dataclasses import replace

import pytest
import torch

from taskodec.api.adapter_choice import choose_adapter
from taskodec.codecs import zoo
from taskodec.codecs.tic.codec import TIC, load_tic
from taskodec.codecs.zoo import COMPRESSAI, compressai_name
from taskodec.errors import WeightsError
from taskodec.hooks.registry import Registry
from taskodec.hooks.specs import resolve
from taskodec.settings.model import AdapterSettings

PAPER_OPTIONS = {"network": "resnet50", "loss": "features"}


@pytest.mark.compressai
def test_compressais_files_are_its_own():
    from compressai.zoo import image, image_vbr

    theirs = {
        compressai_name(name, metric, quality): url
        for name, metrics in image.model_urls.items()
        for metric, urls in metrics.items()
        for quality, url in urls.items()
    }
    theirs |= {compressai_name(name, "mse", None): urls["mse"] for name, urls in image_vbr.model_urls.items()}
    assert {name: file.url for name, file in COMPRESSAI.items()} == theirs
    for file in COMPRESSAI.values():
        assert file.url.endswith(f"-{file.sha256}.pth.tar")


def reference_checkpoint(codec, value):
    """A checkpoint of the reference's: the codec's weights by its names, and SVD-LoRA of rank 4."""
    layers = {**{n: layer for side in ("encoder", "decoder") for n, layer in codec.adapter_layers(side).items()}}
    state = dict(codec.state_dict())
    for name, layer in layers.items():
        if name.endswith((".qkv", ".proj")):
            state |= {
                f"{name}.w_lora_U": torch.full((layer.out_features, 4), value),
                f"{name}.w_lora_S": torch.full((4,), value),
                f"{name}.w_lora_V": torch.full((layer.in_features, 4), value),
            }
    return {"state_dict": {f"module.{name}": tensor for name, tensor in state.items()}, "epoch": 3}


@pytest.fixture(scope="module")
def base():
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(1)
        return TIC(quality=2).eval()


@pytest.fixture
def cache(monkeypatch, tmp_path):
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    folder = tmp_path / "hub" / "checkpoints"
    folder.mkdir(parents=True)
    return folder


@pytest.fixture
def archive(base, cache):
    path = cache / zoo.TIC_ADAPTERS["cls"].file
    torch.save(reference_checkpoint(base, 0.25), cache / "two.pth")
    with zipfile.ZipFile(path, "w") as file:
        file.writestr("cls/1/checkpoint_best_loss.pth.tar", b"another")
        file.write(cache / "two.pth", "cls/2/checkpoint_best_loss.pth.tar")
    return path


@pytest.fixture
def known():
    found = Registry()
    found.load_builtins()
    return found


def test_base_codecs_are_found_by_quality(base, cache, monkeypatch):
    torch.save({"state_dict": base.state_dict()}, cache / "base_codec_2.pth.tar")
    assert torch.equal(load_tic(2, pretrained=True).g_a[0].weight, base.g_a[0].weight)
    assert zoo.TIC[2].state() == "verified"
    with pytest.raises(WeightsError, match=r"no published weights of quality 5; valid: 1 to 4"):
        load_tic(5, pretrained=True)
    monkeypatch.setenv("TASKODEC_OFFLINE", "1")
    with pytest.raises(WeightsError, match=r"put the file base_codec_3\.pth\.tar into .*codec\.checkpoint=FILE"):
        load_tic(3, pretrained=True)


def test_the_papers_adapter_is_chosen_once_it_is_here(base, archive, known):
    chosen, notes = choose_adapter(known, AdapterSettings(), base, "cls", PAPER_OPTIONS)
    assert (chosen.name, notes) == ("tic-cls", ())
    adapter = known.adapters["tic-cls"].build(base)
    assert (adapter.rank, adapter.alpha, len(adapter.delta_groups)) == (4, 8.0, 28)
    assert all(bool((p == 0.25).all()) for p in adapter.parameters())


def test_the_adapter_for_the_eye_is_chosen_for_mean_square_error_alone(base, archive, known):
    archive.rename(archive.with_name(zoo.TIC_ADAPTERS["human"].file))
    chosen = {
        metric: choose_adapter(known, AdapterSettings(), base, "human", {"metric": metric})
        for metric in ("mse", "ms-ssim")
    }
    assert chosen["mse"][0].name == "tic-human"
    assert chosen["ms-ssim"][0].name == "svd-lora"


def test_without_it_a_note_says_how_to_get_it(base, cache, known):
    chosen, notes = choose_adapter(known, AdapterSettings(), base, "cls", PAPER_OPTIONS)
    assert chosen.name == "svd-lora"
    assert "`taskodec models fetch tic-cls` downloads it" in notes[0]
    assert choose_adapter(known, AdapterSettings(), base, "cls", {"network": "resnet18"})[1] == ()


def test_an_adapter_of_other_weights_is_refused(archive, known):
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(2)
        other = TIC(quality=2).eval()
    with pytest.raises(WeightsError, match="trained on other weights of codec 'tic'"):
        known.adapters["tic-cls"].build(other)


def test_an_archive_without_the_quality_says_what_it_holds(base, archive, known):
    base = replace_quality(base, 3)
    with pytest.raises(WeightsError, match=r"has 0 files 3/checkpoint_best_loss\.pth\.tar, .*cls/2/checkpoint"):
        known.adapters["tic-cls"].build(base)


def replace_quality(codec, quality):
    other = TIC(quality=quality)
    other.load_state_dict(codec.state_dict())
    return other.eval()


def test_checkpoints_of_the_reference_are_adapters_by_path(base, tmp_path, known):
    torch.save(reference_checkpoint(base, 0.5), tmp_path / "cls_2.pth.tar")
    build = resolve(known.adapters["tic-checkpoint"].build)
    adapter = build(base, checkpoint=tmp_path / "cls_{quality}.pth.tar")
    assert all(bool((p == 0.5).all()) for p in adapter.parameters())


def test_every_file_of_a_codec_says_what_it_is_for_and_its_licence():
    for file in zoo.WEIGHTS:
        assert file.description.startswith(("codec", "adapter")), file.name
        assert file.licence, file.name
        assert replace(file, sha256="").state() in ("missing", "here", "verified")
