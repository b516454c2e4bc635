"""A codec without a network: 4x4 Walsh-Hadamard blocks with a fixed Gaussian scale for each frequency."""

import torch
from torch import nn

from taskodec import Codec, Entropy, Latents
from taskodec.coding.priors import decode_gaussian, encode_gaussian, estimate_gaussian

STEPS = {1: 0.4, 2: 0.2, 3: 0.1}


class Blocks(Codec):
    """Latents y are (B, 48, H/4, W/4), in units of the quantiser's step; there is no z."""

    name = "blocks"
    stride = 4
    qualities = tuple(STEPS)

    def __init__(self):
        super().__init__()
        rows = torch.tensor([[1.0, 1, 1, 1], [1, 1, -1, -1], [1, -1, -1, 1], [1, -1, 1, -1]]) / 2
        filters = torch.einsum("ih,jw->ijhw", rows, rows).reshape(16, 1, 4, 4)  # (4, 4, 4, 4) -> (16, 1, 4, 4)
        self.g_a = nn.Conv2d(3, 48, 4, stride=4, groups=3, bias=False)
        self.g_s = nn.ConvTranspose2d(48, 3, 4, stride=4, groups=3, bias=False)
        for transform in (self.g_a, self.g_s):
            transform.weight = nn.Parameter(filters.repeat(3, 1, 1, 1))
        spread = torch.full((3, 16), 0.1)
        spread[:, 0] = 1.0
        self.register_buffer("spread", spread.reshape(1, 48, 1, 1))  # (3, 16) -> (1, 48, 1, 1)

    def lmbda(self, quality):
        return 0.002 / STEPS[quality] ** 2

    def analysis(self, x, quality):
        return Latents(self.g_a(x - 0.5) / STEPS[quality])

    def prior(self, size, quality):
        """Scales and means of y of this height and width."""
        scales = (self.spread / STEPS[quality]).expand(1, 48, *size)
        return scales, torch.zeros_like(scales)

    def entropy(self, latents, quality, rounding):
        y_hat, likelihoods = estimate_gaussian(latents.y, *self.prior(latents.y.shape[2:], quality), rounding)
        return Entropy(y_hat, {"y": likelihoods})

    def synthesis(self, y_hat, quality):
        return self.g_s(y_hat * STEPS[quality]) + 0.5

    def encode(self, latents, quality, coder):
        return encode_gaussian(latents.y, *self.prior(latents.y.shape[2:], quality), coder)

    def decode(self, size, quality, coder):
        return decode_gaussian(*self.prior((size[0] // 4, size[1] // 4), quality), coder)

    def adapter_layers(self, side):
        return {"g_a": self.g_a} if side == "encoder" else {"g_s": self.g_s}


def load(quality=2):
    """The codec, ready to use; nothing to load from disk."""
    codec = Blocks()
    codec.check_quality(quality)
    return codec.eval()
