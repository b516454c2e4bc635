"""What a codec in training is to lower: rate and distortion, at all qualities of a batch."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from taskodec.contracts import Codec, Rounding, total_bits

if TYPE_CHECKING:
    from taskodec.settings.model import StageSettings

__all__ = ["StepLoss", "lmbdas_of", "rd_loss"]


def rd_loss(
    codec: Codec, x: Tensor, quality: Tensor, rounding: Rounding = "mixed", lmbda: Tensor | None = None
) -> tuple[Tensor, dict[str, Tensor]]:
    """Rate-distortion loss of a batch with one quality per sample, and its parts (B,).

    Each sample's `lmbda * 255**2 * mse + bpp` is divided by sqrt(lmbda), which is about how it grows over
    the rate range, so that no level dominates the gradient. `quality` may lie on the CPU, which does not make a GPU
    wait; with `lmbda` (B,), the trade-offs of the qualities, both may lie on the GPU.
    """
    lmbda = lmbdas_of(codec, quality, x.device) if lmbda is None else lmbda
    output = codec(x, quality.to(x.device), rounding)
    mse = (output.x_hat.float() - x).square().flatten(1).mean(1)
    bpp = total_bits(output.likelihoods) / (x.shape[2] * x.shape[3])
    middle = codec.lmbda((codec.qualities[0] + codec.qualities[-1]) / 2)
    cost = lmbda * 255**2 * mse + bpp
    return (cost * (middle / lmbda).sqrt()).mean(), {"mse": mse.detach(), "bpp": bpp.detach()}


def lmbdas_of(codec: Codec, quality: Tensor, device: torch.device) -> Tensor:
    """The trade-off of each quality (B,)."""
    return torch.tensor([codec.lmbda(q) for q in quality.tolist()], device=device)


class StepLoss(nn.Module):
    """The loss of a batch in a stage, and its figures (3,): loss, bpp and PSNR, means."""

    def __init__(self, codec: Codec, stage: StageSettings) -> None:
        super().__init__()
        self.codec, self.stage = codec, stage

    def forward(self, x: Tensor, quality: Tensor, lmbda: Tensor) -> tuple[Tensor, Tensor]:
        """Of crops (B, 3, S, S), each at a quality (B,) with a trade-off (B,)."""
        # a recorded graph may hold no casts that the next step takes from a cache
        precision = torch.autocast(x.device.type, torch.bfloat16, enabled=self.stage.bf16, cache_enabled=False)
        with precision:
            loss, parts = rd_loss(self.codec, x, quality, self.stage.rounding, lmbda)
        psnrs = -10 * parts["mse"].clamp_min(1e-10).log10()
        return loss, torch.stack([loss.detach(), parts["bpp"].mean(), psnrs.mean()])
