"""An open-set task: the faces in a picture (MTCNN, Zhang et al. 2016, arXiv:1604.02878).

pip install --no-deps facenet-pytorch   # 2 MB of weights, MIT licence; never imported, and it asks for an old torch
taskodec compress PHOTO.jpg --task docs/examples/faces.py:Faces --quality 2

Nobody's labels are needed: what counts is what the network sees in the original picture.
"""

import importlib.util
import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torchvision.ops import box_iou, nms, roi_align

import taskodec
from taskodec.coding.weights import fill
from taskodec.contracts import Findings, Found
from taskodec.errors import WeightsError
from taskodec.tasks.agreement import AgreementEvaluator, Counts, binary_divergence, match

CELL, STRIDE, SMALLEST = 12, 2, 20
"""P-Net looks at 12 pixels, every 2 pixels of a reduced picture; the smallest face has 20."""
STEP = 0.709
"""From one reduction of the picture to the next: half the area."""
THRESHOLDS = (0.6, 0.7, 0.7)
"""Least probabilities of P-Net, R-Net and O-Net, facenet-pytorch's own."""
CROPS = (24, 48)
"""Pixels a side of what R-Net and O-Net look at."""
MOST = 500
"""Candidates that are looked at more closely."""


@taskodec.hookimpl
def register_tasks() -> list[taskodec.TaskSpec]:
    """Makes `--plugin docs/examples/faces.py --task faces` work, and `pretrain` for it."""
    return [taskodec.TaskSpec("faces", Faces, "faces as MTCNN sees them; weights: PyPI facenet-pytorch")]


class Look(NamedTuple):
    """What one network says of N places: logits (N,) of there being a face, and where, (N, 4) in sides of the place."""

    logits: Tensor
    boxes: Tensor


@dataclass(frozen=True)
class Reference:
    """What is kept of the original: all looks at it, and the places (N, 4) that R-Net and O-Net looked at."""

    looks: Sequence[Look]
    places: Sequence[Tensor]


class Faces(taskodec.Task):
    """MTCNN must see in the decoded picture the faces that it sees in the original.

    P-Net looks at the whole picture in several sizes, R-Net and O-Net at the places where the one before found a face
    in the original. The loss is the Kullback-Leibler divergence of the probabilities, in nats, plus the mean square
    error of the boxes where the original has a face; the mean over P-Net's sizes, plus that of the other networks.
    """

    name = "faces"

    def __init__(self, weights: str | None = None, network: "MTCNN | None" = None) -> None:
        """`weights` is a folder with pnet.pt, rnet.pt and onet.pt in place of the package's."""
        self.network = network or load_mtcnn(Path(weights) if weights else package_folder())
        self.network.eval().requires_grad_(False)

    @torch.no_grad()
    def prepare(self, x: Tensor) -> Reference:
        looks, places, _ = self.network.search(at_least(x, SMALLEST))
        return Reference(looks, places)

    def loss(self, x_hat: Tensor, reference: Reference) -> Tensor:
        looks = self.network.looks(at_least(x_hat, SMALLEST), reference.places)
        errors = [distance(*pair) for pair in zip(looks, reference.looks, strict=True)]
        sizes = len(errors) - len(reference.places)
        return torch.stack(errors[:sizes]).mean() + sum(errors[sizes:])

    @torch.no_grad()
    def count(self, x_hat: Tensor, x: Tensor) -> Counts:
        """Faces in both pictures (their boxes share half of their area), in the decoded one, and in the original."""
        found, wanted = (self.network.search(at_least(image, SMALLEST))[2] for image in (x_hat.clamp(0, 1), x))
        return Counts(match(box_iou(found, wanted)), len(found), len(wanted))

    def metrics(self, x_hat: Tensor, x: Tensor) -> dict[str, float]:
        return {"face_f1": self.count(x_hat, x).f1}

    @torch.no_grad()
    def findings(self, x: Tensor) -> Findings:
        """The faces, for `taskodec report`."""
        boxes = self.network.search(at_least(x.clamp(0, 1), SMALLEST))[2]
        return Findings([Found("face", box=box) for box in boxes.tolist()])

    def evaluator(self, labels: Path | None = None) -> AgreementEvaluator:
        return AgreementEvaluator(self.count, labels)

    def to(self, device: torch.device) -> "Faces":
        self.network.to(device)
        return self


