"""Hostile files of bytes: safetensors, checkpoints of torch, exported folders and label pictures, from valid ones."""

from __future__ import annotations

import hashlib
import io
import json
import random
import struct
import zipfile
import zlib
from collections.abc import Mapping
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import torch
from hostile_text import bad_bytes, changed
from PIL import Image, PngImagePlugin

__all__ = ["BINARIES", "Seeds"]

DTYPES = ("F8_E4M3", "F8_E5M2", "F16", "BF16", "F64", "I64", "I8", "U8", "BOOL", "C64", "F4", "F32", "x", "")


class Seeds:
    """The valid files that others are made from, in one folder."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    @cached_property
    def adapter(self) -> bytes:
        """An adapter's file."""
        return (self.folder / "adapter.safetensors").read_bytes()

    @cached_property
    def weights(self) -> bytes:
        """A codec's weights."""
        return (self.folder / "weights.safetensors").read_bytes()

    @cached_property
    def checkpoint(self) -> dict[str, Any]:
        """What the checkpoint of a training run holds."""
        found: dict[str, Any] = torch.load(self.folder / "checkpoint.pt", weights_only=True)
        return found

    @cached_property
    def exported(self) -> dict[str, bytes]:
        """The files of an exported codec."""
        return {path.name: path.read_bytes() for path in (self.folder / "exported").iterdir()}


def card(rng: random.Random, seeds: Seeds) -> dict[str, bytes]:
    """An adapter's file."""
    return {"adapter.safetensors": _safetensors(rng, seeds.adapter)}


def weights(rng: random.Random, seeds: Seeds) -> dict[str, bytes]:
    """A codec's weights, as safetensors or as torch saves them."""
    if rng.random() < 0.5:
        return {"weights.safetensors": _safetensors(rng, seeds.weights)}
    state = dict(seeds.checkpoint["codec"])
    for name in rng.sample(sorted(state), rng.choice((0, 1, 1, 4))):
        state[name] = _tensor(rng, state[name])
    if rng.random() < 0.3:
        state = {rng.choice(("state_dict", "model", 5)): state, "epoch": _tensor(rng, torch.ones(1))}
    return {"weights.pth": _saved(rng, state)}


def training(rng: random.Random, seeds: Seeds) -> dict[str, bytes]:
    """The checkpoint of a training run."""
    state: dict[str, Any] = {**seeds.checkpoint}
    name = rng.choice(sorted(state))
    kind = rng.random()
    if kind < 0.2:
        del state[name]
    elif kind < 0.4:
        state[name] = _tensor(rng, torch.ones(2))
    elif name in ("step", "seconds"):
        state[name] = rng.choice((-1, float("nan"), "x", None, 10**30, True, [1]))
    elif name in ("codec", "ema"):
        inner = rng.choice(sorted(state[name]))
        state[name] = {**state[name], inner: _tensor(rng, state[name][inner])}
    elif state[name]:
        moments = {key: dict(value) for key, value in state[name]["state"].items()}
        groups = changed(rng, state[name]["param_groups"]) if rng.random() < 0.5 else state[name]["param_groups"]
        if moments:
            one = rng.choice(sorted(moments))
            which = rng.choice(sorted(moments[one]))
            moments[one][which] = _tensor(rng, moments[one][which])
        state[name] = {"state": moments, "param_groups": groups}
    return {"checkpoint.pt": _saved(rng, state)}


def exported(rng: random.Random, seeds: Seeds) -> dict[str, bytes]:
    """An exported codec; its manifest mostly has the hashes of the files as they are then."""
    files = dict(seeds.exported)
    manifest = json.loads(files["manifest.json"])
    kind = rng.random()
    if kind < 0.3:
        manifest = changed(rng, manifest, rng.choice((0, 1, 1, 2)))
    elif kind < 0.6:
        files["tables.npz"] = bad_bytes(rng, _arrays(rng, files["tables.npz"]))
    else:
        name = rng.choice([name for name in files if name.endswith(".onnx")])
        files[name] = bad_bytes(rng, _graph(rng, files[name]))
    if isinstance(manifest, dict) and isinstance(manifest.get("files"), dict) and rng.random() < 0.95:
        for name, data in files.items():
            if isinstance(manifest["files"].get(name), dict):
                manifest["files"][name] |= {"bytes": len(data), "sha256": hashlib.sha256(data).hexdigest()}
    if rng.random() < 0.03:
        del files[rng.choice(sorted(files))]
    text = json.dumps(manifest).encode()
    files["manifest.json"] = bad_bytes(rng, text) if rng.random() < 0.2 else text
    return {f"exported/{name}": data for name, data in files.items()}


