import pytest
import torch

from taskodec.adapters.lora import attached
from taskodec.adapters.shipped import shipped_adapter
from taskodec.api.adapter_choice import choose_adapter
from taskodec.codecs.lite.loading import load_lite
from taskodec.errors import WeightsError
from taskodec.hooks.registry import Registry
from taskodec.settings.model import AdapterSettings, load_settings


@pytest.fixture(scope="module")
def lite():
    return load_lite(quality=3.0).eval()


@pytest.fixture(scope="module")
def registry():
    registry = Registry()
    registry.load_builtins()
    return registry


@pytest.mark.parametrize(("task", "options"), [("cls", ""), ("det", ""), ("human", "metric=ms-ssim")])
def test_what_plugins_ship_is_chosen_and_fits_the_codec(lite, registry, task, options):
    overrides = [f"task.options.{option}" for option in options.split()]
    options = load_settings(flags={"task.name": task}, overrides=overrides).task.options
    chosen, notes = choose_adapter(registry, AdapterSettings(), lite, task, options)
    assert (chosen.name, notes) == (f"lite-{task}", ())
    adapter = registry.adapters[chosen.name].build(lite)
    assert adapter.changes_decoder()
    y_hat = torch.randn(1, lite.analysis(torch.zeros(1, 3, 64, 64), 3.0).y.shape[1], 4, 4)
    with torch.no_grad():
        plain = lite.synthesis(y_hat, 3.0)
        with attached(adapter, lite):
            assert not torch.equal(lite.synthesis(y_hat, 3.0), plain)


@pytest.mark.parametrize(
    "task", ["cls,det", "det,cls", "cls,det,semseg,human", "human,semseg", "semseg", "seg", "det,seg"]
)
def test_several_tasks_and_those_without_one_of_their_own_get_the_adapter_for_all(lite, registry, task):
    overrides = ["task.options.human.metric=ms-ssim"] if "human" in task else []
    options = load_settings(flags={"task.name": task}, overrides=overrides).task.options
    chosen, notes = choose_adapter(registry, AdapterSettings(), lite, task, options)
    assert (chosen.name, notes) == ("lite-machine", ())
    assert registry.adapters[chosen.name].build(lite).changes_decoder()


@pytest.mark.parametrize(
    ("task", "options"), [("cls", {"loss": "features"}), ("human", {}), ("human", {"metric": "mse"})]
)
def test_other_losses_do_not_get_an_adapter_that_was_trained_for_one(lite, registry, task, options):
    assert choose_adapter(registry, AdapterSettings(), lite, task, options)[0].name == "svd-lora"


def test_another_codec_and_a_missing_file_are_refused(tiny_codec):
    with pytest.raises(WeightsError, match="made for codec 'lite'"):
        shipped_adapter("taskodec.plugins", "weights/lite-cls.safetensors")(tiny_codec)
    with pytest.raises(WeightsError, match="cannot be read as an adapter file"):
        shipped_adapter("taskodec.plugins", "weights/none.safetensors")(tiny_codec)
