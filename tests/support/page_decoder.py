"""A decoder of `lite` that was written from docs/cpp.md and docs/bitstream.md alone: nothing of taskodec is imported.

Plain Python with numpy, zlib and onnxruntime. Slow, and meant to be read beside the page.
"""

import bisect
import hashlib
import json
import math
import zlib
from dataclasses import dataclass
from decimal import Decimal, localcontext
from itertools import accumulate
from pathlib import Path

import numpy as np
import onnxruntime

LOG_FIRST, LOG_UNIT = -2.2072749131897207, 0.007690924958005241
GATES = (1, 4, 8, 16, 32, 48, 56, 63)
RATIOS = (8, 24, 44, 66, 89, 111, 133, 153, 171, 187, 201, 212, 222, 230, 242, 250)


class Range:
    """The range decoder, and the checksum of all calls."""

    def __init__(self, payload):
        self.payload, self.place, self.checksum = payload, 8, 0
        self.offset, self.width = int.from_bytes(payload[:8].ljust(8, b"\0"), "big"), 2**64 - 1

    def entry(self, left):
        unit = self.width >> 24
        place = bisect.bisect_right(left, self.offset // unit) - 1
        assert place < len(left) - 1, "the stream is damaged"
        self.offset -= unit * left[place]
        self.width = unit * (left[place + 1] - left[place])
        if self.width < 2**32:
            more = self.payload[self.place : self.place + 4].ljust(4, b"\0")
            self.offset, self.width = self.offset << 32 | int.from_bytes(more, "big"), self.width << 32
            self.place += 4
        return place

    def uniform(self, bits):
        if bits > 16:
            low = self.uniform(16)
            return low | self.uniform(bits - 16) << 16
        return self.entry([i << (24 - bits) for i in range(2**bits + 1)]) if bits else 0

    def call(self, indexes, tables, seen):
        flat = indexes.reshape(-1).tolist()  # any shape -> (n,)
        if flat:
            if tables.fingerprint not in seen:
                seen.add(tables.fingerprint)
                self.checksum = zlib.crc32(tables.fingerprint, self.checksum)
            self.checksum = zlib.crc32(np.array(flat, dtype="<u2").tobytes(), self.checksum)
        entries = [0] * len(flat)
        for row in sorted(set(flat)):
            for place in [place for place, own in enumerate(flat) if own == row]:
                entries[place] = self.entry(tables.left[row])
        symbols = [tables.first[row] + entry for row, entry in zip(flat, entries, strict=True)]
        escaped = [place for place, row in enumerate(flat) if entries[place] == len(tables.rows[row]) - 1]
        classes = [self.entry(ESCAPES.left[0]) for _ in escaped]
        distances = dict.fromkeys(range(len(escaped)), 0)
        for k in sorted({number // 2 for number in classes}):
            own = [i for i, number in enumerate(classes) if number // 2 == k]
            low = [self.uniform(min(k, 16)) for _ in own]
            high = [self.uniform(k - 16) for _ in own] if k > 16 else [0] * len(own)
            distances |= {i: 2**k + a + (b << 16) for i, a, b in zip(own, low, high, strict=True)}
        for i, place in enumerate(escaped):
            row, first = tables.rows[flat[place]], tables.first[flat[place]]
            last = first + len(row) - 2
            symbols[place] = last + distances[i] if classes[i] % 2 else first - distances[i]
        return np.array(symbols, dtype=np.int64).reshape(indexes.shape)


class Tables:
    """Rows of counts with the symbol of each first entry; `left` are the edges of the range coder."""

    def __init__(self, rows, first):
        self.rows, self.first = rows, first
        self.left = []
        for row in rows:
            sums = list(accumulate([0, *row[:-1]]))
            self.left.append([(2**24 - len(row)) * before // 2**16 + i for i, before in enumerate(sums)] + [2**24])
        digest = hashlib.sha256(np.array(first, dtype="<i8").tobytes())
        for row in rows:
            digest.update(len(row).to_bytes(4, "little") + np.array(row, dtype="<u2").tobytes())
        self.fingerprint = digest.digest()[:8]

    @classmethod
    def stored(cls, lengths, counts, first):
        rows = np.split(counts.astype(np.int64), np.cumsum(lengths.astype(np.int64))[:-1])
        return cls([row.tolist() for row in rows], [int(value) for value in first])


def from_probabilities(pmf):
    """Counts from probabilities, as the specification of the stream has it."""
    weights = [*pmf, max(0.0, 1 - math.fsum(pmf))]
    small = [False] * len(weights)
    while True:
        share = (2**16 - sum(small)) / math.fsum(w for w, s in zip(weights, small, strict=True) if not s)
        more = [s or w * share < 1 for w, s in zip(weights, small, strict=True)]
        if more == small:
            break
        small = more
    shares = [1.0 if s else w * share for w, s in zip(weights, small, strict=True)]
    counts = [math.floor(value) for value in shares]
    order = sorted(range(len(counts)), key=lambda i: counts[i] - shares[i])
    for i in order[: 2**16 - sum(counts)]:
        counts[i] += 1
    return counts


def by_weight(weights):
    spare = 2**16 - len(weights) - 1
    counts = [1 + spare * weight // sum(weights) for weight in weights]
    counts[counts.index(max(counts))] += 2**16 - 1 - sum(counts)
    return [*counts, 1]


def geometric(ratio):
    side = [2**32]
    while len(side) < 512 and (side[-1] * ratio // 256) * 2**16 // 2 > sum(side):
        side.append(side[-1] * ratio // 256)
    return by_weight([*side[:0:-1], *side])


ESCAPES = Tables([from_probabilities([2.0 ** -(k + 2) for k in range(33) for _ in range(2)])], [0])
GATE_TABLES = Tables([[2**16 - 1024 * p - 1, 1024 * p, 1] for p in GATES], [0] * len(GATES))
VALUE_ROWS = [geometric(ratio) for ratio in RATIOS]
VALUE_TABLES = Tables(VALUE_ROWS, [-(len(row) // 2 - 1) for row in VALUE_ROWS])


@dataclass
class Header:
    """What stands before the payload, and the payload."""

    flags: int
    codec: str
    fingerprint: str
    adapter: str | None
    width: int
    height: int
    quality: float
    checksum: int
    payload: bytes


def parse(data):
    assert data[:3] == b"TK\x01"
    assert zlib.crc32(data[:-4]) == int.from_bytes(data[-4:], "little")
    place = 3

    def take(count):
        nonlocal place
        place += count
        return data[place - count : place]

    def varint():
        value, shift = 0, 0
        while True:
            (byte,) = take(1)
            value |= (byte & 127) << shift
            shift += 7
            if byte < 128:
                return value

    flags, number = take(1)[0], take(1)[0]
    codec = take(varint()).decode() if number == 0 else {1: "lite"}.get(number, "another")
    fingerprint = take(4).hex()
    adapter = take(4).hex() if flags & 1 else None
    width, height, quality = varint(), varint(), varint() / 16
    checksum = int.from_bytes(take(2), "little")
    if flags & 4:
        take(varint())
    return Header(flags, codec, fingerprint, adapter, width, height, quality, checksum, data[place:-4])


class PageDecoder:
    """Decodes the streams of one exported folder."""

    def __init__(self, folder, gaussian):
        self.manifest = json.loads((Path(folder) / "manifest.json").read_text(encoding="utf-8"))
        assert self.manifest["format"] == "taskodec-export-1"
        assert self.manifest["recipe"] == "integer-checkerboard"
        for name, about in self.manifest["files"].items():
            data = (Path(folder) / name).read_bytes()
            assert (len(data), hashlib.sha256(data).hexdigest()) == (about["bytes"], about["sha256"])
        self.arrays = dict(np.load(Path(folder) / "tables.npz"))
        own = [self.arrays[f"tables/z/{part}"] for part in ("lengths", "counts", "offsets")]
        self.z_tables = Tables.stored(*own)
        with np.load(gaussian) as data:
            lengths = data["lengths"].astype(np.int64)
            self.y_tables = Tables.stored(lengths, data["counts"], -((lengths - 2) // 2))
        names = ("hyper", "context", "synthesis")
        self.graphs = {name: onnxruntime.InferenceSession(str(Path(folder) / f"{name}.onnx")) for name in names}

    def run(self, name, **inputs):
        return self.graphs[name].run(None, inputs)

    def row(self, name, quality):
        levels = self.arrays[name].astype(np.float64)
        knots = self.arrays.get("knots", np.arange(1, len(levels) + 1)).astype(np.float64)
        low = min(max(int((knots <= quality).sum()) - 1, 0), len(levels) - 2)
        return levels[low] + (quality - knots[low]) / (knots[low + 1] - knots[low]) * (levels[low + 1] - levels[low])

    def decode(self, data):
        """y_hat (1, M, h, w), the singular values or None, and the picture (height, width, 3)."""
        header, manifest = parse(data), self.manifest
        assert (header.codec, header.fingerprint) == (manifest["codec"], manifest["codec_fingerprint"])
        assert header.adapter in (None, manifest["adapter_fingerprint"])
        coder, seen = Range(header.payload), set()
        values = self.singular_values(header, coder, seen)
        y_hat = self.latents(header, coder, seen)
        assert coder.checksum & 0xFFFF == header.checksum
        inputs = {"y_hat": y_hat, "gain": np.exp(self.row("log_synthesis_gain", header.quality)).astype(np.float32)}
        if "singular_values" in {one.name for one in self.graphs["synthesis"].get_inputs()}:
            inputs["singular_values"] = values
        x_hat = self.run("synthesis", **inputs)[0][0, :, : header.height, : header.width]
        return y_hat, values, np.rint(255 * np.clip(x_hat, 0, 1)).astype(np.uint8).transpose(1, 2, 0)

    def singular_values(self, header, coder, seen):
        if self.manifest["adapter_fingerprint"] is None:
            return None
        own = self.arrays["singular_values"]
        if header.adapter is None:
            return np.zeros_like(own)
        if not header.flags & 2:
            return own
        k, gate, value = coder.uniform(5), coder.uniform(3), coder.uniform(4)
        unit = 2.0 ** -(k // 2) * (math.sqrt(0.5) if k % 2 else 1.0)
        groups = self.manifest["groups"]
        gates = coder.call(np.full(len(groups), gate), GATE_TABLES, seen)
        is_open = np.repeat(gates == 1, groups)
        values = np.zeros(sum(groups), dtype=np.int64)
        values[is_open] = coder.call(np.full(int(is_open.sum()), value), VALUE_TABLES, seen)
        return own + values.astype(np.float32) * np.float32(unit)

    def latents(self, header, coder, seen):
        arrays, manifest, q = self.arrays, self.manifest, header.quality
        size = [-(-side // manifest["stride"]) * manifest["stride"] for side in (header.height, header.width)]
        z_size = [side // int(arrays["z_stride"]) for side in size]
        channels = len(arrays["tables/z/lengths"])
        rows = np.broadcast_to(np.arange(channels)[:, None, None], (channels, *z_size))
        z = coder.call(rows, self.z_tables, seen)[None].astype(np.float32)
        real = (arrays["bias_real"] + self.row("embedding", q)) / arrays["bias_unit"]
        bias = np.clip(np.rint(real * 2.0 ** arrays["bias_shift"]), -arrays["bias_room"], arrays["bias_room"])
        parameters, features = self.run("hyper", z_symbols=z, bias=bias.astype(np.float32))
        logs = self.row("log_gain", q)
        with localcontext(prec=30):
            g = np.array([float(Decimal(value).exp()) for value in logs.tolist()])[:, None]
        shift = np.rint((logs - LOG_FIRST) / LOG_UNIT)[:, None]
        step = np.rint(1 / g * 2**16) * 2.0**-16
        height, width = parameters.shape[2:]
        parity = (np.arange(height)[:, None] + np.arange(width)) % 2
        y_hat, context = (np.zeros((len(logs), height, width), dtype=np.float32) for _ in range(2))
        whole = parameters[0]
        for colour in (0, 1):
            where = parity == colour
            log, mean = whole[: len(logs), where], whole[len(logs) :, where]
            indexes = (np.clip(log + shift, 0, 1008).astype(np.int64) + 15) // 16
            symbols = coder.call(indexes, self.y_tables, seen)
            y_hat[:, where] = symbols.astype(np.float32) + (mean.astype(np.float64) * (g * 2.0**-10)).astype(np.float32)
            if colour == 0:
                t = symbols * step + mean.astype(np.float64) * 2.0**-10
                scaled = np.floor(t * 2.0 ** -arrays["y_exponents"].astype(np.float64)[:, None] + 0.5)
                context[:, where] = np.clip(scaled, -255, 255)
                whole = whole + self.run("context", y=context[None], features=features)[0][0]
        return y_hat[None]
