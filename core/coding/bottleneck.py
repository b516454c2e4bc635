"""The factorised prior: a learned density for each channel, without a shape given beforehand.

Ballé et al. 2018, appendix 6.1 (arXiv:1802.01436). Parameters, their names and their start are those of CompressAI's
layer of this name, and so are all figures: weights of either fit the other, and streams are the same.
"""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from itertools import pairwise
from typing import Any, ClassVar, Protocol, Self

import torch
from torch import Tensor, nn
from torch.nn import functional as F

__all__ = ["EntropyBottleneck", "FactorizedPrior", "names_of"]

LISTS = {"matri": ("matrices.", "_matrix"), "bias": ("biases.", "_bias"), "factor": ("factors.", "_factor")}
"""How names of parameters begin, now and in old files."""

NAME = re.compile(r"_?(matri|bias|factor)[a-z]*\.?(\d+)")


class FactorizedPrior(Protocol):
    """What `taskodec.coding.priors` asks of a module that stands for the density of C channels."""

    @property
    def quantiles(self) -> Tensor:
        """Lower tail, median and upper tail of every channel, (C, 1, 3)."""

    def likelihood(self, values: Tensor) -> Tensor:
        """Probability mass of the unit interval around each value, (C, 1, K) for (C, 1, K)."""

    def double(self) -> Self:
        """Itself, in float64."""

    def cpu(self) -> Self:
        """Itself, on the CPU."""


class EntropyBottleneck(nn.Module):
    """One density a channel, its cumulative being a small monotone network.

    Args:
        channels: how many densities, C.
        init_scale: how wide they are at first; `quantiles` start at as much on both sides of zero.
        filters: hidden units of the layers.
        tail_mass: probability outside of `quantiles`, once `loss` has brought them there.
    """

    not_weights: ClassVar[frozenset[str]] = frozenset(
        {"target", "likelihood_lower_bound.bound", "_offset", "_quantized_cdf", "_cdf_length"}
    )
    """What state dicts of CompressAI's layer hold beside its parameters; see `taskodec.coding.weights`."""

    def __init__(
        self, channels: int, *, init_scale: float = 10, filters: Sequence[int] = (3, 3, 3, 3), tail_mass: float = 1e-9
    ) -> None:
        super().__init__()
        sizes = (1, *filters, 1)
        scale = init_scale ** (1 / (len(filters) + 1))
        self.matrices, self.biases, self.factors = nn.ParameterList(), nn.ParameterList(), nn.ParameterList()
        for inputs, outputs in pairwise(sizes):
            start = math.log(math.expm1(1 / scale / outputs))
            self.matrices.append(nn.Parameter(torch.full((channels, outputs, inputs), start)))
            self.biases.append(nn.Parameter(torch.empty(channels, outputs, 1).uniform_(-0.5, 0.5)))
        for outputs in filters:
            self.factors.append(nn.Parameter(torch.zeros(channels, outputs, 1)))
        self.quantiles = nn.Parameter(torch.tensor([-init_scale, 0.0, init_scale]).repeat(channels, 1, 1))
        logit = math.log(2 / tail_mass - 1)
        self.target: Tensor
        self.register_buffer("target", torch.tensor([-logit, 0.0, logit]), persistent=False)
        self.register_load_state_dict_pre_hook(_take_old_names)  # type: ignore[no-untyped-call]

    def likelihood(self, values: Tensor) -> Tensor:
        """Probability mass of the unit interval around each value: (C, 1, K) for (C, 1, K)."""
        lower, upper = self._logits(values - 0.5), self._logits(values + 0.5)
        return torch.sigmoid(upper) - torch.sigmoid(lower)

    def loss(self) -> Tensor:
        """How far `quantiles` are from the tails and the median, a scalar; only they have a gradient."""
        return (self._logits(self.quantiles, fixed=True) - self.target).abs().sum()

    def _logits(self, values: Tensor, *, fixed: bool = False) -> Tensor:
        """Logits of the cumulatives at (C, 1, K); `fixed` keeps gradients from the densities."""
        logits = values
        for i in range(len(self.matrices)):
            matrix, bias = (part[i].detach() if fixed else part[i] for part in (self.matrices, self.biases))
            logits = torch.matmul(F.softplus(matrix), logits) + bias
            if i < len(self.factors):
                factor = self.factors[i].detach() if fixed else self.factors[i]
                logits = logits + torch.tanh(factor) * torch.tanh(logits)
        return logits


def names_of(name: str) -> tuple[str, ...]:
    """All that a parameter of the layer was ever called, the present name first; none if it is of no parameter."""
    match = NAME.fullmatch(name)
    return () if match is None else tuple(start + match[2] for start in LISTS[match[1]])


def _take_old_names(_: nn.Module, state: dict[str, Any], prefix: str, *__: object) -> None:
    """Before `load_state_dict`: parameters by their present names, and nothing that is no parameter."""
    for key in [key for key in state if key.startswith(prefix)]:
        name = key.removeprefix(prefix)
        if name in EntropyBottleneck.not_weights:
            del state[key]
        elif names := names_of(name):
            state[prefix + names[0]] = state.pop(key)
