"""The optimiser of a training run, Adam or one that looks at whole matrices of weights, and how it goes on."""

from __future__ import annotations

from collections.abc import Mapping
from fnmatch import fnmatch
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from taskodec.coding.tensor_files import tensor_problem
from taskodec.console.terminal import shown
from taskodec.extras import require

if TYPE_CHECKING:
    from taskodec.settings.model import TrainSettings

__all__ = ["load_optimizer", "make_optimizer", "parameter_groups"]

LARGEST = 1024
"""Sides of weights that SOAP decomposes; beyond that its decompositions take longer than the step."""


def parameter_groups(model: nn.Module, settings: TrainSettings) -> list[dict[str, Any]]:
    """Parameters by learning-rate factor: `lr_scales` maps glob patterns of names to factors, the first match wins.

    For an optimiser of matrices, those that are none are apart (`matrix`): vectors, tables of a row for each level, and
    the factorised prior, a stack of a little network for each channel.
    """
    groups: dict[tuple[float, bool], list[nn.Parameter]] = {}
    for name, parameter in model.named_parameters():
        if parameter.requires_grad and not name.endswith("quantiles"):
            scale = next((f for pattern, f in settings.lr_scales.items() if fnmatch(name, pattern)), 1.0)
            single = "." not in name or "entropy_bottleneck." in name
            matrix = settings.optimizer != "adam" and parameter.ndim >= 2 and not single
            groups.setdefault((scale, matrix), []).append(parameter)
    kind = settings.optimizer
    return [{"params": each, "scale": s, "matrix": matrix, "kind": kind} for (s, matrix), each in groups.items()]


def make_optimizer(groups: list[dict[str, Any]], settings: TrainSettings) -> torch.optim.Optimizer:
    """The optimiser that the settings name; UsageError where its package is missing.

    Muon (Jordan et al. 2024) is scaled so that Adam's rates suit it (Liu et al. 2025, arXiv:2502.16982, section 2.2).
    SOAP is Vyas et al. 2024, arXiv:2409.11321. What is no matrix goes by Adam in both.
    """
    if settings.optimizer == "adam":
        on_gpu = all(p.device.type == "cuda" for group in groups for p in group["params"])
        fused = on_gpu if settings.fused is None else settings.fused
        return torch.optim.Adam(groups, lr=settings.lr, fused=fused)
    require("train", f"optimizer {settings.optimizer!r}", only=["pytorch_optimizer"])
    import pytorch_optimizer

    if settings.optimizer == "muon":
        for group in groups:
            group["use_muon"] = group["matrix"]
        return pytorch_optimizer.Muon(groups, lr=settings.lr, use_adjusted_lr=True)
    for group in groups:
        group["max_precondition_dim"] = LARGEST if group["matrix"] else 0
    return pytorch_optimizer.SOAP(groups, lr=settings.lr, shampoo_beta=0.95, weight_decay=0.0)


def load_optimizer(optimizer: torch.optim.Optimizer, found: Mapping[str, Any]) -> None:
    """Moments of a file for the parameters here; rates and the like are those of the settings.

    ValueError for a file of another optimiser, of other groups, or of moments that cannot be.
    """
    own = optimizer.state_dict()["param_groups"]
    groups, given = ([_shape(group) for group in those] for those in (own, found["param_groups"]))
    if given != groups:
        raise ValueError(f"it has groups of parameters {shown(given)}, here are {shown(groups)}")
    for group, other in zip(own, found["param_groups"], strict=True):
        if "step" in other:  # some optimisers count by groups
            group["step"] = int(other["step"])
    optimizer.load_state_dict({"state": found["state"], "param_groups": own})
    for group in optimizer.param_groups:
        for parameter in group["params"]:
            _check_moments(optimizer.state.get(parameter, {}), parameter, group)


def _check_moments(moments: dict[str, Any], parameter: Tensor, group: Mapping[str, Any]) -> None:
    """ValueError unless these can be the moments of a parameter; what is set for the group is set for it again."""
    for name, value in moments.items():
        pairs: list[tuple[Any, Tensor]] = []
        if name in group:  # such as how often SOAP decomposes
            moments[name] = group[name]
        elif group.get("kind") == "soap" and name in ("GG", "Q"):
            sides = _sides(parameter, group)
            if not isinstance(value, list) or len(value) != len(sides):
                raise ValueError(f"{name} of an optimiser found {shown(value)}, expected {len(sides)} matrices")
            pairs = [(part, torch.zeros(n, n)) for part, n in zip(value, sides, strict=True) if n or part != []]
        else:
            pairs = [(value, torch.zeros(()) if name == "step" else parameter)]
        for part, like in pairs:
            if problem := tensor_problem(part, like):
                raise ValueError(f"{name} of an optimiser {problem}")


def _sides(parameter: Tensor, group: Mapping[str, Any]) -> list[int]:
    """The sides of the matrices that SOAP keeps for a parameter, 0 where it keeps none."""
    if parameter.ndim == 1:
        return [0]
    return [side if side <= group["max_precondition_dim"] else 0 for side in parameter.shape]


def _shape(group: Mapping[str, Any]) -> tuple[int, object, object, object]:
    return len(group["params"]), group.get("scale"), group.get("matrix", False), group.get("kind", "adam")
