"""`human`: pictures for the eye, judged by mean square error or MS-SSIM."""

from __future__ import annotations

import importlib.util
import warnings
from pathlib import Path

import torch
from torch import Tensor
from torch.nn import functional as F

from taskodec.bench.fidelity import Metric, load_lpips
from taskodec.contracts import Codec, Evaluator, MeanEvaluator, Record, Task
from taskodec.errors import UsageError
from taskodec.images.metrics import ms_ssim_loss, psnr
from taskodec.tasks.tradeoff import weight_at

__all__ = ["METRICS", "Human"]

METRICS = ("mse", "ms-ssim")

LPIPS_SIDE = 64

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

    def evaluator(self, labels: Path | None = None) -> Evaluator:
        if labels is not None:
            return super().evaluator(labels)
        return HumanEvaluator(self)


class HumanEvaluator(MeanEvaluator):
    """Means of MS-SSIM and PSNR, and of LPIPS if it can be loaded; a warning says if not."""

    def __init__(self, task: Human) -> None:
        self.lpips = _load_lpips()
        super().__init__(task, {"ms-ssim": True, "psnr": True, **({"lpips": False} if self.lpips else {})})

    @torch.no_grad()
    def observe(self, name: str, x_hat: Tensor, x: Tensor) -> Record:
        found = self.task.metrics(x_hat, x)
        if self.lpips is not None:
            found["lpips"] = self.lpips(_wide(x_hat.detach().clamp(0, 1)), _wide(x))
        return {metric: found[metric] for metric in self.metrics}


def _load_lpips() -> Metric | None:
    if importlib.util.find_spec("lpips") is None:
        warnings.warn("LPIPS is left out, the package is not installed: pip install lpips", stacklevel=2)
        return None
    return load_lpips()  # warns if it has no weights


def _wide(x: Tensor) -> Tensor:
    """On the CPU, where the network is, and with the 64 pixels a side that it needs at least."""
    missing = [max(0, LPIPS_SIDE - side) for side in (x.shape[3], x.shape[2])]
    return F.pad(x.cpu(), (0, missing[0], 0, missing[1]), mode="replicate")
