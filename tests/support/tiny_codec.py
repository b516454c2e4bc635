"""A codec for tests of logic."""

import torch
from torch import nn

from taskodec.coding.bottleneck import EntropyBottleneck
from taskodec.coding.priors import (
    bottleneck_tables,
    decode_bottleneck,
    decode_gaussian,
    encode_bottleneck,
    encode_gaussian,
    estimate_bottleneck,
    estimate_gaussian,
)
from taskodec.contracts import Codec, Entropy, Latents


class TinyCodec(Codec):
    """A whole hyperprior codec with random weights: small enough to make anew for every test."""

    name = "tiny"
    stride = 16
    qualities = (1.0, 2.0, 3.0, 4.0)
    continuous = True
    latents_layer = "coded"

    def __init__(self, M=8, Z=4):
        super().__init__()
        self.g_a = nn.Sequential(nn.Conv2d(3, M, 5, 4, 2), nn.GELU(), nn.Conv2d(M, M, 5, 4, 2))
        self.g_s = nn.Sequential(nn.ConvTranspose2d(M, M, 5, 4, 2, 3), nn.GELU(), nn.ConvTranspose2d(M, 3, 5, 4, 2, 3))
        self.coded = nn.Identity()
        self.h_a = nn.Conv2d(M, Z, 1)
        self.h_s = nn.Conv2d(Z, 2 * M, 1)
        self.entropy_bottleneck = EntropyBottleneck(Z, init_scale=4)
        self.tables = bottleneck_tables(self.entropy_bottleneck)

    def lmbda(self, quality):
        return 0.0018 * 2.0 ** (quality - 1)

    def gain(self, quality):
        return 4 * 2 ** (torch.as_tensor(quality, dtype=torch.float32).reshape(-1, 1, 1, 1) / 2)

    def analysis(self, x, quality):
        y = self.coded(self.g_a(x) * self.gain(quality))
        return Latents(y, self.h_a(y))

    def scales_and_means(self, z_hat):
        scales, means = self.h_s(z_hat).chunk(2, 1)
        return scales.exp().clamp(0.11, 256), means

    def entropy(self, latents, quality, rounding):
        z_hat, z_likelihoods = estimate_bottleneck(latents.z, self.entropy_bottleneck, rounding)
        y_hat, y_likelihoods = estimate_gaussian(latents.y, *self.scales_and_means(z_hat), rounding)
        return Entropy(y_hat, {"y": y_likelihoods, "z": z_likelihoods}, z_hat)

    def synthesis(self, y_hat, quality):
        return 0.5 + self.g_s(y_hat / self.gain(quality))

    def encode(self, latents, quality, coder):
        z_hat = encode_bottleneck(latents.z, self.entropy_bottleneck, self.tables, coder)
        return encode_gaussian(latents.y, *self.scales_and_means(z_hat), coder)

    def decode(self, size, quality, coder):
        shape = (size[0] // 16, size[1] // 16)
        z_hat = decode_bottleneck(shape, self.entropy_bottleneck, self.tables, coder)
        return decode_gaussian(*self.scales_and_means(z_hat), coder)

    def adapter_layers(self, side):
        root, module = ("g_a", self.g_a) if side == "encoder" else ("g_s", self.g_s)
        return {f"{root}.{i}": module[i] for i in (0, 2)}

    def aux_loss(self):
        return self.entropy_bottleneck.loss()
