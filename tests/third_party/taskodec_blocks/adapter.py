"""An adapter of another kind than low-rank: one factor for each channel that the decoder's last layer makes."""

import hashlib

import torch
from torch import nn

from taskodec import Adapter


class ColourGain(Adapter):
    """The layer's output times `1 + gain + delta`: `gain` is what both ends own, `delta` travels."""

    kind = "colour-gain"

    def __init__(self, layer_name, channels):
        super().__init__()
        self.layer_name = layer_name
        self.gain = nn.Parameter(torch.zeros(channels))
        self.delta = [None]  # in a list, so that it never becomes a parameter of this module
        self.handle = None

    def attach(self, codec):
        self.handle = codec.get_submodule(self.layer_name).register_forward_hook(self._scale)

    def detach(self):
        self.handle.remove()

    def adapter_params(self, part):
        return ["gain"] if part == "decoder" else []

    @property
    def delta_groups(self):
        return (len(self.gain),)

    def set_delta(self, delta):
        self.delta[0] = delta

    def fingerprint(self):
        return hashlib.sha256(self.gain.detach().cpu().numpy().tobytes()).digest()[:4]

    def changes_decoder(self):
        return bool(self.gain.detach().any())

    def _scale(self, layer, inputs, output):
        delta = 0 if self.delta[0] is None else self.delta[0]
        return output * (1 + self.gain + delta).view(1, -1, 1, 1)  # (C,) -> (1, C, 1, 1)


def build(codec):
    """For a codec whose last decoder layer is a convolution; not attached."""
    name, layer = list(codec.adapter_layers("decoder").items())[-1]
    return ColourGain(name, layer.out_channels)
