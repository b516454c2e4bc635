"""`human`: pictures for the eye, by mean square error, MS-SSIM, LPIPS or DISTS, or a mixture of them."""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from taskodec.contracts import Codec, Evaluator, JointTask, MeanEvaluator, Part, Record, Task
from taskodec.errors import UsageError
from taskodec.hooks.names import nearest
from taskodec.images.metrics import Metric, load_dists, load_lpips, ms_ssim_loss, psnr
from taskodec.images.perceptual import PerceptualNetwork, dists_network, lpips_network
from taskodec.images.perceptual_files import lpips_installed
from taskodec.tasks.tradeoff import weight_at

__all__ = ["METRICS", "Human", "load_human"]

NETWORKS = {"lpips": lpips_network, "dists": dists_network}
METRICS = ("mse", "ms-ssim", *NETWORKS)

MORE_IS_BETTER = {"ms-ssim": True, "psnr": True, "lpips": False, "dists": False}
FIGURES = ("ms-ssim", "psnr")
"""Those that need no network."""

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

    `metric` is `mse`, in units of [0, 1], `ms-ssim`, as 1 - MS-SSIM, `lpips` (AlexNet), or `dists`. With `mse` the cost
    is exactly what codecs are trained for, `lmbda * 255**2 * mse + bpp`; the weights of the last two are slopes of the
    untuned codec. WeightsError where the network of `lpips` or `dists` cannot be had. As `part` of a mixture it reports
    its own figure alone.
    """

    name = "human"

    def __init__(self, metric: str = "mse", *, part: bool = False) -> None:
        if metric not in METRICS:
            raise UsageError(
                f"task 'human' has no metric {metric!r}{nearest(str(metric), METRICS)}; valid: {', '.join(METRICS)}, "
                "or a share for each of several"
            )
        self.metric = metric
        self.part = part
        own = "psnr" if metric == "mse" else metric
        self.figures = (own,) if part else tuple(dict.fromkeys([*FIGURES, own] if own in FIGURES else [own, *FIGURES]))
        self.network: PerceptualNetwork | None = NETWORKS[metric]() if metric in NETWORKS else None

    @torch.no_grad()
    def prepare(self, x: Tensor) -> Any:
        return x.detach() if self.network is None else self.network.features(x)

    def loss(self, x_hat: Tensor, reference: Any) -> Tensor:
        if self.network is not None:
            return self.network.distance(self.network.features(x_hat), reference).mean()
        return F.mse_loss(x_hat, reference) if self.metric == "mse" else ms_ssim_loss(x_hat, reference)

    def lmbda(self, codec: Codec, quality: float) -> float | None:
        if self.network is not None:
            return None
        trained = codec.lmbda(quality)
        return trained * 255**2 if self.metric == "mse" else weight_at(trained, MS_SSIM_WEIGHTS)

    @torch.no_grad()
    def metrics(self, x_hat: Tensor, x: Tensor) -> dict[str, float]:
        shown = x_hat.detach().clamp(0, 1)
        found = {}
        for name in self.figures:
            if name == "psnr":
                found[name] = psnr(shown, x)
            elif name == "ms-ssim":
                found[name] = 1 - float(ms_ssim_loss(shown, x))
            else:
                found[name] = float(self.loss(shown, self.prepare(x)))
        return found

    def evaluator(self, labels: Path | None = None) -> Evaluator:
        if labels is not None:
            return super().evaluator(labels)
        return HumanEvaluator(self)

    def to(self, device: torch.device) -> Human:
        if self.network is not None:
            self.network.to(device)
        return self


class HumanEvaluator(MeanEvaluator):
    """Means of MS-SSIM and PSNR, and of LPIPS and DISTS if they can be loaded; a warning says if LPIPS cannot.

    The task's own metric comes first. Of a part of a mixture it is the only one.
    """

    def __init__(self, task: Human) -> None:
        self.others = {} if task.part else _others(task.metric)
        super().__init__(task, {name: MORE_IS_BETTER[name] for name in (*task.figures, *self.others)})

    @torch.no_grad()
    def observe(self, name: str, x_hat: Tensor, x: Tensor) -> Record:
        shown = x_hat.detach().clamp(0, 1)
        others = {metric: compute(shown, x) for metric, compute in self.others.items()}
        found = {**self.task.metrics(x_hat, x), **others}
        return {metric: found[metric] for metric in self.metrics}


def load_human(metric: str | Mapping[str, float] = "mse") -> Task:
    """The task `human` with a metric, or a mixture: a mapping from metrics to shares.

    In a mixture each counts in bits per pixel of the untuned codec (`JointTask`), so that shares mean the same whatever
    the metrics' units.
    """
    if isinstance(metric, str):
        return Human(metric)
    if not isinstance(metric, Mapping) or not metric:
        raise UsageError(
            f"task.options.metric = {metric!r}: expected one of {', '.join(METRICS)}, or shares of several, such as "
            "{lpips: 1, mse: 1}"
        )
    for name, share in metric.items():
        if isinstance(share, bool) or not isinstance(share, int | float):
            raise UsageError(f"task.options.metric: the share of {name!r} is {share!r}, expected a number above 0")
    if len(metric) == 1:
        return Human(next(iter(metric)))
    return JointTask("human", [Part(name, Human(name, part=True), share) for name, share in metric.items()])


def _others(metric: str) -> dict[str, Metric]:
    """The figures of networks that can be had here, beside the task's own metric."""
    found: dict[str, Metric | None] = {}
    if metric != "lpips":
        found["lpips"] = _lpips()
    if metric != "dists":
        found["dists"] = load_dists()
    return {name: compute for name, compute in found.items() if compute is not None}


def _lpips() -> Metric | None:
    found = load_lpips()  # which warns if there is a package and no weights
    if found is None and not lpips_installed():
        warnings.warn("LPIPS is left out, the package is not installed: pip install lpips", stacklevel=2)
    return found
