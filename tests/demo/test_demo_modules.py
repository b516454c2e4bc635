"""The JavaScript of docs/demo against Python, in node: no browser, no package, no network."""

import base64
import io
import zlib
from dataclasses import asdict
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from taskodec.errors import StreamError
from taskodec.stream import delta, entropy, exact, spike_slab, tables
from taskodec.stream.bitstream import CODEC_IDS, Header, Stream
from taskodec.stream.entropy import SymbolDecoder, SymbolEncoder
from taskodec.stream.grids import grid
from taskodec.stream.tables import Tables

GAUSSIAN = Path(__file__).parents[2] / "core" / "stream" / "data" / "gaussian_tables.npz"


def b64(data):
    return base64.b64encode(bytes(data)).decode()


def random_tables(rng, rows):
    """Tables of all sizes, from two entries to a thousand."""
    sizes = [1, 2, 1000, *rng.integers(1, 40, max(rows - 3, 0))][:rows]
    return Tables.from_pmfs([rng.dirichlet(np.full(n, 0.5)) * 0.98 for n in sizes], rng.integers(-50, 50, rows))


class TestSymbols:
    """Range decoder, tables, escapes and checksum."""

    @pytest.mark.parametrize("seed", range(4))
    def test_symbols_of_all_kinds(self, seed, values):
        rng = np.random.default_rng(seed)
        made = [random_tables(rng, int(rng.integers(1, 30))) for _ in range(2)]
        encoder, calls, expected = SymbolEncoder(), [], []
        for n in (0, 1, 700, 3000):
            table = int(rng.integers(2))
            indexes = rng.integers(0, len(made[table].rows), n)
            near = made[table].offsets[indexes] + rng.integers(-2, 1 + made[table].lasts[indexes] + 2)
            wild = rng.integers(-(2**31), 2**31, n) >> rng.integers(0, 32, n)
            symbols = np.where(rng.random(n) < 0.02, wild, near)
            encoder.encode(symbols, indexes, made[table])
            calls.append({"indexes": indexes.tolist(), "table": table})
            expected.append(symbols.tolist())
            bits = int(rng.integers(0, 17))
            encoder.encode_uniform((1 << bits) - 1, bits)
            calls.append({"bits": bits})
            expected.append((1 << bits) - 1)
            long = rng.integers(0, 2**32, 5)
            encoder.encode_bits(long, 32)
            calls.append({"bits": 32, "count": 5})
            expected.append(long.tolist())
        plain = [{"rows": [row.tolist() for row in t.rows], "offsets": t.offsets.tolist()} for t in made]
        (found,) = values(("symbols", {"data": b64(encoder.getvalue()), "tables": plain, "calls": calls}))
        assert found == {"results": expected, "checksum": encoder.checksum}

    def test_any_bytes_give_the_symbols_or_the_error_that_python_gives(self, node):
        rng = np.random.default_rng(5)
        made = random_tables(rng, 9)
        plain = [{"rows": [row.tolist() for row in made.rows], "offsets": made.offsets.tolist()}]
        indexes = rng.integers(0, 9, 200)
        streams = [rng.bytes(n) for n in (0, 3, 8, 40, 120)] + [b"\xff" * n for n in (1, 4, 7, 8, 9, 64)]
        streams += [b"\xff" * 4 + rng.bytes(60) for _ in range(4)] + [bytes(60)]
        calls = [{"indexes": indexes.tolist(), "table": 0}, {"bits": 7}]
        checks = [("symbols", {"data": b64(data), "tables": plain, "calls": calls}) for data in streams]
        for data, result in zip(streams, node(*checks), strict=True):
            decoder = SymbolDecoder(data)
            try:
                expected = [decoder.decode(indexes, made).tolist(), decoder.decode_uniform(7)]
            except entropy.DamagedStreamError:
                assert result["error"] == "DamagedStreamError"
            else:
                assert result["value"]["results"] == expected
        assert {"error", "value"} <= {key for result in node(*checks) for key in result}

    def test_the_tables_of_the_format(self, values):
        ours = [tables.gaussian_tables(), tables.escape_table(), delta.gate_tables(), delta.value_tables()]
        ours += spike_slab.spike_slab_tables()
        (found,) = values(("fingerprints", {"gaussian": b64(GAUSSIAN.read_bytes())}))
        assert found == [b64(table.fingerprint) for table in ours]