def label_picture(rng: random.Random, _: Seeds) -> dict[str, bytes]:
    """The classes of a picture's pixels."""
    size = rng.choice(((8, 6), (8, 6), (1, 1), (6, 8)))
    mode = rng.choice(("L", "L", "L", "P", "1", "RGB", "I;16", "RGBA", "LA"))
    info = PngImagePlugin.PngInfo()
    if rng.random() < 0.2:
        info.add_text("x", "y" * rng.choice((1, 10**7)), zip=True)
    buffer = io.BytesIO()
    Image.new(mode, size, rng.choice((0, 1))).save(buffer, rng.choice(("PNG", "PNG", "PNG", "GIF")), pnginfo=info)
    data = bytearray(buffer.getvalue())
    if rng.random() < 0.3 and data[:4] == b"\x89PNG":  # another head, with the right checksum
        head = struct.pack(">IIBBBBB", rng.choice((8, 2**31 - 1, 10**5, 0)), rng.choice((6, 2**20, 1)), 8, 0, 0, 0, 0)
        data[16:33] = head + struct.pack(">I", zlib.crc32(b"IHDR" + head))
    return {"semantic/a.png": bad_bytes(rng, bytes(data))}


def _safetensors(rng: random.Random, data: bytes) -> bytes:
    length = int.from_bytes(data[:8], "little")
    header, body = json.loads(data[8 : 8 + length]), data[8 + length :]
    kind = rng.random()
    metadata = header.get("__metadata__", {})
    if kind < 0.5 and "adapter" in metadata:
        part = rng.choice(("adapter", "card"))
        metadata[part] = json.dumps(changed(rng, json.loads(metadata[part])))
        if rng.random() < 0.1:
            metadata[part] = rng.choice(("[" * 10**5, "", "[]", "5", '{"a":' * 10**4, "NaN", "null"))
    elif kind < 0.65:
        header = changed(rng, header)
    else:
        entry = header[rng.choice([name for name in header if name != "__metadata__"])]
        entry["dtype"] = rng.choice(DTYPES) if rng.random() < 0.5 else entry["dtype"]
        if rng.random() < 0.5:
            entry["shape"] = changed(rng, entry["shape"])
        if rng.random() < 0.2:
            values = np.frombuffer(body, dtype=np.float32).copy()
            values[rng.randrange(len(values))] = rng.choice((np.nan, np.inf, 1e38))
            body = values.tobytes()
    text = json.dumps(header).encode()
    length = len(text) if rng.random() < 0.95 else rng.choice((0, 2**63 - 1, 2**40, len(text) + 9))
    return bad_bytes(rng, length.to_bytes(8, "little") + text + body)


def _tensor(rng: random.Random, like: torch.Tensor) -> Any:
    """Something in the place of a tensor."""
    real = like.float()
    made: Mapping[str, Any] = {
        "float8": lambda: real.to(torch.float8_e4m3fn),
        "complex": lambda: real.to(torch.complex64),
        "int": lambda: real.to(torch.int32),
        "bool": lambda: real > 0,
        "half": real.half,
        "sparse": real.to_sparse,
        "quantised": lambda: torch.quantize_per_tensor(real, 0.1, 0, torch.qint8),
        "nan": lambda: torch.full_like(real, float("nan")),
        "huge": lambda: torch.full_like(real, 1e38),
        "scaled": lambda: real * rng.choice((0, -1, 1e3, 1e9)),
        "claims": lambda: torch.zeros(1).expand(2**20, 2**20),
        "repeated": lambda: torch.zeros(1).expand(real.shape) if real.dim() else real,
        "other": lambda: torch.zeros(rng.choice(((), (0,), (3,), (1, 2, 3)))),
        "nested": lambda: {"x": {"y": [real]}},
        "list": lambda: [real, 1],
        "number": lambda: rng.choice((5, "x", None, 10**30, b"x")),
    }
    return made[rng.choice(sorted(made))]()


def _saved(rng: random.Random, state: Any) -> bytes:
    buffer = io.BytesIO()
    archive = rng.random() < 0.8
    torch.save(state, buffer, _use_new_zipfile_serialization=archive)
    if not archive or rng.random() > 0.03:
        return bad_bytes(rng, buffer.getvalue())
    bomb = io.BytesIO()
    with zipfile.ZipFile(buffer) as old, zipfile.ZipFile(bomb, "w", zipfile.ZIP_DEFLATED) as new:
        for info in old.infolist():
            data = old.read(info)
            new.writestr(info.filename, b"\0" * 10**8 if info.filename.endswith("/data/0") else data)
    return bomb.getvalue()


