"""An open-set task: keep the edges where they are, and nothing else.

taskodec compress PHOTO.jpg --task docs/examples/edges.py:loss --quality 2
"""

import torch
from torch import Tensor
from torch.nn import functional as F

from taskodec.contracts import Findings

SOBEL = torch.tensor([[-1.0, 0.0, 1.0], [-2.0, 0.0, 2.0], [-1.0, 0.0, 1.0]]) / 4
FILTERS = torch.stack([SOBEL, SOBEL.T])[:, None]  # (2, 1, 3, 3): across and down
CONTRAST = 0.1
"""The change of brightness per two pixels that is half an edge."""


def loss(x_hat: Tensor, x: Tensor) -> Tensor:
    """How far the edge maps are apart; images are (1, 3, H, W) in [0, 1]."""
    return F.mse_loss(edges(x_hat), edges(x))


def edges(x: Tensor) -> Tensor:
    """(B, 3, H, W) to (B, H, W): from 0 where the picture is flat to 1 on a strong edge."""
    grey = F.pad(x.mean(1, keepdim=True), (1, 1, 1, 1), mode="replicate")
    strength = F.conv2d(grey, FILTERS.to(x)).square().sum(1)
    return strength / (strength + CONTRAST**2)


def findings(x: Tensor) -> Findings:
    """What `taskodec report` draws: the edge map of a picture (1, 3, H, W)."""
    return Findings(heat=edges(x)[0], heat_name="strength of the edge")


loss.findings = findings