def distance(found: Look, wanted: Look) -> Tensor:
    """How far one look is from another; zero if there is nothing to look at."""
    if not len(wanted.logits):
        return found.logits.sum()
    misplaced = (found.boxes - wanted.boxes).square().mean(1) * wanted.logits.sigmoid()
    return binary_divergence(found.logits, wanted.logits) + misplaced.mean()


class MTCNN(nn.Module):
    """The three networks, and the search for faces that they share."""

    def __init__(self) -> None:
        super().__init__()
        pool, convolution, prelu = nn.MaxPool2d, nn.Conv2d, nn.PReLU
        self.pnet = Stage(
            *(convolution(3, 10, 3), prelu(10), pool(2, 2, ceil_mode=True), convolution(10, 16, 3), prelu(16)),
            *(convolution(16, 32, 3), prelu(32)),
            heads=[convolution(32, 2, 1), convolution(32, 4, 1)],
        )
        self.rnet = Stage(
            *(convolution(3, 28, 3), prelu(28), pool(3, 2, ceil_mode=True), convolution(28, 48, 3), prelu(48)),
            *(pool(3, 2, ceil_mode=True), convolution(48, 64, 2), prelu(64)),
            *(Columns(), nn.Linear(576, 128), prelu(128)),
            heads=[nn.Linear(128, 2), nn.Linear(128, 4)],
        )
        self.onet = Stage(
            *(convolution(3, 32, 3), prelu(32), pool(3, 2, ceil_mode=True), convolution(32, 64, 3), prelu(64)),
            *(pool(3, 2, ceil_mode=True), convolution(64, 64, 3), prelu(64), pool(2, 2, ceil_mode=True)),
            *(convolution(64, 128, 2), prelu(128), Columns(), nn.Linear(1152, 256), prelu(256)),
            heads=[nn.Linear(256, 2), nn.Linear(256, 4), nn.Linear(256, 10)],
        )

    def looks(self, x: Tensor, places: Sequence[Tensor]) -> list[Look]:
        """P-Net's look at each size of (1, 3, H, W), then R-Net's and O-Net's at the given places."""
        closer = zip((self.rnet, self.onet), places, CROPS, strict=True)
        return [*(self._scan(x, scale) for scale in scales(x)), *(self._inspect(x, *rest) for rest in closer)]

    def search(self, x: Tensor) -> tuple[list[Look], list[Tensor], Tensor]:
        """All looks, the places that R-Net and O-Net looked at, and the faces (N, 4) as x1, y1, x2, y2 in pixels."""
        looks, near = [], []
        for scale in scales(x):
            looks.append(self._scan(x, scale))
            near.append(candidates(looks[-1], cells(x, scale), THRESHOLDS[0], 0.5))
        boxes, scores = (torch.cat(parts) for parts in zip(*near, strict=True))
        kept = nms(boxes, scores, 0.7)[:MOST]
        places = [squares(boxes[kept])]
        looks.append(self._inspect(x, self.rnet, places[0], CROPS[0]))
        places.append(squares(candidates(looks[-1], places[0], THRESHOLDS[1], 0.7)[0]))
        looks.append(self._inspect(x, self.onet, places[1], CROPS[1]))
        return looks, places, candidates(looks[-1], places[1], THRESHOLDS[2], 0.4)[0]

    def _scan(self, x: Tensor, scale: float) -> Look:
        size = [int(side * scale + 1) for side in x.shape[-2:]]
        logits, boxes = self.pnet(F.interpolate(x, size, mode="area") * 2 - 1)
        return Look(logits.flatten(), boxes.flatten(2)[0].T)  # (1, h, w) to (N,), (1, 4, h, w) to (N, 4)

    def _inspect(self, x: Tensor, network: "Stage", places: Tensor, side: int) -> Look:
        return Look(*network(roi_align(x * 2 - 1, [places], side, aligned=True)))


