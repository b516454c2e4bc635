"""`human`: pictures for the eye, judged by mean square error or MS-SSIM."""

from __future__ import annotations

from pathlib import Path

from torch import Tensor
from torch.nn import functional as F

from taskodec.contracts import Codec, Task
from taskodec.errors import UsageError
from taskodec.evaluators import Evaluator, MeanEvaluator
from taskodec.metrics import ms_ssim_loss, psnr
from taskodec.tasks.tradeoff import weight_at

__all__ = ["METRICS", "Human"]

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
        return MeanEvaluator(self, {"ms-ssim": True, "psnr": True})
