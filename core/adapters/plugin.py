"""The adapter methods that come with taskodec, registered through the public hooks."""

from __future__ import annotations

from collections.abc import Sequence

from taskodec.hooks.specs import AdapterSpec, hookimpl

__all__ = ["register_adapters"]


@hookimpl
def register_adapters() -> Sequence[AdapterSpec]:
    """SVD-LoRA and plain LoRA; torch is imported when one is built."""
    return (
        AdapterSpec(
            "svd-lora",
            "taskodec.adapters.lora:build_svd_lora",
            "low-rank updates U diag(S) Vᵀ; the decoder's singular values travel in the stream",
        ),
        AdapterSpec(
            "lora",
            "taskodec.adapters.lora:build_lora",
            "low-rank updates U Vᵀ; nothing travels, so tuning can use the encoder's side only",
        ),
        AdapterSpec(
            "file", "taskodec.adapters.files:adapter_from", "an adapter that `taskodec pretrain` wrote (options: path)"
        ),
    )
