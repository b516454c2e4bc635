"""Streams decoded by the JavaScript of docs/demo, in node, with graphs that give what Python's gave."""

import base64
import json
from pathlib import Path

import numpy as np
import pytest

from taskodec.coding.singular_values import Absolute, Delta
from taskodec.runtime import Decoder
from taskodec.stream.bitstream import Header, Stream

GAUSSIAN = Path(__file__).parents[2] / "core" / "stream" / "data" / "gaussian_tables.npz"


def b64(data):
    return base64.b64encode(bytes(data)).decode()


@pytest.fixture(scope="module")
def decoder(exported):
    return Decoder(exported, threads=1, tile=2**20)


def played(decoder, data, exported, **options):
    """The check `latents` of a stream, with what Python's graphs gave; y_hat, pixels and inputs as Python has them."""
    recipe = decoder._read_latents.__self__
    outputs, asked = {}, []

    def recording(name, graph, names):
        def call(**inputs):
            results = graph(**inputs)
            outputs.setdefault(name, []).append(dict(zip(names, map(tensor, results), strict=True)))
            asked.append([name, {key: tensor(value) for key, value in inputs.items()}])
            return results

        return call

    graphs = recipe.hyper, recipe.context, decoder.synthesis
    recipe.hyper = recording("hyper", graphs[0], ("parameters", "features"))
    recipe.context = recording("context", graphs[1], ("correction",))
    decoder.synthesis = recording("synthesis", graphs[2], ("x_hat",))
    try:
        decoded = decoder.latents(data)
        pixels = decoder.decode(data)
    finally:
        recipe.hyper, recipe.context, decoder.synthesis = graphs
    first = {"hyper": outputs["hyper"][:1], "context": outputs["context"][:1], "synthesis": outputs["synthesis"]}
    files = {
        "manifest": json.loads((exported / "manifest.json").read_text()),
        "npz": b64((exported / "tables.npz").read_bytes()),
        "gaussian": b64(GAUSSIAN.read_bytes()),
    }
    return ("latents", {"data": b64(data), "graphs": first, "options": options, **files}), decoded, pixels, asked[2:]


def tensor(array):
    return {"data": b64(np.ascontiguousarray(array, dtype="<f4").tobytes()), "dims": list(array.shape)}


@pytest.mark.parametrize("size", [(64, 96), (33, 90), (1, 1)])
@pytest.mark.parametrize("kind", ["untuned", "pretrained", "tuned", "absolute"])
def test_streams_are_decoded_to_the_last_bit(decoder, exported, small_adapter, written, photo, size, kind, values):
    rng = np.random.default_rng(0)
    count = sum(small_adapter.delta_groups)
    own = small_adapter.singular_values()
    deltas = {
        "tuned": Delta(rng.integers(-8, 9, count).astype(np.int32), 9),
        "absolute": Absolute.of(own * 0 + 0.31, own),
    }
    checks, expected = [], []
    for quality in (0.0, 0.4375, 4.3125, 7.0):
        adapter = None if kind == "untuned" else small_adapter
        data = written(photo[:, :, : size[0], : size[1]], quality, adapter, deltas.get(kind))
        check, *rest = played(decoder, data, exported)
        checks.append(check)
        expected.append(rest)
    for found, (decoded, pixels, asked) in zip(values(*checks), expected, strict=True):
        assert found["yHat"] == tensor(decoded.y_hat)["data"]
        assert decoded.y_hat.any()
        assert found["singularValues"] == tensor(decoded.singular_values)["data"]
        assert found["pixels"] == b64(pixels.tobytes())
        for (name, ours), (same, theirs) in zip(found["asked"], asked, strict=True):
            assert name == same
            for key, value in theirs.items():
                if key != "gain":  # exp of floats, which only the picture depends on
                    assert ours[key] == value, (name, key)


def test_wild_latents_are_decoded_alike(decoder, exported, written, photo, values):
    data = written(photo * 1e4 - 3e3, adapter=None)
    check, decoded, pixels, _ = played(decoder, data, exported)
    (found,) = values(check)
    assert found["yHat"] == tensor(decoded.y_hat)["data"]
    assert found["pixels"] == b64(pixels.tobytes())


def test_large_pictures_are_made_of_the_same_tiles(exported, written, photo, values):
    tiled = Decoder(exported, threads=1, tile=384 * 384)
    x = photo.repeat(1, 1, 8, 8)[:, :, :460, :700]
    check, _, pixels, asked = played(tiled, written(x, adapter=None), exported, tile=384 * 384)
    (found,) = values(check)
    assert len(asked) > 4
    assert [inputs["y_hat"] for _, inputs in found["asked"][2:]] == [inputs["y_hat"] for _, inputs in asked[2:]]
    assert found["pixels"] == b64(pixels.tobytes())


def test_what_cannot_be_decoded_is_called_what_python_calls_it(decoder, exported, written, photo, node):
    good = written(photo, adapter=None)
    check, *_ = played(decoder, good, exported)

    def changed(**header):
        stream = Stream.from_bytes(good)
        return Stream(Header(**{**vars(stream.header), **header}), stream.payload).to_bytes()

    cases = [
        (good[:-1], {}, "DamagedStreamError"),
        (good, {"maxPixels": 6000}, "UnsupportedStreamError"),
        (changed(codec="tic"), {}, "MismatchError"),
        (changed(codec_fingerprint=b"abcd"), {}, "MismatchError"),
        (changed(adapter_fingerprint=b"abcd"), {}, "MismatchError"),
        (changed(index_checksum=Stream.from_bytes(good).header.index_checksum ^ 1), {}, "MismatchError"),
        (changed(quality=7.5), {}, "DamagedStreamError"),
    ]
    checks = [("latents", {**check[1], "data": b64(data), "options": options}) for data, options, _ in cases]
    assert [result.get("error") for result in node(*checks)] == [error for *_, error in cases]
