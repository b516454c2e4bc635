"""`human`: pictures for the eye, judged by mean square error or MS-SSIM."""

from __future__ import annotations

import torch
from pytorch_msssim import ms_ssim
from torch import Tensor
from torch.nn import functional as F

from taskodec.contracts import Codec, Task
from taskodec.errors import UsageError
from taskodec.metrics import psnr
from taskodec.tasks.tradeoff import weight_at

__all__ = ["METRICS", "Human", "ms_ssim_loss"]

METRICS = ("mse", "ms-ssim")

MS_SSIM_WEIGHTS = {
    0.0018: 2.40,
    0.0035: 4.58,
    0.0067: 8.73,
    0.0130: 16.64,
    0.0250: 31.73,
    0.0483: 60.50,
    0.0932: 115.37,
    0.1800: 220.00,
}
"""Trade-offs of CompressAI's qualities 1 to 8 trained for MSE, and for MS-SSIM."""

MIN_SIDE = 33
"""Four halvings must leave more than the smallest window, of three pixels."""


class Human(Task):
    """Fidelity to the original.

    `metric` is `mse`, in units of [0, 1], or `ms-ssim`, as 1 - MS-SSIM. With `mse` the cost is exactly what
    codecs are trained for, `lmbda * 255**2 * mse + bpp`.
    """

    name = "human"

    def __init__(self, metric: str = "mse") -> None:
        if metric not in METRICS:
            raise UsageError(f"task 'human' has no metric {metric!r}; valid: {', '.join(METRICS)}")
        self.metric = metric

    def prepare(self, x: Tensor) -> Tensor:
        return x.detach()

    def loss(self, x_hat: Tensor, reference: Tensor) -> Tensor:
        if self.metric == "mse":
            return F.mse_loss(x_hat, reference)
        return ms_ssim_loss(x_hat, reference)

    def lmbda(self, codec: Codec, quality: float) -> float:
        trained = codec.lmbda(quality)
        return trained * 255**2 if self.metric == "mse" else weight_at(trained, MS_SSIM_WEIGHTS)

    def metrics(self, x_hat: Tensor, x: Tensor) -> dict[str, float]:
        shown = x_hat.detach().clamp(0, 1)
        return {"psnr": psnr(shown, x), "ms-ssim": 1 - float(ms_ssim_loss(shown, x.detach()))}


def ms_ssim_loss(x_hat: Tensor, x: Tensor) -> Tensor:
    """1 - MS-SSIM of images (B, 3, H, W) in [0, 1] (Wang et al. 2003), the mean over images and channels.

    Images of any size: the window of 11 pixels shrinks to 3 where a side is too short for it (160 pixels
    or less), and below 33 pixels the right column and the bottom row are repeated. A channel with a
    structure opposite to the original's has an MS-SSIM of zero and no gradient there: it costs 1 + its mean
    square error instead.
    """
    height, width = x.shape[-2:]
    fit = (0, max(0, MIN_SIDE - width), 0, max(0, MIN_SIDE - height))
    found, wanted = (F.pad(v, fit, mode="replicate").flatten(0, 1)[:, None] for v in (x_hat, x))  # (B*3, 1, H, W)
    window = min(11, (max(MIN_SIDE, min(height, width)) - 1) // 16 // 2 * 2 + 1)
    values = _ms_ssim(found, wanted, window)
    alive = values.detach() > 0
    if bool(alive.all()):
        return 1 - values.mean()
    losses = [1 + (found - wanted)[~alive].square().mean((1, 2, 3))]
    if bool(alive.any()):  # anew, because the slope at zero would be NaN even where nothing asks for it
        losses.append(1 - _ms_ssim(found[alive], wanted[alive], window))
    return torch.cat(losses).mean()


def _ms_ssim(x_hat: Tensor, x: Tensor, window: int) -> Tensor:
    """MS-SSIM of every plane: (N, 1, H, W) to (N,)."""
    values: Tensor = ms_ssim(x_hat, x, data_range=1.0, size_average=False, win_size=window)
    return values
