"""The published weights of codecs, and of adapters for TIC, by name. Light: codecs find them here."""

from __future__ import annotations

from taskodec.files.weights import CHECKPOINT, WeightsFile

__all__ = ["COMPRESSAI", "TIC", "TIC_ADAPTERS", "WEIGHTS", "compressai_name"]

_TRANSTIC = "https://github.com/NYCU-MAPL/TransTIC/releases/download/v1.0"
_PAPER = "https://github.com/unkipark/CVPR2025_LoRA_comp/releases/download/v1.0"
_COMPRESSAI = "https://compressai.s3.amazonaws.com/models/v1"

TIC = {
    quality: WeightsFile(
        f"tic-q{quality}",
        f"{_TRANSTIC}/base_codec_{quality}.pth.tar",
        description=f"codec tic, quality {quality}: lambda {lmbda}, TransTIC's release v1.0",
        licence="none stated",
        instead=CHECKPOINT,
    )
    for quality, lmbda in zip((1, 2, 3, 4), (0.0018, 0.0035, 0.0067, 0.013), strict=True)
}
"""TIC for the eye, by quality. Their authors publish no hashes."""

TIC_ADAPTERS = {
    task: WeightsFile(
        f"tic-{task}",
        f"{_PAPER}/{archive}.zip",
        description=f"adapter of tic for {task}, qualities 1 to 4: Park et al. 2025, release v1.0",
        licence="Apache-2.0",
        saved_as=f"CVPR2025_LoRA_comp-{archive}.zip",
        instead="train one with `taskodec pretrain`",
    )
    for task, archive in (("cls", "cls"), ("det", "od"), ("seg", "is"), ("human", "hp"))
}
"""The paper's SVD-LoRA, an archive for each task. Their authors publish no hashes."""


_HASHES = {
    ("bmshj2018-factorized", "mse"): (
        "bmshj2018-factorized-prior",
        "446d5c7f 87279a02 5c6f152b 1ed4405a 866ba797 9b02ea3a 6dfd6734 5232faa3",
    ),
    ("bmshj2018-factorized", "ms-ssim"): (
        "bmshj2018-factorized-ms-ssim",
        "9781d705 4a584386 5352f123 4f91b847 b3a88897 ee028763 8c265a29 8811bd14",
    ),
    ("bmshj2018-hyperprior", "mse"): (
        "bmshj2018-hyperprior",
        "7eb97409 93677231 6d87be32 de1b779c f8b614e1 1ab9c41e 3804dcbd a583f0cf",
    ),
    ("bmshj2018-hyperprior", "ms-ssim"): (
        "bmshj2018-hyperprior-ms-ssim",
        "5cf249be 1ff60d1f 92dd7878 4377354e c34afc8d 3a6d8229 8747d3bc cc15b5f3",
    ),
    ("mbt2018-mean", "mse"): (
        "mbt2018-mean",
        "e522738d e54a039d 723404a8 6dba02a3 d504e8eb a19628ab d5d441d1 8089ae3e",
    ),
    ("mbt2018-mean", "ms-ssim"): (
        "mbt2018-mean-ms-ssim",
        "5bf9c0b6 e2a1bf3f 640ce819 12626c13 1be7f059 b83bf379 ddf9644c 0cc7b94f",
    ),
    ("mbt2018", "mse"): ("mbt2018", "3f36cd77 43b70cdd 22901978 456e2af9 b4a046dd 7052e5ea 8ba2bf82 dd0097aa"),
    ("mbt2018", "ms-ssim"): (
        "mbt2018-ms-ssim",
        "2878436b c41cb208 d0dd64e8 a120e037 9b30e3b7 f8b3626f 16e6ff50 0cb49d43",
    ),
    ("cheng2020-anchor", "mse"): ("cheng2020-anchor", "dad2ebff a29008eb e49be189 98b0b468 23852949 4c052b1a"),
    ("cheng2020-anchor", "ms-ssim"): (
        "cheng2020_anchor-ms-ssim",
        "20f521db c7ff5812 c23e22d5 0e658304 c0a95e77 f2dc1913",
    ),
    ("cheng2020-attn", "mse"): ("cheng2020_attn-mse", "465f2b64 e0805385 2d07bbdf f7b0ccf2 26c8920e 730501f2"),
    ("cheng2020-attn", "ms-ssim"): (
        "cheng2020_attn-ms-ssim",
        "c5381d91 5dad201d 5c9be841 8b2f647e 5ca1f34c 216423ec",
    ),
}
"""CompressAI's files by codec and metric: how their names begin, and the first digits of their hashes by quality."""

_VARIABLE = {
    "bmshj2018-hyperprior-vbr": "bmshj2018-hyperprior-mse-vbr-cddd26be",
    "mbt2018-mean-vbr": "mbt2018-mean-mse-vbr-45d095e9",
    "mbt2018-vbr": "mbt2018-mse-vbr-f12581a1",
}


def compressai_name(codec: str, metric: str, quality: int | None) -> str:
    """The name of CompressAI's weights; models of variable rate have one for all qualities."""
    parts = [codec, *([metric] if metric != "mse" else []), *([f"q{quality}"] if quality is not None else [])]
    return "-".join(parts)


def _compressai(codec: str, metric: str, quality: int | None, stem: str) -> WeightsFile:
    level = "all qualities" if quality is None else f"quality {quality}"
    return WeightsFile(
        compressai_name(codec, metric, quality),
        f"{_COMPRESSAI}/{stem}.pth.tar",
        stem.rpartition("-")[2],
        description=f"codec {codec}, {level}, trained for {metric}: CompressAI's",
        licence="BSD-3-Clause-Clear",
        instead=CHECKPOINT,
    )


_FIXED = [
    _compressai(codec, metric, quality, f"{start}-{quality}-{digits}")
    for (codec, metric), (start, hashes) in _HASHES.items()
    for quality, digits in enumerate(hashes.split(), start=1)
]
COMPRESSAI = {
    file.name: file for file in [*_FIXED, *(_compressai(name, "mse", None, stem) for name, stem in _VARIABLE.items())]
}
"""CompressAI's, by `compressai_name`."""

WEIGHTS = (*TIC.values(), *TIC_ADAPTERS.values(), *COMPRESSAI.values())
