"""`lite`: the default codec, small enough for a CPU and variable in rate.

A linear 16×16 transform that starts as a DCT carries the signal; a Swin network beside it, whose last layer
starts at zero, learns what the DCT cannot do. One model codes at every quality through gains per channel
(Cui et al. 2021, section 3.1, arXiv:2003.02012). The hyper-synthesis is convolutions and ReLU only and
speaks in logarithms; it codes in integers, so that no two machines disagree (`taskodec.codecs.integer`).
"""

from __future__ import annotations

import math
from pathlib import Path

import torch
from compressai.entropy_models import EntropyBottleneck
from torch import Tensor, nn
from torch.nn import functional as F

from taskodec.codecs.dct import dct_filters
from taskodec.codecs.integer import IntegerHyperSynthesis
from taskodec.codecs.swin import RSTB
from taskodec.contracts import Codec, Entropy, Latents, Quality, Rounding, Side
from taskodec.entropy import SCALES, SymbolDecoder, SymbolEncoder, Tables
from taskodec.priors import (
    bottleneck_tables,
    decode_bottleneck,
    decode_gaussian,
    encode_bottleneck,
    encode_gaussian,
    estimate_bottleneck,
    estimate_gaussian,
)

__all__ = ["LMBDAS", "Lite", "load_lite"]

LMBDAS = (0.0009, 0.0018, 0.0035, 0.0067, 0.013, 0.025, 0.0483)
"""Trade-offs of qualities 1 to 7, as in CompressAI from the second on."""


def full_precision(like: Tensor) -> torch.autocast:
    """Keeps what follows out of mixed precision: 8 bits of mantissa are less than a picture has."""
    return torch.autocast(like.device.type, enabled=False)


