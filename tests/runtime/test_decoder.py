import hashlib
import io
import json
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import onnx
import pytest
import torch

from taskodec.adapters.lora import attached, build_svd_lora
from taskodec.coding.singular_values import Absolute, Delta
from taskodec.coding.streams import decoded_picture, read_latents
from taskodec.errors import (
    DamagedStreamError,
    MismatchError,
    TaskodecError,
    UnsupportedStreamError,
    UsageError,
    WeightsError,
)
from taskodec.images.metrics import psnr
from taskodec.images.tensors import load_image, to_pil
from taskodec.runtime import Decoder
from taskodec.stream.bitstream import Stream

IMAGES = Path(__file__).parents[2] / "docs" / "images"

SCRIPT = """
import sys
for name in ("torch", "PIL", "typer", "onnx", "compressai", "pydantic", "safetensors", "rich", "yaml", "pluggy"):
    sys.modules[name] = None  # importing it fails
from taskodec.runtime import Decoder
import taskodec.runtime.cli
pixels = Decoder(sys.argv[1], threads=1).decode(open(sys.argv[2], "rb").read())
sys.stdout.buffer.write(pixels.tobytes())
"""


@pytest.fixture(scope="module")
def decoder(exported):
    return Decoder(exported)


def made_up_delta(adapter):
    values = np.random.default_rng(0).integers(-8, 9, sum(adapter.delta_groups))
    return Delta(values.astype(np.int32), 8)


def made_up_values(adapter):
    own = adapter.singular_values()
    return Absolute.of(torch.linspace(-0.5, 0.5, len(own)), own)


def by_torch(codec, adapter, data):
    """y_hat and the picture, as taskodec itself decodes the stream."""
    stream = Stream.from_bytes(data)
    header = stream.header
    y_hat, delta = read_latents(stream, codec, adapter)
    with torch.no_grad():
        if header.adapter_fingerprint is None:
            return y_hat, decoded_picture(codec, y_hat, header.quality, (header.height, header.width))
        with attached(adapter, codec):
            adapter.set_delta(delta.tensor(y_hat) if delta else None)
            x_hat = decoded_picture(codec, y_hat, header.quality, (header.height, header.width))
            adapter.set_delta(None)
            return y_hat, x_hat


@pytest.mark.parametrize("size", [(64, 96), (33, 90), (1, 1), (64, 17)])
@pytest.mark.parametrize("kind", ["untuned", "pretrained", "tuned"])
@pytest.mark.parametrize("quality", [1.0, 4.3125, 7.0])
def test_every_stream_is_decoded_as_by_torch(decoder, small_lite, small_adapter, written, photo, size, kind, quality):
    x = photo[:, :, : size[0], : size[1]]
    adapter = None if kind == "untuned" else small_adapter
    data = written(x, quality, adapter, made_up_delta(small_adapter) if kind == "tuned" else None)
    y_hat, x_hat = by_torch(small_lite, small_adapter, data)
    decoded = decoder.latents(data)
    assert np.array_equal(decoded.y_hat, y_hat.numpy())
    assert decoded.y_hat.any()
    assert psnr(torch.from_numpy(decoder.picture(decoded)), x_hat) > 90
    different = np.abs(decoder.decode(data).astype(int) - np.asarray(to_pil(x_hat)))
    assert different.max() <= 1


def test_the_singular_values_reach_the_picture(decoder, small_adapter, written, photo):
    streams = [
        written(photo, adapter=None),
        written(photo),
        written(photo, delta=made_up_delta(small_adapter)),
    ]
    pictures = [decoder.picture(decoder.latents(data)) for data in streams]
    for one, other in ((0, 1), (1, 2), (0, 2)):
        assert psnr(torch.from_numpy(pictures[one]), torch.from_numpy(pictures[other])) < 60


def test_singular_values_themselves_are_decoded_to_the_last_bit(decoder, small_lite, small_adapter, written, photo):
    data = written(photo, delta=made_up_values(small_adapter))
    decoded = decoder.latents(data)
    expected = small_adapter.singular_values() + made_up_values(small_adapter).tensor(torch.zeros(1))
    assert np.array_equal(decoded.singular_values, expected.numpy())
    y_hat, x_hat = by_torch(small_lite, small_adapter, data)
    assert np.array_equal(decoded.y_hat, y_hat.numpy())
    assert psnr(torch.from_numpy(decoder.picture(decoded)), x_hat) > 90


