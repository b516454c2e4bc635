"""Exported folders that are damaged, or whose parts do not go with each other, are refused by name."""

import hashlib
import io
import json
import shutil
from pathlib import Path

import numpy as np
import onnx
import pytest
import torch

from taskodec.codecs.lite.codec import Lite
from taskodec.errors import (
    TaskodecError,
    WeightsError,
)
from taskodec.export.folder import Form, export_codec
from taskodec.runtime import Decoder, Encoder

KNOTS = np.array([0, 0.5, 1, 2, 3, 4, 5, 6, 7], np.float32)
IMAGES = Path(__file__).parents[2] / "docs" / "images"


@pytest.mark.parametrize(
    ("file", "change", "message"),
    [
        ("manifest.json", lambda data: b"{", "no JSON"),
        ("manifest.json", lambda data: data.replace(b"taskodec-export-1", b"taskodec-export-9"), "format"),
        ("manifest.json", lambda data: data.replace(b"integer-checkerboard", b"unheard-of"), "recipe 'unheard-of'"),
        ("manifest.json", lambda data: data.replace(b'"stride"', b'"strides"'), "has .*strides"),
        ("manifest.json", lambda data: data.replace(b'"hyper.onnx"', b'"../hyper.onnx"'), "no file of an exported"),
        ("hyper.onnx", lambda data: data[:-1], "not the file"),
        ("tables.npz", lambda data: data[:-1] + b"x", "not the file"),
        ("context.onnx", None, "cannot be read"),
        ("manifest.json", None, "cannot be read"),
    ],
)
def test_a_damaged_folder_is_an_error(exported, tmp_path, file, change, message):
    copy = shutil.copytree(exported, tmp_path / "copy")
    path = copy / file
    path.unlink() if change is None else path.write_bytes(change(path.read_bytes()))
    with pytest.raises(WeightsError, match=message):
        Decoder(copy)


def test_a_graph_that_is_missing_is_named(exported, tmp_path):
    copy = shutil.copytree(exported, tmp_path / "copy")
    manifest = json.loads((copy / "manifest.json").read_text())
    del manifest["files"]["context.onnx"]
    (copy / "manifest.json").write_text(json.dumps(manifest))
    with pytest.raises(WeightsError, match="context"):
        Decoder(copy)


@pytest.fixture
def altered(exported, tmp_path):
    """A function from changes of the manifest and of files to a folder whose hashes are right."""

    def alter(manifest=None, **files):
        copy = shutil.copytree(exported, tmp_path / "copy")
        about = json.loads((copy / "manifest.json").read_text()) | (manifest or {})
        for name, change in files.items():
            path = copy / f"{name}.{'npz' if name == 'tables' else 'onnx'}"
            path.write_bytes(change(path.read_bytes()))
        for name in about["files"]:
            data = (copy / name).read_bytes()
            about["files"][name] = {"bytes": len(data), "sha256": hashlib.sha256(data).hexdigest()}
        (copy / "manifest.json").write_text(json.dumps(about))
        return copy

    return alter


@pytest.mark.parametrize(
    ("manifest", "words"),
    [
        ({"stride": 0}, "its stride is 0"),
        ({"groups": [2**31]}, "its groups is"),
        ({"groups": [5]}, "it has 46 singular_values, the manifest 5"),
        ({"stride": 96, "tiling": None}, "z_stride is 64, the stride 96 is no multiple of it"),
        ({"qualities": [1, 9]}, "has 9 levels, of qualities from 0 to 7, the manifest qualities from 1 to 9"),
        ({"files": {}}, "names no tables.npz"),
    ],
)
def test_manifests_that_do_not_go_with_the_rest(altered, manifest, words):
    with pytest.raises(WeightsError, match=words):
        Decoder(altered(manifest))


def arrays_with(**changes):
    """A change of the file of arrays: by name another array, or None for none."""

    def change(data):
        with np.load(io.BytesIO(data)) as file:
            arrays = {name: file[name] for name in file.files} | changes
        out = io.BytesIO()
        np.savez_compressed(out, **{name: array for name, array in arrays.items() if array is not None})
        return out.getvalue()

    return change


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"singular_values": None}, "no singular_values, which the adapter needs"),
        ({"y_exponents": None}, "no 'y_exponents', which its recipe needs"),
        ({"z_stride": np.array(0)}, "z_stride has values"),
        ({"z_stride": np.ones((2, 2), int)}, "expected whole numbers with 0 sides"),
        ({"embedding": np.zeros((9, 32), complex)}, "embedding is complex128"),
        ({"log_gain": np.full((9, 16), np.nan)}, "log_gain has values"),
        ({"log_gain": np.zeros((7, 16))}, "log_gain has 7 levels, and there are 9 knots"),
        ({"knots": None}, "has 9 levels, of qualities from 1 to 9, the manifest qualities from 0 to 7"),
        ({"knots": KNOTS[:-1]}, "has 9 levels, and there are 8 knots"),
        ({"knots": np.float32([3])}, "knots are .*, expected ascending qualities"),
        ({"knots": KNOTS[::-1]}, "knots are .*, expected ascending qualities"),
        ({"knots": KNOTS.round()}, "knots are .*, expected ascending qualities"),
        ({"knots": np.arange(9) * 1e-300}, "knots are .*, expected ascending qualities"),
        ({"knots": np.where(KNOTS == 2, np.nan, KNOTS)}, "knots has values that are not from 0 to 256"),
        ({"knots": KNOTS - 1}, "knots has values that are not from 0 to 256"),
        ({"knots": KNOTS + 0.25}, "of qualities from 0.25 to 7.25, the manifest qualities from 0 to 7"),
        ({"knots": np.arange(9)}, "knots is int64"),
        ({"knots": KNOTS[:, None]}, "expected real numbers with 1 sides"),
        ({"medians": np.zeros(2**26, np.float32)}, "medians has .* bytes, valid: up to"),
    ],
)
def test_arrays_that_cannot_be(altered, changes, words):
    with pytest.raises(WeightsError, match=words):
        Decoder(altered(tables=arrays_with(**changes)))


