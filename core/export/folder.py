"""A codec's decoder, and its encoder, as a folder of ONNX graphs for `taskodec.runtime`: no torch on the device.

The singular values of an adapter's decoder side are an input of the synthesis, and the weights are made from them in
the graph. So one exported decoder serves every stream that is tuned for the adapter, and the untuned ones.
"""

from __future__ import annotations

import copy
import platform
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from importlib.metadata import version
from pathlib import Path
from typing import Any, cast

import numpy as np
import torch
from torch import Tensor, nn

from taskodec.adapters.lora import LowRankAdapter
from taskodec.adapters.lowrank import LowRank
from taskodec.adapters.modulation import modulate
from taskodec.coding.streams import codec_fingerprint
from taskodec.contracts import Adapter, Codec, ExportParts, Network
from taskodec.errors import UsageError
from taskodec.export.graphs import check_onnx, export_graph
from taskodec.export.precision import Precision, with_precision
from taskodec.isolation.ambient import in_clean_state
from taskodec.runtime.exported import Exported, Manifest, write_exported

__all__ = ["Form", "TunedSynthesis", "export_codec"]

ADAPTED = ("synthesis", "analysis")
"""The graphs that an adapter changes; all others are the same files whatever the adapter."""


class TunedSynthesis(nn.Module):
    """A synthesis whose adapted layers get their weights from packed singular values (n,), the last input.

    `W + (alpha / r) U diag(S) Vᵀ` is computed in the graph: measured cheaper than branches beside the layers.
    """

    def __init__(self, network: nn.Module, codec: Codec, adapter: LowRankAdapter) -> None:
        super().__init__()
        self.network = network
        self.branches = nn.ModuleList(adapter.branches("decoder").values())
        self.scaling = adapter.scaling
        self.ranks = [branch.rank for branch in adapter.branches("decoder").values()]
        found = {id(module): name for name, module in network.named_modules()}
        layers = codec.adapter_layers("decoder")
        self.weights = [f"{found[id(layers[name])]}.weight" for name in adapter.names["decoder"]]

    def forward(self, *inputs: Tensor) -> Tensor:
        parts = torch.split(inputs[-1], self.ranks)
        own = dict(self.network.named_parameters())
        tuned = {
            name: own[name] + cast(LowRank, branch).update(part, self.scaling)
            for name, branch, part in zip(self.weights, self.branches, parts, strict=True)
        }
        x_hat: Tensor = torch.func.functional_call(self.network, tuned, inputs[:-1])
        return x_hat


@dataclass(frozen=True)
class Form:
    """How to export: the ONNX opset, None for the exporter's; whether as an encoder too; how to store the synthesis.

    `metadata` is what streams must say of the adapter, if they need it untuned
    (`taskodec.api.loading.adapter_metadata`).
    """

    opset: int | None = None
    encoder: bool = False
    precision: Precision = "float32"
    metadata: Mapping[str, Any] = field(default_factory=dict)


@in_clean_state
@torch.no_grad()
def export_codec(codec: Codec, adapter: Adapter | None, folder: Path, form: Form = Form()) -> Manifest:
    """Write the decoder of this codec, for streams of this adapter too; returns the manifest.

    The adapter is not attached. UsageError for codecs and adapters that cannot be exported, or a missing package.
    """
    check_onnx()
    codec = codec.cpu().eval().requires_grad_(False)
    parts = codec.export_parts()
    about = None
    if form.encoder:
        parts, about = _with_encoder(parts, codec, adapter, form)
    if adapter is not None:
        parts = _with_adapter(parts, codec, adapter.cpu().requires_grad_(False))
    manifest = Manifest(
        codec=codec.name,
        codec_fingerprint=codec_fingerprint(codec).hex(),
        recipe=parts.recipe,
        stride=codec.stride,
        qualities=list(codec.qualities),
        continuous=codec.continuous,
        licence=parts.licence,
        tiling={"align": codec.tiling.align, "margin": codec.tiling.synthesis} if codec.tiling else None,
        adapter=adapter.kind if adapter else None,
        adapter_fingerprint=adapter.fingerprint().hex() if adapter else None,
        groups=list(adapter.delta_groups) if adapter else [],
        encode_with=dict(parts.encode_with),
        encoder=about,
        precision=form.precision,
        versions=_versions(),
    )
    graphs = {name: _graph(name, network, manifest, form.opset) for name, network in parts.networks.items()}
    graphs["synthesis"] = with_precision(graphs["synthesis"], form.precision)  # no other may differ by a bit
    manifest = replace(manifest, opset=_opset(graphs["synthesis"]))
    folder.mkdir(parents=True, exist_ok=True)
    return write_exported(folder, Exported(manifest, graphs, parts.tables, parts.arrays))


