"""All that is used of CompressAI, imported without a warning that is none of our users' business.

CompressAI imports torch_geometric, which calls the deprecated `torch.jit.script` while it is imported. It is an extra
of taskodec: only the modules `compressai_*` of this package may import this one.
"""

from __future__ import annotations

import warnings

import torch

from taskodec.coding.bottleneck import EntropyBottleneck

with warnings.catch_warnings():
    warnings.filterwarnings("ignore", r".torch\.jit\.script. is deprecated", FutureWarning)
    from compressai import entropy_models, models, zoo
    from compressai.models import CompressionModel
    from compressai.ops import compute_padding
    from compressai.zoo import image, image_vbr
    from compressai.zoo.pretrained import rename_key

__all__ = [
    "CompressionModel",
    "compute_padding",
    "entropy_models",
    "image",
    "image_vbr",
    "models",
    "own_bottleneck",
    "rename_key",
    "zoo",
]


def own_bottleneck(theirs: entropy_models.EntropyBottleneck) -> EntropyBottleneck:
    """The same factorised prior as `taskodec.coding.priors` takes it."""
    with torch.random.fork_rng(devices=[]):
        own = EntropyBottleneck(
            theirs.channels, init_scale=theirs.init_scale, filters=theirs.filters, tail_mass=theirs.tail_mass
        )
    own.load_state_dict(theirs.state_dict())
    return own.train(theirs.training)
