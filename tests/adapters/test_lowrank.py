from __future__ import annotations

import hashlib

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from taskodec.adapters.lowrank import LowRank, make_branch, seeded_uniform
from taskodec.errors import UsageError

LAYERS = {
    "linear": (lambda: nn.Linear(6, 5), (2, 3, 6)),
    "conv 1x1": (lambda: nn.Conv2d(4, 3, 1), (2, 4, 5, 7)),
    "conv strided": (lambda: nn.Conv2d(3, 8, 5, stride=2, padding=2), (2, 3, 9, 8)),
    "conv oblong": (lambda: nn.Conv2d(3, 4, (3, 1), stride=(2, 1), padding=(0, 2), dilation=(2, 1)), (1, 3, 9, 8)),
    "conv same": (lambda: nn.Conv2d(3, 4, 3, padding="same", bias=False), (1, 3, 6, 5)),
    "conv reflect": (lambda: nn.Conv2d(3, 4, 3, padding=1, padding_mode="reflect"), (1, 3, 6, 5)),
    "deconv": (lambda: nn.ConvTranspose2d(4, 3, 5, stride=2, padding=2, output_padding=1), (2, 4, 4, 3)),
    "deconv oblong": (
        lambda: nn.ConvTranspose2d(4, 6, (2, 3), stride=(3, 2), padding=(0, 1), output_padding=(1, 0), dilation=(1, 2)),
        (1, 4, 4, 3),
    ),
}


def filled(layer: nn.Module, rank: int = 2, singular: bool = True) -> LowRank:
    """A branch whose factors are all random."""
    branch = make_branch("layer", layer, rank, 0, singular=singular)
    with torch.no_grad():
        for parameter in branch.parameters():
            parameter.normal_(0, 0.3)
    return branch


@pytest.mark.parametrize("singular", [True, False])
@pytest.mark.parametrize("kind", LAYERS)
def test_branch_equals_updated_weight(kind: str, singular: bool) -> None:
    torch.manual_seed(0)
    make, shape = LAYERS[kind]
    layer = make()
    branch = filled(layer, singular=singular)
    x = torch.randn(shape)
    with torch.no_grad():
        beside = layer(x) + branch(layer, x, branch.factors(branch.w_lora_S), 0.7)
        plain = layer(x)
        layer.weight += branch.update(branch.w_lora_S, 0.7)
        torch.testing.assert_close(beside, layer(x), rtol=1e-5, atol=1e-5)
        assert (plain - beside).abs().max() > 1e-3


def test_update_is_u_s_v_transposed() -> None:
    torch.manual_seed(0)
    branch = filled(nn.Linear(6, 5))
    expected = branch.w_lora_U @ torch.diag(branch.w_lora_S) @ branch.w_lora_V.T
    torch.testing.assert_close(branch.update(branch.w_lora_S, 2.0), 2.0 * expected)


@pytest.mark.parametrize(
    ("layer", "u", "v"),
    [
        (nn.Linear(6, 5), (5, 4), (6, 4)),
        (nn.Conv2d(7, 5, 3), (5, 4), (4, 7, 3, 3)),
        (nn.ConvTranspose2d(7, 5, 3), (4, 5, 3, 3), (7, 4)),
        (nn.Linear(6, 3), (3, 3), (6, 3)),
        (nn.Conv2d(3, 9, 1), (9, 3), (3, 3, 1, 1)),
        (nn.Conv2d(3, 9, 5), (9, 4), (4, 3, 5, 5)),
        (nn.ConvTranspose2d(2, 9, 5), (2, 9, 5, 5), (2, 2)),
    ],
)
def test_shapes_and_clipped_rank(layer: nn.Module, u: tuple[int, ...], v: tuple[int, ...]) -> None:
    branch = make_branch("layer", layer, 4, 0, singular=True)
    assert branch.w_lora_U.shape == u
    assert branch.w_lora_V.shape == v
    assert branch.w_lora_S.tolist() == [0.0] * branch.rank
    assert branch.rank == min(4, u[1] if len(u) == 2 else u[0])


class Own(nn.Linear):
    def forward(self, input: Tensor) -> Tensor:
        return super().forward(input).relu()


@pytest.mark.parametrize(
    ("layer", "said"),
    [
        (nn.Conv2d(4, 4, 3, groups=2), "groups=2"),
        (nn.ConvTranspose2d(4, 4, 3, groups=4), "groups=4"),
        (nn.LayerNorm(4), "LayerNorm"),
        (nn.Conv1d(4, 4, 3), "Conv1d"),
        (Own(4, 4), "a way of its own"),
    ],
)
def test_layers_without_a_branch_are_named(layer: nn.Module, said: str) -> None:
    with pytest.raises(UsageError, match=r"'g_a\.3'.*" + said):
        make_branch("g_a.3", layer, 4, 0, singular=True)


def test_seeded_values_never_change() -> None:
    """Decoders rebuild U and V from the seed: these bytes are part of the format."""
    values = seeded_uniform((384, 4), 0, "g_s0.blocks.0.attn.qkv:U").numpy().astype("<f4").tobytes()
    assert hashlib.sha256(values).hexdigest() == "6459e275bda6d3b9bc7dab638ea55087c5744dc999c3447e2fe18d205ab29b36"


def test_seeded_values_follow_the_definition() -> None:
    values = seeded_uniform((2, 3), 7, "layer:V").flatten().tolist()
    digest = hashlib.shake_256(b"7:layer:V").digest(24)
    for i, value in enumerate(values):
        n = int.from_bytes(digest[4 * i : 4 * i + 4], "little") >> 8
        assert value == np.float32((2 * n + 1 - 2**24) / 2**24 * (1 / np.sqrt(np.float64(3))))


def test_seeded_values_are_uniform_within_the_bound() -> None:
    values = seeded_uniform((100, 25), 1, "x")
    assert 0.195 < values.abs().max() < 0.2  # 1 / sqrt(25)
    assert abs(float(values.mean())) < 0.01
    assert float(values.std()) == pytest.approx(0.2 / 3**0.5, rel=0.05)


def test_seed_layer_and_factor_all_matter() -> None:
    def draw(seed: int, name: str) -> tuple[Tensor, Tensor]:
        branch = make_branch(name, nn.Linear(4, 4), 4, seed, singular=True)
        return branch.w_lora_U.detach(), branch.w_lora_V.detach()

    u, v = draw(0, "a")
    assert torch.equal(draw(0, "a")[0], u)
    for other in (v, draw(1, "a")[0], draw(0, "b")[0]):
        assert not torch.equal(other, u)
