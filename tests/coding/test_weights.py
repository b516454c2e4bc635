"""What counts as a weight, with the project's entropy model and with CompressAI's."""

import subprocess
import sys

import pytest
import torch
from torch import nn

from taskodec.coding.bottleneck import EntropyBottleneck
from taskodec.coding.weights import fill, lasting_state
from taskodec.errors import WeightsError


class Cached(nn.Module):
    """A part with a buffer that counts, and one that does not."""

    not_weights = frozenset({"table", "gone"})

    def __init__(self):
        super().__init__()
        self.scale = nn.Parameter(torch.ones(2))
        self.register_buffer("statistics", torch.zeros(2))
        self.register_buffer("table", torch.zeros(5))


def test_a_part_says_what_is_no_weight():
    net = nn.Sequential(Cached(), nn.Linear(2, 2))
    assert lasting_state(net).keys() == {"0.scale", "0.statistics", "1.weight", "1.bias"}
    assert lasting_state(net[0]).keys() == {"scale", "statistics"}
    state = {name: value + 1 for name, value in net.state_dict().items()} | {"0.gone": torch.ones(9)}
    fill(net, {**state, "0.table": torch.ones(3)}, "a file")
    assert torch.equal(net[0].scale, torch.full((2,), 2.0))
    assert torch.equal(net[0].table, torch.zeros(5))
    with pytest.raises(WeightsError, match=r"a file does not fit Sequential: unexpected 1\.gone"):
        fill(net, {**state, "1.gone": torch.ones(1)}, "a file")


def test_runs_from_before_the_own_prior_go_on(tiny_codec):
    """Their checkpoints hold what CompressAI's layer has beside its parameters."""
    state = {name: value + 1 for name, value in tiny_codec.state_dict().items()}
    state |= {f"entropy_bottleneck.{name}": torch.ones(3) for name in EntropyBottleneck.not_weights}
    fill(tiny_codec, state, "checkpoint.pt")
    for name, value in lasting_state(tiny_codec).items():
        assert torch.equal(value, state[name]), name


def test_compressai_is_not_imported_for_it():
    code = (
        "import sys, torch; from taskodec.codecs.lite.loading import load_lite\n"
        "from taskodec.codecs.tic.codec import TIC;"
        "from taskodec.coding.streams import codec_fingerprint\n"
        "codec_fingerprint(load_lite()); codec_fingerprint(TIC(16, 16));"
        "from taskodec.coding.weights import fill, lasting_state\n"
        "codec = TIC(16, 16); fill(codec, lasting_state(codec), 'x');"
        "print([name for name in sys.modules if name.partition('.')[0] == 'compressai'])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


@pytest.mark.compressai
@pytest.mark.parametrize("kind", ["EntropyBottleneck", "EntropyBottleneckVbr", "GaussianConditional"])
def test_caches_of_compressai_are_known(kind):
    """In anybody's codec, before and after CompressAI has made its tables."""
    from compressai import entropy_models

    layer = getattr(entropy_models, kind)
    prior = layer([1.0, 2.0]) if kind == "GaussianConditional" else layer(2)
    net = nn.ModuleDict({"prior": prior, "last": nn.Linear(2, 2)})
    parameters = {name for name, _ in net.named_parameters()}
    assert lasting_state(net).keys() == parameters
    before = {name: value.clone() for name, value in net.state_dict().items()}
    prior.update()
    assert lasting_state(net).keys() == parameters
    fill(net, before, "a file from before")  # of other sizes