class Analysis(nn.Module):
    """g_a: (B, 3, H, W) to y (B, M, H/16, W/16)."""

    def __init__(self, M: int, N: int, D: int, stem: int, depth: int) -> None:
        super().__init__()
        self.dct = nn.Conv2d(3, M, 16, stride=16)
        self.net = nn.Sequential(
            nn.PixelUnshuffle(4),
            nn.Conv2d(48, stem, 3, padding=1),
            nn.GELU(),
            nn.Conv2d(stem, N, 3, stride=2, padding=1),
            RSTB(N, depth, N // 24, 8),
            nn.Conv2d(N, D, 3, stride=2, padding=1),
            RSTB(D, depth, D // 20, 8),
            nn.Conv2d(D, M, 1),
        )

    def forward(self, x: Tensor) -> Tensor:
        x = x - 0.5
        learned = self.net(x)
        with full_precision(x):
            y: Tensor = self.dct(x) + learned.float()
        return y


class Synthesis(nn.Module):
    """g_s: y_hat (B, M, H/16, W/16) to (B, 3, H, W); the stem also sees the linear reconstruction."""

    def __init__(self, M: int, N: int, D: int, stem: int, depth: int) -> None:
        super().__init__()
        self.idct = nn.ConvTranspose2d(M, 3, 16, stride=16)
        self.net = nn.Sequential(
            nn.Conv2d(M, D, 1),
            RSTB(D, depth, D // 20, 8),
            nn.Conv2d(D, 4 * N, 1),
            nn.PixelShuffle(2),
            RSTB(N, depth, N // 24, 8),
            nn.Conv2d(N, 4 * stem, 1),
            nn.PixelShuffle(2),
        )
        self.linear = nn.Conv2d(48, stem, 1)
        self.stem = nn.Sequential(
            nn.GELU(), nn.Conv2d(stem, stem, 3, padding=1), nn.GELU(), nn.Conv2d(stem, 48, 3, padding=1)
        )

    def forward(self, y_hat: Tensor) -> Tensor:
        with full_precision(y_hat):
            x: Tensor = self.idct(y_hat)
        features = self.net(y_hat) + self.linear(F.pixel_unshuffle(x, 4))
        return x + F.pixel_shuffle(self.stem(features), 4).float() + 0.5


class HyperAnalysis(nn.Module):
    """h_a: compressed-range y (B, M, h, w) to z (B, Z, h/4, w/4)."""

    def __init__(self, M: int, Z: int) -> None:
        super().__init__()
        self.first = nn.Conv2d(M, Z, 3, padding=1)
        self.rest = nn.Sequential(
            nn.ReLU(), nn.Conv2d(Z, Z, 3, stride=2, padding=1), nn.ReLU(), nn.Conv2d(Z, Z, 3, stride=2, padding=1)
        )

    def forward(self, y: Tensor, embedding: Tensor) -> Tensor:
        z: Tensor = self.rest(self.first(y) + embedding)
        return z


class HyperSynthesis(nn.Module):
    """h_s: z_hat (B, Z, h/4, w/4) to log-scales and means (B, 2M, h, w) at unit gain."""

    def __init__(self, M: int, Z: int, hidden: int) -> None:
        super().__init__()
        self.first = nn.Conv2d(Z, 4 * hidden, 1)
        self.rest = nn.Sequential(
            nn.PixelShuffle(2),
            nn.ReLU(),
            nn.Conv2d(hidden, 4 * hidden, 1),
            nn.PixelShuffle(2),
            nn.ReLU(),
            nn.Conv2d(hidden, M, 3, padding=1),
            nn.ReLU(),
            nn.Conv2d(M, 2 * M, 1),
        )

    def forward(self, z_hat: Tensor, embedding: Tensor) -> Tensor:
        parameters: Tensor = self.rest(self.first(z_hat) + embedding)
        return parameters


class Lite(Codec):
    """The default codec; see the module's docstring.

    M, N, D: channels of y, at 1/8 and at 1/16; stem: at 1/4; Z: of z; depth: Swin blocks a stage.
    """

    name = "lite"
    stride = 64
    continuous = True

    def __init__(self, *, M: int = 192, N: int = 96, D: int = 160, stem: int = 48, Z: int = 96, depth: int = 2) -> None:
        super().__init__()
        self.qualities = tuple(float(q) for q in range(1, len(LMBDAS) + 1))
        self.g_a = Analysis(M, N, D, stem, depth)
        self.g_s = Synthesis(M, N, D, stem, depth)
        self.h_a = HyperAnalysis(M, Z)
        self.h_s = HyperSynthesis(M, Z, Z)
        self.entropy_bottleneck = EntropyBottleneck(Z, init_scale=4)
        levels = len(LMBDAS)
        self.gain = nn.Parameter(torch.zeros(levels, M))  # in logarithms, like the three below
        self.inverse_gain = nn.Parameter(torch.zeros(levels, M))
        self.embedding_a = nn.Parameter(torch.zeros(levels, Z))
        self.embedding_s = nn.Parameter(torch.zeros(levels, 4 * Z))
        # largest activations in h_s, for its integer form; zeros until `finish` has measured them
        self.ranges = nn.Parameter(torch.zeros(2 * Z + M), requires_grad=False)
        self._tables: Tables | None = None
        self._integer_h_s: IntegerHyperSynthesis | None = None
        self._start_from_dct()

    @torch.no_grad()
    def _start_from_dct(self) -> None:
        filters = dct_filters(self.g_a.dct.out_channels)
        self.g_a.dct.weight.copy_(filters)
        self.g_s.idct.weight.copy_(filters)
        # at high rate the best step of a uniform quantiser is where 6 dB of distortion cost one bit
        steps = torch.tensor([math.sqrt(6 / (math.log(2) * lmbda * 255**2)) for lmbda in LMBDAS])
        self.gain.copy_(-steps.log()[:, None])
        self.inverse_gain.copy_(steps.log()[:, None])
        for name in ("g_a.dct.bias", "g_s.idct.bias"):
            nn.init.zeros_(self.get_parameter(name))
        for branch in (self.g_a.net, self.g_s.stem):  # the learned part starts at nothing
            for parameter in branch[-1].parameters():
                nn.init.zeros_(parameter)

    @torch.no_grad()
    def calibrate(self, x: Tensor) -> None:
        """Start the scales at every channel's measured spread, and the means at its mean."""
        y = self.g_a(x)
        spread = (y - y.mean((0, 2, 3), keepdim=True)).abs().mean((0, 2, 3)).clamp_min(1e-4)
        weight, bias = self.h_s.rest[-1].parameters()
        weight.mul_(0.1)
        bias.copy_(torch.cat([spread.log(), y.mean((0, 2, 3))]))

    @torch.no_grad()
    def finish(self, x: Tensor) -> None:
        """Measure the activations in h_s on pictures at all qualities; from then on h_s runs in integers."""
        peaks: list[Tensor] = []
        layers = [layer for layer in self.h_s.rest if isinstance(layer, nn.ReLU)]
        hooks = [layer.register_forward_hook(lambda *args: peaks.append(args[2].amax((0, 2, 3)))) for layer in layers]
        for quality in self.qualities:
            self(x, quality, "hard")
        for hook in hooks:
            hook.remove()
        measured = [torch.stack(peaks[i :: len(layers)]).amax(0) for i in range(len(layers))]
        self.ranges.copy_(1.1 * torch.cat(measured))

    def train(self, mode: bool = True) -> Lite:
        """Training changes the weights, so what was made from them is forgotten."""
        if mode:
            self._tables = self._integer_h_s = None
        return super().train(mode)

    def lmbda(self, quality: float) -> float:
        """Between two levels, the geometric interpolation."""
        position = min(max(quality - 1, 0.0), len(LMBDAS) - 1.0)
        low = min(int(position), len(LMBDAS) - 2)
        share = position - low
        return float(LMBDAS[low] ** (1 - share) * LMBDAS[low + 1] ** share)

    def at(self, table: Tensor, quality: Quality) -> Tensor:
        """Row(s) of a (levels, C) table at any quality, linearly interpolated: (1 or B, C, 1, 1)."""
        position = torch.as_tensor(quality, dtype=table.dtype, device=table.device).reshape(-1) - 1
        low = position.floor().clamp(0, table.shape[0] - 2).long()
        share = (position - low)[:, None]
        return torch.lerp(table[low], table[low + 1], share)[:, :, None, None]

    def analysis(self, x: Tensor, quality: Quality) -> Latents:
        y = self.g_a(x) * self.at(self.gain, quality).exp()
        compressed = y.sign() * y.abs().log1p()
        with full_precision(y):
            return Latents(y, self.h_a(compressed, self.at(self.embedding_a, quality)))

    def exact_scales_and_means(self, z_hat: Tensor, quality: float) -> tuple[Tensor, Tensor]:
        """h_s at this quality as it is coded: in integers where these weights have been prepared for it."""
        if not bool(self.ranges.any()):
            return self.scales_and_means(z_hat, quality)
        medians = self.entropy_bottleneck.quantiles[:, 0, 1].detach()
        if self._integer_h_s is None:
            convs = [layer for layer in (self.h_s.first, *self.h_s.rest) if isinstance(layer, nn.Conv2d)]
            Z, M = len(medians), self.g_a.dct.out_channels
            ranges = [part.double().cpu().numpy() for part in torch.split(self.ranges, [Z, Z, M])]
            self._integer_h_s = IntegerHyperSynthesis(convs, ranges, medians.double().cpu().numpy())
        embedding, log_gain = (self.at(table.double(), quality) for table in (self.embedding_s, self.gain))
        flat = (value.flatten().cpu().numpy() for value in (embedding, log_gain))  # (1, C, 1, 1) -> (C,)
        scales, means = self._integer_h_s(z_hat - medians.view(1, -1, 1, 1), *flat)
        return scales, means * log_gain.exp().to(means)

    def scales_and_means(self, z_hat: Tensor, quality: Quality) -> tuple[Tensor, Tensor]:
        """h_s at this quality in floats, differentiable: scales and means of y, each (B, M, h, w)."""
        with full_precision(z_hat):
            log_scales, means = self.h_s(z_hat, self.at(self.embedding_s, quality)).chunk(2, 1)
        gain = self.at(self.gain, quality)
        log_scales = (log_scales + gain).clamp(math.log(SCALES[0]), math.log(SCALES[-1]))
        return log_scales.exp(), means * gain.exp()

    def entropy(self, latents: Latents, quality: Quality, rounding: Rounding) -> Entropy:
        assert latents.z is not None
        z_hat, z_likelihoods = estimate_bottleneck(latents.z, self.entropy_bottleneck, rounding)
        if rounding == "hard" and not isinstance(quality, Tensor):
            scales, means = self.exact_scales_and_means(z_hat, quality)
        else:
            scales, means = self.scales_and_means(z_hat, quality)
        y_hat, y_likelihoods = estimate_gaussian(latents.y, scales, means, rounding)
        return Entropy(y_hat, {"y": y_likelihoods, "z": z_likelihoods}, z_hat)

    def synthesis(self, y_hat: Tensor, quality: Quality) -> Tensor:
        x_hat: Tensor = self.g_s(y_hat * self.at(self.inverse_gain, quality).exp())
        return x_hat

    def tables(self) -> Tables:
        """Integer tables of z, made once."""
        if self._tables is None:
            self._tables = bottleneck_tables(self.entropy_bottleneck)
        return self._tables

    def encode(self, latents: Latents, quality: float, coder: SymbolEncoder) -> Tensor:
        assert latents.z is not None
        z_hat = encode_bottleneck(latents.z, self.entropy_bottleneck, self.tables(), coder)
        return encode_gaussian(latents.y, *self.exact_scales_and_means(z_hat, quality), coder)

    def decode(self, size: tuple[int, int], quality: float, coder: SymbolDecoder) -> Tensor:
        shape = (size[0] // 64, size[1] // 64)
        z_hat = decode_bottleneck(shape, self.entropy_bottleneck, self.tables(), coder)
        return decode_gaussian(*self.exact_scales_and_means(z_hat, quality), coder)

    def adapter_layers(self, side: Side) -> dict[str, nn.Module]:
        root, module = ("g_a", self.g_a) if side == "encoder" else ("g_s", self.g_s)
        kinds = (nn.Linear, nn.Conv2d, nn.ConvTranspose2d)
        return {f"{root}.{name}": layer for name, layer in module.named_modules() if isinstance(layer, kinds)}

    def aux_loss(self) -> Tensor:
        loss: Tensor = self.entropy_bottleneck.loss()
        return loss


def load_lite(quality: float = 3.0, checkpoint: str | Path | None = None) -> Lite:
    """`lite` with the shipped weights, or with those of a checkpoint that `taskodec train` wrote."""
    from importlib.resources import as_file, files

    from taskodec.codecs.checkpoints import load_state

    codec = Lite()
    codec.check_quality(quality)
    if checkpoint is None:
        with as_file(files("taskodec.codecs") / "weights" / "lite.safetensors") as path:
            load_state(codec, path)
    else:
        load_state(codec, Path(checkpoint))
    return codec.eval()
