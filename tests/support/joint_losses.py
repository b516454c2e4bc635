"""Losses for tests of several tasks in one file."""

import torch

from taskodec.contracts import FunctionTask, JointTask, Part


def dark(x_hat, x):
    """Half as bright."""
    return (x_hat - 0.5 * x).square().mean()


def red(x_hat, x):
    """The first channel, in a unit a thousand times as small."""
    return 1000 * (x_hat[:, :1] - x[:, :1]).abs().mean()


def stepped(x_hat, x):
    """It depends on the picture, and has no slope."""
    return torch.round(x_hat * 4).sub(torch.round(x * 4)).square().mean()


def joint_of(*functions, shares=None, lmbdas=None):
    """A joint task of these functions."""
    parts = [
        Part(function.__name__, FunctionTask(function.__name__, function, (lmbdas or {}).get(function)), share)
        for function, share in zip(functions, shares or [1.0] * len(functions), strict=True)
    ]
    return JointTask(",".join(part.label for part in parts), parts)