def test_tiles_make_the_same_picture(exported, decoder, small_adapter, written):
    x = load_image(IMAGES / "kodim23.png").x[:, :, :500, :700]
    data = written(x, delta=made_up_delta(small_adapter))
    tiled = Decoder(exported, tile=384 * 384)
    calls = []
    synthesis, tiled.synthesis = tiled.synthesis, lambda **inputs: calls.append(1) or synthesis(**inputs)
    decoded = decoder.latents(data)
    assert psnr(torch.from_numpy(tiled.picture(decoded)), torch.from_numpy(decoder.picture(decoded))) > 90
    assert len(calls) > 3


@pytest.mark.parametrize("jobs", [1, 2, 9])
def test_many_streams_come_in_their_order_and_few_at_a_time(decoder, written, photo, jobs):
    streams = [written(photo[:, :, : 8 * n], adapter=None) for n in range(1, 5)]
    taken = []

    def taking():
        for data in streams:
            taken.append(data)
            yield data

    for number, pixels in enumerate(decoder.decode_many(taking(), jobs)):
        assert np.array_equal(pixels, decoder.decode(streams[number]))
        assert len(taken) <= number + jobs
    assert number == 3


def test_a_damaged_one_of_many_streams_ends_them_where_it_is(decoder, written, photo):
    good = written(photo, adapter=None)
    pictures = decoder.decode_many([good, good[:-1], good], jobs=2)
    assert np.array_equal(next(pictures), decoder.decode(good))
    with pytest.raises(DamagedStreamError):
        next(pictures)


def test_wild_latents_are_decoded_alike(decoder, small_lite, written, photo):
    data = written(photo * 1e4 - 3e3, adapter=None)
    assert np.array_equal(decoder.latents(data).y_hat, by_torch(small_lite, None, data)[0].numpy())


def test_it_needs_neither_torch_nor_anything_else(exported, small_lite, small_adapter, written, photo, tmp_path):
    data = written(photo, delta=made_up_delta(small_adapter))
    (tmp_path / "in.tkd").write_bytes(data)
    call = [sys.executable, "-c", SCRIPT, exported, tmp_path / "in.tkd"]
    run = subprocess.run(call, check=True, capture_output=True, cwd=tmp_path)
    pixels = np.frombuffer(run.stdout, dtype=np.uint8).reshape(64, 96, 3)
    x_hat = by_torch(small_lite, small_adapter, data)[1]
    assert np.abs(pixels.astype(int) - np.asarray(to_pil(x_hat))).max() <= 1


def test_streams_of_others_are_refused(decoder, small_lite, written, photo):
    other = build_svd_lora(small_lite, rank=3, seed=1)
    for branch in other.branches("decoder").values():
        branch.w_lora_S.data.fill_(0.1)
    with pytest.raises(MismatchError, match=f"adapter {other.fingerprint().hex()}.*export the codec with"):
        decoder.decode(written(photo, adapter=other.requires_grad_(False)))
    changed = type(small_lite)(M=16, N=24, D=20, stem=8, Z=8, C=8).eval().requires_grad_(False)
    changed.load_state_dict(small_lite.state_dict())
    changed.g_s.idct.bias.add_(1e-3)
    with pytest.raises(MismatchError, match="made with weights"):
        decoder.decode(written(photo, adapter=None, codec=changed))


def test_damaged_and_huge_streams_are_refused(exported, decoder, written, photo):
    data = written(photo, adapter=None)
    with pytest.raises(DamagedStreamError):
        decoder.decode(data[:-6])
    with pytest.raises(UnsupportedStreamError, match="max_pixels"):
        Decoder(exported, max_pixels=6000).decode(data)


def test_a_provider_that_is_not_here(exported):
    with pytest.raises(UsageError, match=r"no NoProvider; valid: .*CPUExecutionProvider"):
        Decoder(exported, providers=["NoProvider"])


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
        ({"qualities": [1, 9]}, "has 7 levels, the manifest qualities from 1 to 9"),
        ({"qualities": [0.5, 2]}, "qualities from 0.5 to 2"),
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
        ({"embedding": np.zeros((7, 32), complex)}, "embedding is complex128"),
        ({"log_gain": np.full((7, 16), np.nan)}, "log_gain has values"),
        ({"medians": np.zeros(2**26, np.float32)}, "medians has .* bytes, valid: up to"),
    ],
)
def test_arrays_that_cannot_be(altered, changes, words):
    with pytest.raises(WeightsError, match=words):
        Decoder(altered(tables=arrays_with(**changes)))


def test_arrays_that_do_not_go_with_the_graphs(altered, written, photo):
    folder = altered(tables=arrays_with(y_exponents=np.zeros(5, np.int32), log_gain=np.zeros((7, 5), np.float32)))
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