class TestSingularValues:
    """Deltas, and the values themselves."""

    @pytest.mark.parametrize("step", [0, 1, 8, 31])
    def test_deltas(self, step, values):
        rng = np.random.default_rng(step)
        groups = [1, 16, 7, 16, 3]
        whole = rng.integers(-8, 9, sum(groups)) * np.repeat(rng.integers(0, 2, 5), groups)
        whole[0], whole[-1] = delta.LARGEST, -1
        encoder = SymbolEncoder()
        delta.encode_delta(whole, groups, step, encoder)
        (found,) = values(("delta", {"data": b64(encoder.getvalue()), "groups": groups}))
        assert found == {"values": whole.tolist(), "step": delta.STEPS[step]}

    def test_absolute_values(self, values):
        whole = np.array([0, 3, -72, 72, 73, -73, 8000, -9000, spike_slab.LARGEST, -spike_slab.LARGEST])
        encoder = SymbolEncoder()
        spike_slab.encode_absolute(whole, encoder)
        (found,) = values(("absolute", {"data": b64(encoder.getvalue()), "count": len(whole)}))
        assert found == whole.tolist()

    def test_impossible_ones_are_damage(self, node):
        encoder = SymbolEncoder()
        for value, bits in ((0, 5), (0, 3), (0, 4)):
            encoder.encode_uniform(value, bits)
        encoder.encode(np.array([2]), np.array([0]), delta.gate_tables())
        (found,) = node(("delta", {"data": b64(encoder.getvalue()), "groups": [4]}))
        assert (found["error"], "gate" in found["message"]) == ("DamagedStreamError", True)


class TestNumbers:
    """What must be the same on every machine."""

    def test_exp_is_rounded_as_in_python(self, values):
        rng = np.random.default_rng(0)
        x = np.concatenate([rng.normal(0, 3, 500), rng.normal(0, 1e-8, 50), [0.0, 1.0, -1.0, 20.5, -20.5, 1e-300, 600]])
        halves = [0.5, 1.5, 2.5, -0.5, -1.5, 1e9 + 0.5]
        levels = rng.normal(0, 2, (7, 5)).astype(np.float32)
        given = {"values": x.tolist(), "halves": halves, "levels": levels.reshape(-1).tolist(), "shape": [7, 5]}
        qualities, knots = (0.0, 0.4375, 0.5, 1.0, 4.3125, 5.0), [0, 0.5, 1, 2, 3, 4, 5]
        calls = (("exact", {**given, "quality": q, "knots": knots}) for q in qualities)
        for found, quality in zip(values(*calls), qualities, strict=True):
            assert found["exp"] == exact.exact_exp(x).tolist()
            assert found["rint"] == np.rint(halves).tolist()
            assert found["between"] == exact.between(levels.astype(np.float64), quality, knots).tolist()

    def test_levels_have_the_qualities_of_the_export_or_1_2_3(self, node):
        given = [(None, 3), ([0, 0.5, 7], 3), ([0, 1], 3), ([1, 1, 2], 3), ([2, 1], 2), ([1], 1)]
        found = node(*(("knots", {"knots": knots, "levels": levels}) for knots, levels in given))
        assert [one.get("value") for one in found[:2]] == [[1, 2, 3], [0, 0.5, 7]]
        assert [one.get("error") for one in found[2:]] == ["WeightsError"] * 4

    def test_biases(self, values):
        rng = np.random.default_rng(1)
        real, unit = rng.normal(0, 1, 300), rng.uniform(1e-6, 1, 300)
        shift, room = rng.integers(0, 20, 300), rng.uniform(1, 1e6, 300).round()
        given = {"real": real, "unit": unit, "shift": shift, "room": room}
        (found,) = values(("bias", {name: value.tolist() for name, value in given.items()}))
        assert found == exact.whole_bias(real, unit, shift, room).tolist()

    def test_tiles_lie_where_they_lie_in_python(self, values):
        sizes = [(512, 768), (64, 64), (4096, 8192), (128, 100032), (6400, 640), (2112, 1984)]
        given = [(size, 128, margin, limit) for size in sizes for margin in (100, 128) for limit in (2**18, 2**20)]
        names = ("size", "align", "margin", "limit")
        found = values(*(("grid", dict(zip(names, case, strict=True))) for case in given))
        for case, result in zip(given, found, strict=True):
            rows, columns = grid(*case)
            assert result == {"rows": [asdict(row) for row in rows], "columns": [asdict(column) for column in columns]}