class Stage(nn.Module):
    """One of the networks. Its parts are in the order in which facenet-pytorch's files list them."""

    def __init__(self, *layers: nn.Module, heads: Sequence[nn.Module]) -> None:
        super().__init__()
        self.trunk = nn.Sequential(*layers)
        self.heads = nn.ModuleList(heads)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """RGB (N, 3, h, w) in [-1, 1] to logits (N, ...) and boxes (N, 4, ...)."""
        x = self.trunk(x)
        scores = self.heads[0](x)
        return scores[:, 1] - scores[:, 0], self.heads[1](x)


class Columns(nn.Module):
    """(N, C, h, w) to (N, w * h * C), the order in which the dense layers were trained."""

    def forward(self, x: Tensor) -> Tensor:
        return x.permute(0, 3, 2, 1).flatten(1)


def scales(x: Tensor) -> list[float]:
    """The reductions at which P-Net looks at a picture, until a cell has all of its shorter side."""
    first = CELL / SMALLEST
    count = 1 + int(math.log(CELL / (min(x.shape[-2:]) * first)) / math.log(STEP))
    return [first * STEP**i for i in range(count)]


def cells(x: Tensor, scale: float) -> Tensor:
    """The places (N, 4) in pixels that P-Net's outputs at this scale stand for, row by row."""
    rows, columns = ((int(side * scale + 1) - 2) for side in x.shape[-2:])
    rows, columns = (-(-side // STRIDE) - 4 for side in (rows, columns))
    y, x1 = torch.meshgrid(torch.arange(rows), torch.arange(columns), indexing="ij")
    corner = torch.stack([x1, y], -1).reshape(-1, 2) * STRIDE  # (rows, columns, 2) to (N, 2)
    return (torch.cat([corner, corner + CELL], 1) / scale).to(x)


def candidates(look: Look, places: Tensor, threshold: float, overlap: float) -> tuple[Tensor, Tensor]:
    """Boxes (N, 4) and probabilities (N,) of the likely faces, best first, each a box of its own."""
    likely = look.logits.sigmoid() >= threshold
    places, moves, scores = places[likely], look.boxes[likely], look.logits[likely].sigmoid()
    boxes = places + moves * (places[:, 2:] - places[:, :2]).repeat(1, 2)
    kept = nms(boxes, scores, overlap)
    return boxes[kept], scores[kept]


def squares(boxes: Tensor) -> Tensor:
    """(N, 4) boxes made square about their centres, by the longer side."""
    centres, sides = (boxes[:, :2] + boxes[:, 2:]) / 2, (boxes[:, 2:] - boxes[:, :2]).amax(1, keepdim=True)
    return torch.cat([centres - sides / 2, centres + sides / 2], 1)


def at_least(x: Tensor, side: int) -> Tensor:
    """A picture (1, 3, H, W) continued at its right and bottom edges to this many pixels a side."""
    missing = (0, max(0, side - x.shape[-1]), 0, max(0, side - x.shape[-2]))
    return F.pad(x, missing, mode="replicate") if any(missing) else x


def load_mtcnn(folder: Path) -> MTCNN:
    """MTCNN with the weights in a folder; WeightsError if they cannot be had."""
    network = MTCNN()
    for stage, file in ((network.pnet, "pnet.pt"), (network.rnet, "rnet.pt"), (network.onet, "onet.pt")):
        try:
            state = torch.load(folder / file, map_location="cpu", weights_only=True)
            named = dict(zip(stage.state_dict(), state.values(), strict=True))
        except Exception as error:  # unpickling raises nearly anything
            raise WeightsError(f"{folder / file} cannot be read as weights of MTCNN: {error}") from error
        fill(stage, named, str(folder / file))
    return network


def package_folder() -> Path:
    """The weights in the package facenet-pytorch, which is not imported: it asks for an old torch."""
    found = importlib.util.find_spec("facenet_pytorch")
    if found is None or not found.submodule_search_locations:
        raise WeightsError(
            "the weights of MTCNN come with a package that is not installed: pip install --no-deps facenet-pytorch; "
            "or name a folder with pnet.pt, rnet.pt and onet.pt with task.options.weights=PATH"
        )
    return Path(found.submodule_search_locations[0]) / "data"