def test_folders_from_before_knots_have_levels_from_1(tmp_path, photo, written):
    torch.manual_seed(0)
    codec = Lite(M=16, N=24, D=20, stem=8, Z=8, F=12, C=8, levels=7).eval().requires_grad_(False)
    weights = (codec.g_s.stem[-1].weight, codec.context.last.weight, codec.h_s.last.weight)
    for parameter in (*weights, codec.embedding_s, codec.embedding_a):
        parameter.normal_(std=0.1)
    codec.finish(photo[..., :64, :64])
    export_codec(codec, None, tmp_path / "now", Form(encoder=True))
    with np.load(tmp_path / "now" / "tables.npz") as file:
        assert file["knots"].tolist() == [1, 2, 3, 4, 5, 6, 7]
    shutil.copytree(tmp_path / "now", tmp_path / "before")
    about = json.loads((tmp_path / "before" / "manifest.json").read_text())
    data = arrays_with(knots=None)((tmp_path / "before" / "tables.npz").read_bytes())
    (tmp_path / "before" / "tables.npz").write_bytes(data)
    about["files"]["tables.npz"] = {"bytes": len(data), "sha256": hashlib.sha256(data).hexdigest()}
    (tmp_path / "before" / "manifest.json").write_text(json.dumps(about))
    now, before = (Decoder(tmp_path / name) for name in ("now", "before"))
    pixels = (photo[0, :, :48, :64].permute(1, 2, 0).numpy() * 255).astype(np.uint8)
    encoders = [Encoder(tmp_path / name) for name in ("now", "before")]
    for quality in (1.0, 3.6875, 7.0):
        stream = written(photo, quality, adapter=None, codec=codec)
        assert np.array_equal(before.decode(stream), now.decode(stream))
        assert encoders[0].encode(pixels, quality) == encoders[1].encode(pixels, quality)


def test_arrays_that_do_not_go_with_the_graphs(altered, written, photo):
    folder = altered(tables=arrays_with(y_exponents=np.zeros(5, np.int32), log_gain=np.zeros((9, 5), np.float32)))
    with pytest.raises(WeightsError, match=r"graphs and arrays do not fit .*: export the codec again"):
        Decoder(folder).decode(written(photo, adapter=None))


def graph_with(change):
    """A change of a graph's model."""

    def altered(data):
        model = onnx.load_model_from_string(data)
        change(model.graph)
        return model.SerializeToString()

    return altered


def without_second_output(graph):
    del graph.output[1]


def as_doubles(graph):
    for output in graph.output:
        graph.node.add(op_type="Cast", input=[output.name], output=[f"{output.name}_64"]).attribute.add(
            name="to", type=onnx.AttributeProto.INT, i=onnx.TensorProto.DOUBLE
        )
        output.name += "_64"
        output.type.tensor_type.elem_type = onnx.TensorProto.DOUBLE


def not_a_number(graph):
    last = graph.output[0].name
    graph.node.add(op_type="Sub", input=[last, last], output=["zero"])
    graph.node.add(op_type="Div", input=["zero", "zero"], output=["nothing"])
    graph.output[0].name = "nothing"


def transposed(graph):
    last = graph.output[0].name
    graph.node.add(op_type="Transpose", input=[last], output=["turned"]).attribute.add(
        name="perm", type=onnx.AttributeProto.INTS, ints=[0, 2, 1, 3]
    )
    graph.output[0].name = "turned"
    graph.output[0].type.Clear()


@pytest.mark.parametrize(
    ("file", "change", "words"),
    [
        ("hyper", without_second_output, r"hyper\.onnx gives float32 .*, not 2 of finite float32"),
        ("hyper", as_doubles, r"hyper\.onnx gives float64"),
        ("hyper", not_a_number, r"hyper\.onnx gives .* not 2 of finite"),
        ("context", not_a_number, r"context\.onnx gives .* not 1 of finite"),
        ("synthesis", transposed, r"synthesis\.onnx gives \(1, 64, 3, 128\), needed \(1, 3, 64, 128\)"),
        ("context", transposed, "graphs and arrays do not fit|not those|checksum"),
    ],
)
def test_graphs_of_other_shapes_and_numbers(altered, written, photo, file, change, words):
    folder = altered(**{file: graph_with(change)})
    with pytest.raises(TaskodecError, match=words):
        Decoder(folder).decode(written(photo, adapter=None))


@pytest.mark.parametrize("change", [lambda data: b"", lambda data: b"x" * 99, lambda data: data[: len(data) // 2]])
def test_graphs_that_are_none(altered, change):
    with pytest.raises(WeightsError, match=r"hyper\.onnx cannot be loaded"):
        Decoder(altered(hyper=change))
