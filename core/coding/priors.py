"""The two entropy models that hyperprior codecs are made of, differentiable and coded for real.

z follows a learned factorised prior (`taskodec.coding.bottleneck`; Ballé et al. 2018, appendix 6.1,
arXiv:1802.01436), y a Gaussian whose scale and mean the hyper-synthesis predicts (Minnen et al. 2018,
arXiv:1809.02736). Symbols are the latents minus their mean, rounded.
"""

from __future__ import annotations

import copy
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from taskodec.coding.bottleneck import FactorizedPrior
from taskodec.contracts import Annealed, Rounding
from taskodec.errors import WeightsError
from taskodec.isolation.randomness import uniform_like
from taskodec.stream.entropy import SCALES, SymbolDecoder, SymbolEncoder, Tables, gaussian_tables
from taskodec.stream.guard import read_guard, write_guard

__all__ = [
    "anneal",
    "bottleneck_tables",
    "decode_bottleneck",
    "decode_gaussian",
    "decode_guarded",
    "decode_indexed",
    "encode_bottleneck",
    "encode_gaussian",
    "encode_guarded",
    "encode_indexed",
    "estimate_bottleneck",
    "estimate_gaussian",
    "quantize",
    "scale_indexes",
    "shared_noise",
]

MIN_LIKELIHOOD = 1e-9
"""As in CompressAI; about what an escape costs in the file."""

LARGEST_SYMBOL = 2**30
"""Symbols of a larger magnitude are refused: they would not survive as 32-bit integers."""


def quantize(v: Tensor, means: Tensor, rounding: Rounding) -> tuple[Tensor, Tensor]:
    """What the synthesis sees of latents, and what the rate is measured on.

    Both are `means + round(v - means)`, or its stand-in with a gradient.
    """
    if isinstance(rounding, Annealed):
        chosen = means + anneal(v - means, rounding.temperature)
        return chosen, chosen
    noisy = v + _draw(v) - 0.5 if rounding in ("noise", "mixed") else v
    if rounding == "noise":
        return noisy, noisy
    hard = torch.round(v.detach() - means.detach()) + means.detach()
    v_hat = hard if rounding == "hard" else v + (hard - v.detach())
    return v_hat, noisy if rounding == "mixed" else v_hat


def anneal(v: Tensor, temperature: float) -> Tensor:
    """Stochastic Gumbel annealing (Yang et al. 2020, section 3.3, arXiv:2006.04240).

    Each value is drawn between its two neighbouring integers, the nearer one the more often the lower the
    temperature; a value that is an integer stays. The draw is relaxed, so that it has a gradient.
    """
    below = torch.floor(v.detach())
    share = (v - below).clamp(1e-4, 1 - 1e-4)
    # the logit of rounding up against rounding down; a two-way Gumbel-softmax is a logistic sigmoid
    logit = (torch.atanh(share) - torch.atanh(1 - share)) / temperature
    uniform = _draw(v).clamp(1e-6, 1 - 1e-6)
    return below + torch.sigmoid((logit + torch.logit(uniform)) / temperature)


@contextmanager
def shared_noise() -> Iterator[None]:
    """Within, every sample of a batch gets the noise that it would get alone, with the same seed: not for training."""
    token = _SHARED.set(True)
    try:
        yield
    finally:
        _SHARED.reset(token)


_SHARED: ContextVar[bool] = ContextVar("shared_noise", default=False)


def _draw(v: Tensor) -> Tensor:
    """Uniform noise from 0 to 1, of the shape of v or, shared, of its first sample (1, …)."""
    return uniform_like(v[:1] if _SHARED.get() else v)


def gaussian_likelihood(residual: Tensor, scales: Tensor) -> Tensor:
    """Probability mass of the unit interval around `residual` under N(0, scales²)."""
    scales = scales.clamp_min(float(SCALES[0]))
    inverse = 2**-0.5 / scales
    magnitude = residual.abs()  # by symmetry, and erfc keeps its precision in this tail
    upper = torch.special.erfc((magnitude - 0.5) * inverse)
    lower = torch.special.erfc((magnitude + 0.5) * inverse)
    return _bounded(0.5 * (upper - lower))


def estimate_gaussian(y: Tensor, scales: Tensor, means: Tensor, rounding: Rounding) -> tuple[Tensor, Tensor]:
    """Quantised y and the likelihood of every element."""
    y_hat, rated = quantize(y, means, rounding)
    return y_hat, gaussian_likelihood(rated - means, scales)


def estimate_bottleneck(z: Tensor, bottleneck: FactorizedPrior, rounding: Rounding) -> tuple[Tensor, Tensor]:
    """Quantised z and the likelihood of every element; z is coded around the prior's medians."""
    medians = bottleneck.quantiles[:, 0, 1].detach().view(1, -1, 1, 1)  # (C, 1, 3) -> (1, C, 1, 1)
    z_hat, rated = quantize(z, medians, rounding)
    flat = rated.permute(1, 0, 2, 3).reshape(z.shape[1], 1, -1)  # (B, C, h, w) -> (C, 1, B*h*w)
    likelihood = _bounded(bottleneck.likelihood(flat))
    shape = (z.shape[1], z.shape[0], *z.shape[2:])
    return z_hat, likelihood.reshape(shape).permute(1, 0, 2, 3)  # (C, 1, B*h*w) -> (B, C, h, w)


