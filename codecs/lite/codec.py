"""`lite`: the default codec, small enough for a CPU and variable in rate.

A linear 16×16 transform that starts as a DCT carries the signal; a Swin network beside it, whose last layer
starts at zero, learns what the DCT cannot do. One model codes at every quality through gains per channel
(Cui et al. 2021, section 3.1, arXiv:2003.02012). Half of y is predicted by the hyper-synthesis, the other half by a
context model as well (`taskodec.codecs.lite.checkerboard`). Both are convolutions and ReLU only and speak in
logarithms; they code in integers, so that no two machines disagree (`taskodec.codecs.lite.integer`).
"""

from __future__ import annotations

import math
from bisect import bisect_right
from collections.abc import Mapping

import torch
from torch import Tensor, nn

from taskodec.codecs.lite.checkerboard import (
    Prediction,
    decode_checkerboard,
    encode_checkerboard,
    estimate_checkerboard,
)
from taskodec.codecs.lite.dct import dct_filters
from taskodec.codecs.lite.earlier import EARLIER
from taskodec.codecs.lite.export import lite_encoder_parts, lite_parts
from taskodec.codecs.lite.prediction import FloatPrediction, IntegerPredictor, double
from taskodec.codecs.lite.transforms import (
    Analysis,
    Context,
    HyperAnalysis,
    HyperSynthesis,
    Synthesis,
    compressed,
    full_precision,
)
from taskodec.coding.bottleneck import EntropyBottleneck
from taskodec.coding.priors import bottleneck_tables, decode_bottleneck, encode_bottleneck, estimate_bottleneck
from taskodec.contracts import UNKNOWN_LICENCE, Codec, Entropy, ExportParts, Latents, Quality, Rounding, Side, Tiling
from taskodec.errors import UsageError
from taskodec.stream.entropy import SymbolDecoder, SymbolEncoder, Tables
from taskodec.stream.exact import between

__all__ = ["LEVELS", "Lite"]

LEVELS = {
    0.0: 0.00022,
    0.5: 0.00045,
    1.0: 0.0009,
    2.0: 0.0018,
    3.0: 0.0035,
    4.0: 0.0067,
    5.0: 0.013,
    6.0: 0.025,
    7.0: 0.0483,
}
"""Trade-off of each quality that has gains of its own; from quality 2 on those of CompressAI's first six."""


