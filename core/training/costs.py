"""What an adapter in training costs: a batch, as it is minimised, and whole pictures, as they are judged."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from taskodec.contracts import Codec, JointTask, Rounding, Task, total_bits
from taskodec.errors import TaskError, TaskodecError
from taskodec.training.parallel import share_of, sum_over_ranks
from taskodec.tuning.calibration import Balance, rate_and_loss
from taskodec.tuning.checks import checked_loss
from taskodec.tuning.slopes import SlopeWatch, watch
from taskodec.tuning.task_calls import prepared
from taskodec.tuning.units import prepared_for, watched
from taskodec.tuning.views import RandomView

__all__ = ["Figures", "Terms", "relative_cost", "task_cost", "validate"]

Figures = list[dict[str, float]]
"""By quality: its number, bpp, loss and cost."""


@dataclass(frozen=True)
class Terms:
    """What a step lowers, and how.

    `objective` is that of `PretrainSettings`, `fidelity` a share of the codec's own trade-off for mean square error,
    `views`, if there are any, what the task is shown of each picture.
    """

    rounding: Rounding = "mixed"
    objective: str = "log-cost"
    fidelity: float = 0.0
    views: Sequence[RandomView] = ()


def task_cost(
    codec: Codec,
    task: Task,
    balance: Balance,
    x: Tensor,
    quality: Tensor,
    terms: Terms = Terms(),
    slope: SlopeWatch | None = None,
    part_slopes: Sequence[SlopeWatch] = (),
) -> tuple[Tensor, Tensor]:
    """What is minimised of a batch, and figures (3,): cost in units of the untuned codec's, loss and bpp, means.

    `x` is (B, 3, S, S) with a quality for each (B,); `slope` looks at the loss's gradients, `part_slopes` at those of
    a joint task's parts. TaskodecError when the pictures are not finite.
    """
    output = codec(x, quality.to(x.device), terms.rounding)
    x_hat = output.x_hat.float()
    if not bool(torch.isfinite(x_hat).all()):
        raise TaskodecError("pre-training has diverged: start again with a lower pretrain.lr")
    x_hat = x_hat + (x_hat.clamp(0, 1) - x_hat).detach()  # clamped, but with a gradient everywhere
    if slope is not None:
        watch(x_hat, [slope] * len(x))
    with torch.autocast(x.device.type, enabled=False):  # no task is asked to stand mixed precision
        each = zip(*_shown(x_hat, x, terms.views), quality.tolist(), strict=True)
        losses = torch.stack(
            [checked_loss(task, made, prepared_for(task, balance, one, q, part_slopes)) for made, one, q in each]
        )
    bpp = total_bits(output.likelihoods) / (x.shape[2] * x.shape[3])
    cost = balance.lmbda(quality).to(x.device) * losses + bpp
    if terms.fidelity:
        own = terms.fidelity * x.new_tensor([codec.lmbda(q) for q in quality.tolist()])
        cost = cost + own * 255**2 * (x_hat - x).square().mean((1, 2, 3))
    if not bool((cost > 0).all()):
        lowest = float(losses.detach().min())
        raise TaskError(
            f"task {task.name!r}: the loss of a crop is negative ({lowest:g}), pre-training needs one that is not; add "
            "a constant to it"
        )
    relative = cost / balance.cost(quality).to(x.device)
    minimised = {"cost": cost, "relative-cost": relative, "log-cost": cost.log()}[terms.objective].mean()
    return minimised, torch.stack([relative.mean(), losses.mean(), bpp.mean()]).detach()


def _shown(x_hat: Tensor, x: Tensor, views: Sequence[RandomView]) -> tuple[list[Tensor], list[Tensor]]:
    """Each decoded picture (1, 3, S, S) as the task sees it, and the original in the same view."""
    chosen = views or [RandomView()] * len(x)
    made = [view(one) for view, one in zip(chosen, torch.split(x_hat, 1), strict=True)]
    return made, [view(one) for view, one in zip(chosen, torch.split(x, 1), strict=True)]


@torch.no_grad()
def validate(codec: Codec, task: Task, balance: Balance, pictures: Sequence[Tensor]) -> Figures:
    """Rate, loss and cost of whole pictures (1, 3, H, W) at each quality, means; processes share the work."""
    levels = balance.qualities
    device = next(codec.parameters()).device
    sums = torch.zeros(len(levels), 2, device=device)
    for x in (pictures[i].to(device) for i in share_of(len(pictures))):
        reference = prepared(task, x)
        for row, quality in enumerate(levels):
            if isinstance(task, JointTask):
                reference = watched(reference, balance.weights(quality))
            sums[row] += sums.new_tensor(rate_and_loss(codec, task, x, reference, quality))
    means = (sum_over_ranks(sums) / len(pictures)).tolist()
    return [
        {"quality": q, "bpp": bpp, "loss": loss, "cost": lmbda * loss + bpp}
        for q, lmbda, (bpp, loss) in zip(levels, balance.lmbdas, means, strict=True)
    ]


def relative_cost(figures: Figures, untuned: Figures) -> float:
    """Cost in units of the untuned codec's on the same pictures, mean over the qualities."""
    ratios = [mine["cost"] / plain["cost"] for mine, plain in zip(figures, untuned, strict=True)]
    return sum(ratios) / len(ratios)
