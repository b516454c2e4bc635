"""Exported codecs without torch: decoding and encoding with numpy, onnxruntime and constriction alone."""

from __future__ import annotations

from taskodec.runtime.decoder import Decoder
from taskodec.runtime.encoder import Encoder

__all__ = ["Decoder", "Encoder"]