class Lite(Codec):
    """The default codec; see the module's docstring.

    M, N, D: channels of y, at 1/8 and at 1/16; stem: at 1/4; Z: of z; F: of what h_s tells the context model, C: hidden
    ones there; depth: Swin blocks a stage; levels: those of `LEVELS`, from the top.
    """

    name = "lite"
    stride = 64
    continuous = True
    latents_layer = "coded"
    earlier = EARLIER
    weights_format = 2  # 1: levels 1 to 7, and as many channels of y as features
    tiling = Tiling(align=128, analysis=256, synthesis=128)  # exact for a depth of 2; docs/large_images.md

    def __init__(
        self,
        *,
        M: int = 320,
        N: int = 120,
        D: int = 180,
        stem: int = 64,
        Z: int = 96,
        F: int = 192,
        C: int = 96,
        depth: int = 2,
        levels: int = len(LEVELS),
    ) -> None:
        super().__init__()
        self.qualities = tuple(LEVELS)[-levels:]
        self.lmbdas = tuple(LEVELS[q] for q in self.qualities)
        self.g_a = Analysis(M, N, D, stem, depth)
        self.coded = nn.Identity()  # y as it is coded, for what adapters make of it
        self.g_s = Synthesis(M, N, D, stem, depth)
        self.h_a = HyperAnalysis(M, Z)
        self.h_s = HyperSynthesis(M, Z, Z, F)
        self.context = Context(M, F, C)
        self.entropy_bottleneck = EntropyBottleneck(Z, init_scale=4)
        self.knots: Tensor
        self.register_buffer("knots", torch.tensor(self.qualities), persistent=False)
        self.gain = nn.Parameter(torch.zeros(levels, M))  # in logarithms, like the three below
        self.inverse_gain = nn.Parameter(torch.zeros(levels, M))
        self.embedding_a = nn.Parameter(torch.zeros(levels, Z))
        self.embedding_s = nn.Parameter(torch.zeros(levels, 4 * Z))
        # largest activations for the integer form, as it wants them; zeros until `finish` has measured them
        self.range_sizes = (Z, Z, F, C, M)
        self.ranges: Tensor
        self.register_buffer("ranges", torch.zeros(sum(self.range_sizes)))
        self.licence = UNKNOWN_LICENCE
        self._tables: Tables | None = None
        self._predictor: IntegerPredictor | None = None
        self.register_load_state_dict_post_hook(_forget)  # type: ignore[no-untyped-call]
        self._start_from_dct()

    @torch.no_grad()
    def _start_from_dct(self) -> None:
        filters = dct_filters(self.g_a.dct.out_channels)
        self.g_a.dct.weight.copy_(filters)
        self.g_s.idct.weight.copy_(filters)
        # at high rate the best step of a uniform quantiser is where 6 dB of distortion cost one bit
        steps = torch.tensor([math.sqrt(6 / (math.log(2) * lmbda * 255**2)) for lmbda in self.lmbdas])
        self.gain.copy_(-steps.log()[:, None])
        self.inverse_gain.copy_(steps.log()[:, None])
        for name in ("g_a.dct.bias", "g_s.idct.bias"):
            nn.init.zeros_(self.get_parameter(name))
        for layer in (self.g_a.net[-1], self.g_s.stem[-1], self.context.last):  # the learned part starts at nothing
            for parameter in layer.parameters():
                nn.init.zeros_(parameter)

    @torch.no_grad()
    def calibrate(self, x: Tensor) -> None:
        """Start the scales at every channel's measured spread, and the means at its mean."""
        y = self.g_a(x)
        spread = (y - y.mean((0, 2, 3), keepdim=True)).abs().mean((0, 2, 3)).clamp_min(1e-4)
        weight, bias = self.h_s.last.parameters()
        weight.mul_(0.1)
        bias.copy_(torch.cat([spread.log(), y.mean((0, 2, 3))]))

    @torch.no_grad()
    def finish(self, x: Tensor) -> None:
        """Measure the activations on pictures at all qualities; from then on y is coded by integers."""
        self.ranges.zero_()  # what was measured before belongs to other weights
        _forget(self)
        relus = [layer for layer in (*self.h_s.body, self.context.relu) if isinstance(layer, nn.ReLU)]
        hooks, seen = [], [list[Tensor]() for _ in self.range_sizes]
        for layer, peaks in zip((*relus, self.context.seen), seen, strict=True):
            hooks.append(layer.register_forward_hook(lambda *args, to=peaks: to.append(args[2].abs().amax((0, 2, 3)))))
        for quality in self.qualities:
            self(x, quality, "hard")
        for hook in hooks:
            hook.remove()
        self.ranges.copy_(1.1 * torch.cat([torch.stack(peaks).amax(0) for peaks in seen]))
        _forget(self)

    def train(self, mode: bool = True) -> Lite:
        """Training changes the weights, so what was made from them is forgotten."""
        if mode:
            _forget(self)
        return super().train(mode)

    def lmbda(self, quality: float) -> float:
        """Between two levels, the geometric interpolation."""
        at = min(max(quality, self.qualities[0]), self.qualities[-1])
        low = min(bisect_right(self.qualities, at), len(self.qualities) - 1) - 1
        share = (at - self.qualities[low]) / (self.qualities[low + 1] - self.qualities[low])
        return float(self.lmbdas[low] ** (1 - share) * self.lmbdas[low + 1] ** share)

    def at(self, table: Tensor, quality: Quality) -> Tensor:
        """Row(s) of a (levels, C) table at any quality, linearly interpolated: (1 or B, C, 1, 1)."""
        at = torch.as_tensor(quality, dtype=table.dtype, device=table.device).reshape(-1)
        low = (torch.bucketize(at, self.knots, right=True) - 1).clamp(0, table.shape[0] - 2)
        share = ((at - self.knots[low]) / (self.knots[low + 1] - self.knots[low]))[:, None]
        return torch.lerp(table[low], table[low + 1], share)[:, :, None, None]

    def analysis(self, x: Tensor, quality: Quality) -> Latents:
        y = self.coded(self.g_a(x) * self.at(self.gain, quality).exp())
        with full_precision(y):
            return Latents(y, self.h_a(compressed(y), self.at(self.embedding_a, quality)))

    def exact_prediction(self, z_hat: Tensor, quality: float) -> Prediction:
        """Scales and means of y as they are coded: by integers where these weights have been prepared for it."""
        if not bool(self.ranges.any()):
            return self.prediction(z_hat, quality)
        embedding, log_gain = (
            between(double(table), quality, self.qualities) for table in (self.embedding_s, self.gain)
        )
        return self.predictor()(z_hat - self.medians().view(1, -1, 1, 1), embedding, log_gain)

    def predictor(self) -> IntegerPredictor:
        """h_s and the context model in integers, made once."""
        if self._predictor is None:
            self._predictor = IntegerPredictor(self.h_s, self.context, self.ranges, self.range_sizes, self.medians())
        return self._predictor

    def medians(self) -> Tensor:
        """What is added to the symbols of z, (Z,)."""
        medians: Tensor = self.entropy_bottleneck.quantiles[:, 0, 1].detach()
        return medians

    def coding_networks(self) -> Mapping[str, nn.Module]:
        if not bool(self.ranges.any()):
            return {"h_s": self.h_s, "context": self.context}
        return {"h_s": self.predictor().h_s, "context": self.predictor().context}

    def export_parts(self) -> ExportParts:
        if not bool(self.ranges.any()):
            raise UsageError(
                "these weights of 'lite' cannot be exported: their training has not ended, so they code in floats; end "
                "the run with `taskodec train --resume`"
            )
        encoder = lite_encoder_parts(self.g_a, self.coded, self.h_a, self.medians(), self.gain, self.embedding_a)
        levels = (self.gain, self.inverse_gain, self.embedding_s)
        return lite_parts(self.g_s, self.predictor(), self.tables(), levels, self.qualities, self.licence, encoder)

    def prediction(self, z_hat: Tensor, quality: Quality) -> Prediction:
        """Scales and means of y in floats, differentiable."""
        embedding, log_gain = (self.at(table, quality) for table in (self.embedding_s, self.gain))
        return FloatPrediction(self.h_s, self.context, z_hat, embedding, log_gain)

    def entropy(self, latents: Latents, quality: Quality, rounding: Rounding) -> Entropy:
        assert latents.z is not None
        z_hat, z_likelihoods = estimate_bottleneck(latents.z, self.entropy_bottleneck, rounding)
        if rounding == "hard" and not isinstance(quality, Tensor):
            prediction = self.exact_prediction(z_hat, quality)
        else:
            prediction = self.prediction(z_hat, quality)
        y_hat, y_likelihoods = estimate_checkerboard(latents.y, prediction, rounding)
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
        return encode_checkerboard(latents.y, self.exact_prediction(z_hat, quality), coder)

    def decode(self, size: tuple[int, int], quality: float, coder: SymbolDecoder) -> Tensor:
        shape = (size[0] // 64, size[1] // 64)
        z_hat = decode_bottleneck(shape, self.entropy_bottleneck, self.tables(), coder)
        return decode_checkerboard(self.exact_prediction(z_hat, quality), coder)

    def adapter_layers(self, side: Side) -> dict[str, nn.Module]:
        root, module = ("g_a", self.g_a) if side == "encoder" else ("g_s", self.g_s)
        kinds = (nn.Linear, nn.Conv2d, nn.ConvTranspose2d)
        return {f"{root}.{name}": layer for name, layer in module.named_modules() if isinstance(layer, kinds)}

    def aux_loss(self) -> Tensor:
        return self.entropy_bottleneck.loss()


def _forget(codec: Lite, *_: object) -> None:
    """Drop what was made from weights that are no longer there."""
    codec._tables = codec._predictor = None
