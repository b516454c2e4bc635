"""A task as a class: `prepare` runs once per image, `loss` at every step."""

from torch.nn import functional as F

from taskodec import Task


class Smooth(Task):
    """Differences between neighbouring pixels, as in the original; `weight` is the cost's lmbda."""

    name = "smooth"

    def __init__(self, weight=None):
        self.weight = weight

    def prepare(self, x):
        return differences(x)

    def loss(self, x_hat, reference):
        return sum(F.mse_loss(a, b, reduction="sum") for a, b in zip(differences(x_hat), reference, strict=True))

    def lmbda(self, codec, quality):
        return self.weight


def differences(x):
    """Down and across: (B, 3, H-1, W) and (B, 3, H, W-1)."""
    return x.diff(dim=2), x.diff(dim=3)