def _with_encoder(
    parts: ExportParts, codec: Codec, adapter: Adapter | None, form: Form
) -> tuple[ExportParts, dict[str, Any]]:
    """The parts with the encoder's, the adapter in its weights, and what the manifest says of the encoder."""
    encoder = parts.encoder
    if encoder is None:
        raise UsageError(f"codec {codec.name!r} is exported as a decoder only: leave --encoder out")
    networks = {**parts.networks, **encoder.networks}
    if adapter is not None:
        networks["analysis"] = replace(
            networks["analysis"], module=_adapted(networks["analysis"].module, codec, adapter)
        )
    needed = adapter is not None and adapter.changes_decoder()
    margin = codec.tiling.analysis if codec.tiling else None
    about = {"margin": margin, "adapter": needed, "metadata": dict(form.metadata) if needed else {}}
    return replace(parts, networks=networks, arrays={**parts.arrays, **encoder.arrays}), about


def _adapted(network: nn.Module, codec: Codec, adapter: Adapter) -> nn.Module:
    """A copy with the encoder's side of the adapter in its weights, which no stream changes."""
    layers = codec.adapter_layers("encoder")
    found = {id(module): name for name, module in network.named_modules()}
    adapted = copy.deepcopy(network)
    adapter = _low_rank(adapter)
    for name, update in adapter.updates().items():
        if name in layers:
            adapted.get_submodule(found[id(layers[name])]).get_parameter("weight").add_(update)
    if adapter.modulation is not None:
        modulate(adapted, found[id(codec.get_submodule(adapter.modulated))], adapter.modulation)
    return adapted


def _low_rank(adapter: Adapter) -> LowRankAdapter:
    if not isinstance(adapter, LowRankAdapter):
        raise UsageError(
            f"adapter {adapter.kind!r} cannot be exported: only adapters of low rank can be an input of a graph; "
            "export without it, for untuned streams"
        )
    return adapter


def _with_adapter(parts: ExportParts, codec: Codec, adapter: Adapter) -> ExportParts:
    """The parts with `singular_values` as another input of the synthesis."""
    adapter = _low_rank(adapter)
    plain = parts.networks["synthesis"]
    own = _singular_values(adapter)
    network = Network(
        TunedSynthesis(plain.module, codec, adapter), {**plain.inputs, "singular_values": own}, plain.outputs
    )
    arrays = {**parts.arrays, "singular_values": own.numpy().astype(np.float32)}
    return replace(parts, networks={**parts.networks, "synthesis": network}, arrays=arrays)


def _singular_values(adapter: LowRankAdapter) -> Tensor:
    """Those of all decoder layers, packed; ones where an adapter has none, so that zeros still switch it off."""
    branches = adapter.branches("decoder").values()
    if not branches:
        raise UsageError("the adapter has no layer in the decoder, so there is nothing of it to export")
    packed = [torch.ones(b.rank) if b.w_lora_S is None else b.w_lora_S.detach().cpu() for b in branches]
    return torch.cat(packed)


def _graph(name: str, network: Network, manifest: Manifest, opset: int | None) -> bytes:
    about = {
        "codec": manifest.codec,
        "codec_fingerprint": manifest.codec_fingerprint,
        "part": name,
        "licence": manifest.licence,
    }
    if manifest.adapter_fingerprint and name in ADAPTED:
        about["adapter_fingerprint"] = manifest.adapter_fingerprint
    inputs: Mapping[str, Any] = network.inputs
    names = (tuple(inputs), tuple(network.outputs))
    return export_graph(network.module.eval(), tuple(inputs.values()), names, opset=opset, metadata=about)


def _opset(graph: bytes) -> int:
    import onnx

    model = onnx.load_model_from_string(graph)
    return int(next(entry.version for entry in model.opset_import if entry.domain in ("", "ai.onnx")))


def _versions() -> dict[str, str]:
    packages = {name: version(name) for name in ("taskodec", "torch", "onnx", "onnxscript")}
    return {**packages, "python": platform.python_version()}