def bottleneck_tables(bottleneck: FactorizedPrior) -> Tables:
    """Integer tables of a factorised prior, one row per channel, evaluated in float64 on the CPU.

    CompressAI asks users to call `update()` for this; here the loader of a codec does it.
    """
    prior = copy.deepcopy(bottleneck).double().cpu()
    low, median, high = (prior.quantiles[:, 0, i].detach() for i in range(3))
    below = (median - low).ceil().clamp(1, 255).int()
    above = (high - median).ceil().clamp(1, 255).int()
    steps = torch.arange(-int(below.max()), int(above.max()) + 1, dtype=torch.float64)
    with torch.no_grad():
        mass = prior.likelihood(median.view(-1, 1, 1) + steps)[:, 0].numpy()  # (C, 1, K) -> (C, K)
    zero = int(below.max())  # the column of the median
    pmfs = [row[zero - int(b) : zero + int(a) + 1] for row, b, a in zip(mass, below, above, strict=True)]
    return Tables.from_pmfs(pmfs, offsets=(-below).numpy())


def encode_bottleneck(z: Tensor, bottleneck: FactorizedPrior, tables: Tables, coder: SymbolEncoder) -> Tensor:
    """Write z (1, C, h, w); returns z_hat. WeightsError for values that no stream can hold."""
    medians = bottleneck.quantiles[:, 0, 1].detach().view(1, -1, 1, 1)
    symbols = torch.round(z - medians)
    coder.encode(_integers(symbols, "z"), _channel_indexes(tuple(z.shape)), tables)
    return _as_decoded(symbols + medians)


def decode_bottleneck(
    shape: tuple[int, int], bottleneck: FactorizedPrior, tables: Tables, coder: SymbolDecoder
) -> Tensor:
    """Read z_hat (1, C, *shape)."""
    medians = bottleneck.quantiles[:, 0, 1].detach().view(1, -1, 1, 1)
    symbols = coder.decode(_channel_indexes((1, medians.shape[1], *shape)), tables)
    z_hat: Tensor = torch.from_numpy(symbols).to(medians) + medians
    return z_hat


def scale_indexes(scales: Tensor) -> npt.NDArray[Any]:
    """The table row of every scale: the first one of `SCALES` that is not smaller."""
    bounds = torch.from_numpy(SCALES[:-1]).to(scales)
    indexes: npt.NDArray[Any] = torch.bucketize(scales.detach().contiguous(), bounds).int().cpu().numpy()
    return indexes


def encode_gaussian(y: Tensor, scales: Tensor, means: Tensor, coder: SymbolEncoder) -> Tensor:
    """Write y; returns y_hat. WeightsError for values that no stream can hold."""
    return encode_indexed(y, means, scale_indexes(scales), coder)


def decode_gaussian(scales: Tensor, means: Tensor, coder: SymbolDecoder) -> Tensor:
    """Read y_hat, of the shape of `means`."""
    return decode_indexed(means, scale_indexes(scales), coder)


def encode_guarded(y: Tensor, scales: Tensor, means: Tensor, tolerance: Tensor, coder: SymbolEncoder) -> Tensor:
    """Write y so that a decoder whose scales are off by up to `tolerance` chooses the same tables; returns y_hat.

    All tensors are of the same shape. See `taskodec.stream.guard`.
    """
    own = _doubles(scales)
    guard = write_guard(own, _doubles(tolerance), coder)
    return encode_indexed(y, means, guard.indexes(own), coder)


def decode_guarded(scales: Tensor, means: Tensor, coder: SymbolDecoder) -> Tensor:
    """Read y_hat, of the shape of `means`, as `encode_guarded` wrote it."""
    guard = read_guard(tuple(scales.shape), coder)
    return decode_indexed(means, guard.indexes(_doubles(scales)), coder)


def encode_indexed(y: Tensor, means: Tensor, indexes: npt.NDArray[Any], coder: SymbolEncoder) -> Tensor:
    """Write y with these Gaussian tables; returns y_hat. WeightsError for values that no stream can hold."""
    symbols = torch.round(y - means)
    coder.encode(_integers(symbols, "y"), indexes, gaussian_tables())
    return _as_decoded(symbols + means)


def decode_indexed(means: Tensor, indexes: npt.NDArray[Any], coder: SymbolDecoder) -> Tensor:
    """Read y_hat, of the shape of `means`, with these Gaussian tables."""
    symbols = coder.decode(indexes, gaussian_tables())
    return _as_decoded(torch.from_numpy(symbols).to(means) + means)


def _doubles(values: Tensor) -> npt.NDArray[np.float64]:
    doubles: npt.NDArray[np.float64] = values.detach().double().cpu().numpy()
    return doubles


def _integers(symbols: Tensor, what: str) -> npt.NDArray[np.int32]:
    """Rounded symbols as the coder takes them; a cast alone would turn NaN and large values into others."""
    if not bool((symbols.abs() <= LARGEST_SYMBOL).all()):  # false for NaN too
        raise WeightsError(
            f"the latents {what} hold values that are not finite or beyond 2^30, which no stream can hold: the codec's "
            "weights are damaged or not its own (give others as codec.checkpoint=FILE), or tuning diverged (use fewer "
            "steps or a lower learning rate)"
        )
    integers: npt.NDArray[np.int32] = symbols.int().cpu().numpy()
    return integers


def _as_decoded(v_hat: Tensor) -> Tensor:
    """In the memory layout that the decoder has: a convolution rounds otherwise in channels_last."""
    return v_hat.clone(memory_format=torch.contiguous_format)


def _bounded(likelihood: Tensor) -> Tensor:
    """At least MIN_LIKELIHOOD, but with the gradient that draws smaller ones up (a plain clamp has none)."""
    raised: Tensor = likelihood + (likelihood.clamp_min(MIN_LIKELIHOOD) - likelihood).detach()
    return raised


def _channel_indexes(shape: tuple[int, ...]) -> npt.NDArray[Any]:
    """For (1, C, h, w): every element's channel."""
    channels = np.arange(shape[1], dtype=np.int32).reshape(1, -1, 1, 1)
    return np.ascontiguousarray(np.broadcast_to(channels, shape))