def _arrays(rng: random.Random, data: bytes) -> bytes:
    """The tables and arrays with some of another type, shape or value, or with a head that lies."""
    with np.load(io.BytesIO(data)) as file:
        arrays = {name: file[name] for name in file.files}
    parts = {}
    for name, array in arrays.items():
        buffer = io.BytesIO()
        np.lib.format.write_array(buffer, array)
        parts[name] = buffer.getvalue()
    for name in rng.sample(sorted(parts), rng.choice((1, 1, 2, 4))):
        parts[name] = _array(rng, arrays[name], parts[name])
        if rng.random() < 0.1:
            del parts[name]
    if rng.random() < 0.05:
        parts["unknown"] = b"\0" * 10**8
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED, compresslevel=1) as archive:
        for name, content in parts.items():
            archive.writestr(f"{name}.npy", content)
    return out.getvalue()


def _array(rng: random.Random, array: np.ndarray[Any, Any], content: bytes) -> bytes:
    kind = rng.random()
    if kind < 0.2:
        shape = rng.choice(("(800000000,)", "(-1,)", "()", "(2, 2, 2)", "(1,)", "('a',)", "(1e9,)", "x", "(" * 99))
        dtype = rng.choice(("<f4", "|O", "<i8", "<c16", "<f2", "|S9", "x", "<U4"))
        head = f"{{'descr': '{dtype}', 'fortran_order': False, 'shape': {shape}}}".encode().ljust(117) + b"\n"
        return b"\x93NUMPY\x01\x00" + struct.pack("<H", len(head)) + head + content[-rng.choice((0, 4, 64)) :]
    with np.errstate(all="ignore"):
        other = array.astype(rng.choice(("f4", "f8", "i4", "i8", "u1", "c8", "bool", "f2", "i2")))
        other = rng.choice((array, array, other))
        if kind < 0.5 and other.size:
            other = other.copy()
            flat = other.reshape(-1)  # any shape -> (n,)
            value = rng.choice((0, -1, 1, 2**15, 1e30, -1e30, float("nan"), float("inf"), 2**31 - 1))
            if other.dtype.kind == "f" or np.isfinite(value):
                flat[rng.randrange(other.size)] = np.array(value).astype(other.dtype)
        elif kind < 0.7:
            other = rng.choice(
                (other.reshape(-1)[:1], other[None], other.reshape(-1), np.repeat(other[None], 3, 0))
            )  # any
        elif kind < 0.75:
            other = np.zeros(rng.choice((10**7, 3)), dtype=other.dtype)
        elif kind < 0.9:
            other = other * rng.choice((2, -1, 100))
    buffer = io.BytesIO()
    np.lib.format.write_array(buffer, np.asarray(other), version=rng.choice(((1, 0), (2, 0), (3, 0))))
    return buffer.getvalue()


def _graph(rng: random.Random, data: bytes) -> bytes:
    """A graph with another weight, node, name or attribute."""
    model = onnx.load_model_from_string(data)
    graph = model.graph
    for _ in range(rng.choice((1, 1, 3))):
        kind = rng.randrange(9)
        node = rng.choice(graph.node)
        tensor = rng.choice(graph.initializer)
        if kind == 0:
            tensor.dims[:] = [rng.choice((0, 1, 2**31, -1, 7))] * rng.choice((1, len(tensor.dims)))
        elif kind == 1:
            tensor.raw_data = tensor.raw_data[: rng.randrange(len(tensor.raw_data) + 1)]
        elif kind == 2:
            node.op_type = rng.choice(
                ("Relu", "Conv", "Add", "Nope", "Transpose", "Exp", "Identity", "Shape", "NonZero")
            )
        elif kind == 3 and node.attribute:
            attribute = rng.choice(node.attribute)
            attribute.ints[:] = [rng.choice((0, -1, 1, 2, 2**31, 2**40))] * rng.choice((1, 2, 4))
        elif kind == 4:
            graph.node.remove(node)
        elif kind == 5:
            rng.choice(graph.output).name = rng.choice((node.output[0], "nope", graph.input[0].name))
        elif kind == 6:
            rng.choice(graph.input).name = "other"
        elif kind == 7:
            values = np.frombuffer(tensor.raw_data, dtype=np.uint8).copy()
            values[: rng.randrange(1, 16)] = rng.choice((0, 255, 127))
            tensor.raw_data = values.tobytes()
        else:
            tensor.data_location = onnx.TensorProto.EXTERNAL
            entry = tensor.external_data.add()
            entry.key, entry.value = "location", rng.choice(("/etc/passwd", "../x", "x"))
    found: bytes = model.SerializeToString()
    return found


BINARIES = {
    "adapters": card,
    "weights": weights,
    "training": training,
    "exported": exported,
    "label pictures": label_picture,
}
"""By kind, what makes its files by name."""
