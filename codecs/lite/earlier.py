"""The weights that `lite` came with before: what streams of them name, and where they are kept."""

from __future__ import annotations

from collections.abc import Mapping

from taskodec.contracts import EarlierWeights

__all__ = ["EARLIER"]

KEPT = "of taskodec's repository"

EARLIER: Mapping[str, EarlierWeights] = {
    "c023d005": EarlierWeights(
        "version 1 of lite's weights",
        "codecs/weights/lite-1/lite.safetensors",
        {
            "c94a661d": "codecs/weights/lite-1/lite-cls.safetensors",
            "bd0b51a0": "codecs/weights/lite-1/lite-cls-2.safetensors",
            "7a14b79b": "codecs/weights/lite-1/lite-det.safetensors",
            "3de83f7a": "codecs/weights/lite-1/lite-human.safetensors",
            "931cb8c5": "codecs/weights/lite-1/lite-semseg.safetensors",
        },
        KEPT,
    ),
}
"""By the codec's fingerprint; weights that are replaced get an entry here, and a folder below `codecs/weights/`."""