class TestFiles:
    """Containers, archives of arrays, and pictures."""

    def test_headers(self, values):
        payload = b"payload"
        headers = [
            Header("lite", b"\1\2\3\4", 256, 1, 2.5, index_checksum=0xBEEF),
            Header("tic", bytes(4), 2**20, 3, 0.0625, b"abcd", True, metadata={"adapter": "é", "rank": 3}),
            Header("my-codec_2.x", bytes(4), 1, 1, 256.0, b"abcd", True, absolute=True),
            *(Header(name, bytes(4), 5, 7, 1.0) for name in CODEC_IDS),
        ]
        found = values(*(("stream", {"data": b64(Stream(header, payload).to_bytes())}) for header in headers))
        for header, result in zip(headers, found, strict=True):
            own = result["header"]
            adapter = header.adapter_fingerprint
            assert own["codec"] == header.codec
            assert own["codecFingerprint"] == header.codec_fingerprint.hex()
            assert own["adapterFingerprint"] == (None if adapter is None else adapter.hex())
            assert (own["width"], own["height"], own["quality"]) == (header.width, header.height, header.quality)
            assert (own["hasDelta"], own["absolute"]) == (header.has_delta, header.absolute)
            assert (own["indexChecksum"], own["metadata"]) == (header.index_checksum, header.metadata)
            assert own["bytes"] == Stream(header, payload).header_bytes
            assert result["payload"] == b64(payload)

    def test_damage_is_called_what_python_calls_it(self, node):
        whole = Stream(Header("lite", bytes(4), 640, 480, 3.0, b"abcd", metadata={"a": 1}), b"xyz" * 9).to_bytes()
        rng = np.random.default_rng(0)
        cases = [b"", b"T", b"PK\3\4", b"TK\2" + whole[3:], b"TK\1", *(whole[:n] for n in range(3, len(whole), 5))]
        for _ in range(300):  # a header of other bytes, with a CRC32 that fits
            body = bytearray(whole[:-4][: int(rng.integers(4, len(whole) - 4))])
            for _ in range(int(rng.integers(1, 4))):
                body[int(rng.integers(3, min(len(body), 40)))] = int(rng.integers(256))
            cases.append(bytes(body) + zlib.crc32(body).to_bytes(4, "little"))
        found = node(*(("stream", {"data": b64(data)}) for data in cases))
        expected = [self._error(data) for data in cases]
        assert [result.get("error") for result in found] == expected
        assert set(expected) == {"DamagedStreamError", "UnsupportedStreamError", None}

    def _error(self, data):
        try:
            Stream.from_bytes(data)
        except StreamError as error:
            return type(error).__name__
        return None

    @pytest.mark.parametrize("save", [np.savez, np.savez_compressed])
    def test_archives_of_arrays(self, save, values):
        kinds = ("u1", "i1", "<u2", "<i2", "<u4", "<i4", "<i8", "<u8", "<f4", "<f8")
        arrays = {f"a/{kind[-2:]}": np.arange(12).astype(kind).reshape(3, 4) for kind in kinds}
        arrays |= {"scalar": np.array(64), "empty": np.zeros((0, 3), np.float32), "long": np.arange(70000)}
        buffer = io.BytesIO()
        save(buffer, **arrays)
        (found,) = values(("npz", {"data": b64(buffer.getvalue())}))
        assert {name: np.array(value["data"]).tolist() for name, value in found.items()} == {
            name: value.reshape(-1).tolist() for name, value in arrays.items()
        }
        assert [tuple(value["shape"]) for value in found.values()] == [value.shape for value in arrays.values()]

    def test_damaged_archives(self, node):
        good = GAUSSIAN.read_bytes()
        bad = [good[:-30], b"", good[:200] + bytes(50) + good[250:]]
        assert [found.get("error") for found in node(*(("npz", {"data": b64(data)}) for data in bad))] == [
            "WeightsError"
        ] * 3

    @pytest.mark.parametrize("size", [(1, 1), (3, 5), (64, 33)])
    def test_pictures(self, size, values):
        pixels = np.random.default_rng(0).integers(0, 256, (*size, 3)).astype(np.uint8)
        (found,) = values(("png", {"pixels": b64(pixels.tobytes()), "width": size[1], "height": size[0]}))
        image = Image.open(io.BytesIO(base64.b64decode(found)))
        assert (image.mode, image.size) == ("RGB", size[::-1])
        assert np.array_equal(np.asarray(image), pixels)
