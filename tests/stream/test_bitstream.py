"""Run as a program, this file writes the golden streams anew: only after a deliberate change of the format."""

import json
import zlib
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from taskodec.codecs.plugin import CODECS
from taskodec.errors import DamagedStreamError, StreamError, UnsupportedStreamError, UsageError
from taskodec.stream.bitstream import CODEC_IDS, MAX_METADATA, MAX_PIXELS, Header, Stream
from taskodec.stream.entropy import SymbolDecoder, SymbolEncoder, gaussian_tables

GOLDEN = Path(__file__).parents[1] / "golden"

PLAIN = Header("lite", b"\x01\x02\x03\x04", 256, 256, 2.5, index_checksum=0xBEEF)
HEADERS = {
    "plain": PLAIN,
    "adapter": Header("tic", b"abcd", 1, 70000, 3, adapter_fingerprint=b"wxyz", has_delta=True, index_checksum=1),
    "absolute": Header(
        "lite", b"abcd", 500, 300, 2, adapter_fingerprint=b"wxyz", has_delta=True, index_checksum=2, absolute=True
    ),
    "named": Header(
        "my-codec.v2", bytes(4), 640, 481, 100.0625, metadata={"task": "Kanten é", "steps": [1, 2.5, None]}
    ),
}
INDEXES = np.arange(40)
SYMBOLS = (np.arange(40) * 7919 % 7 - 3) * INDEXES // 12


def golden_streams() -> dict[str, bytes]:
    """The golden files' content by name."""
    coder = SymbolEncoder()
    coder.encode_uniform(0x155, 9)
    coder.encode(SYMBOLS, INDEXES, gaussian_tables())
    return {name: Stream(header, coder.getvalue()).to_bytes() for name, header in HEADERS.items()}


def sealed(body: bytes) -> bytes:
    """These bytes with the CRC32 that fits them."""
    return body + zlib.crc32(body).to_bytes(4, "little")


@pytest.mark.parametrize("name", HEADERS)
def test_golden_files_are_written_and_read(name):
    data = (GOLDEN / f"{name}.tkd").read_bytes()
    assert golden_streams()[name] == data
    stream = Stream.from_bytes(data)
    assert stream.header == HEADERS[name]
    coder = SymbolDecoder(stream.payload)
    assert coder.decode_uniform(9) == 0x155
    np.testing.assert_array_equal(coder.decode(INDEXES, gaussian_tables()), SYMBOLS)


def test_the_documented_bytes():
    """The example of docs/bitstream.md."""
    data = Stream(PLAIN, b"\xaa\xbb").to_bytes()
    assert data[:-4].hex(" ") == "54 4b 01 00 01 01 02 03 04 80 02 80 02 28 ef be aa bb"
    assert data == sealed(data[:-4])


def test_header_sizes():
    adapted = Header("lite", b"abcd", 256, 256, 7.9375, adapter_fingerprint=b"wxyz", has_delta=True)
    assert Stream(PLAIN, b"").header_bytes == 20
    assert Stream(adapted, b"").header_bytes == 24
    assert Stream(Header("lite", b"abcd", 256, 256, 8), b"").header_bytes == 21
    for stream in (Stream(PLAIN, bytes(99)), Stream(adapted, b""), Stream(HEADERS["named"], b"abc")):
        assert stream.header_bytes == len(stream.to_bytes()) - len(stream.payload)


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=6,
)
headers = st.builds(
    Header,
    codec=st.sampled_from(sorted(CODEC_IDS)) | st.from_regex(r"[a-z0-9._-]{1,64}", fullmatch=True),
    codec_fingerprint=st.binary(min_size=4, max_size=4),
    width=st.integers(1, 2**12),
    height=st.integers(1, 2**13),
    quality=st.integers(0, 256 * 16).map(lambda q: q / 16),
    adapter_fingerprint=st.binary(min_size=4, max_size=4),
    has_delta=st.booleans(),
    index_checksum=st.integers(0, 65535),
    metadata=st.dictionaries(st.text(max_size=8), json_values, max_size=4),
)


@settings(derandomize=True, deadline=None, max_examples=200)
@given(headers, st.binary(max_size=50))
def test_roundtrip(header, payload):
    stream = Stream(header, payload)
    assert Stream.from_bytes(stream.to_bytes()) == stream


@pytest.mark.parametrize("name", HEADERS)
def test_every_truncation_and_every_flipped_bit_is_an_error(name):
    data = golden_streams()[name]
    for length in range(len(data)):
        with pytest.raises(StreamError):
            Stream.from_bytes(data[:length])
    for bit in range(8 * len(data)):
        damaged = bytearray(data)
        damaged[bit // 8] ^= 1 << bit % 8
        with pytest.raises(StreamError):
            Stream.from_bytes(bytes(damaged))
    for extra in (b"\0", b"x", data):
        with pytest.raises(DamagedStreamError):
            Stream.from_bytes(data + extra)


@settings(derandomize=True, deadline=None, max_examples=500)
@given(st.sampled_from(sorted(HEADERS)), st.data())
def test_damage_behind_a_fitting_crc_is_a_typed_error_or_a_valid_header(name, data):
    body = bytearray(golden_streams()[name][:-4])
    for _ in range(data.draw(st.integers(1, 4))):
        body[data.draw(st.integers(3, len(body) - 1))] = data.draw(st.integers(0, 255))
    try:
        stream = Stream.from_bytes(sealed(bytes(body[: data.draw(st.integers(3, len(body)))])))
    except StreamError:
        return
    assert stream.header.width * stream.header.height <= MAX_PIXELS
    assert Stream.from_bytes(stream.to_bytes()) == stream


@settings(derandomize=True, deadline=None, max_examples=300)
@given(st.binary(max_size=80))
def test_any_bytes_behind_a_fitting_crc_are_a_typed_error_or_a_valid_header(data):
    try:
        stream = Stream.from_bytes(sealed(b"TK\x01" + data))
    except StreamError:
        return
    assert Stream.from_bytes(stream.to_bytes()) == stream


def body_with(position: int, replacement: bytes, length: int = 1) -> bytes:
    """PLAIN's stream with some bytes replaced, and a fitting CRC32."""
    body = Stream(PLAIN, b"").to_bytes()[:-4]
    return sealed(body[:position] + replacement + body[position + length :])


@pytest.mark.parametrize(
    ("data", "error", "says"),
    [
        (b"", DamagedStreamError, "starts with nothing"),
        (b"\xff\xd8\xff", DamagedStreamError, "starts with ff d8, not with 54 4b"),
        (b"TK", DamagedStreamError, "not a .tkd stream"),
        (b"TK\x01", DamagedStreamError, "truncated"),
        (b"TK\x02" + bytes(20), UnsupportedStreamError, "version 2 is not known, only version 1"),
        (sealed(b"TK\x01"), DamagedStreamError, "ends inside the header"),
        (body_with(3, b"\x10"), UnsupportedStreamError, "flags 0x10"),
        (body_with(3, b"\x08"), DamagedStreamError, "has_delta is false"),
        (body_with(3, b"\x02"), DamagedStreamError, "needs the fingerprint of the adapter"),
        (body_with(4, b"\xc8"), UnsupportedStreamError, "codec number 200 is not known"),
        (body_with(4, b"\x00\x00"), DamagedStreamError, "name of 0 bytes"),
        (body_with(4, b"\x00\x41"), DamagedStreamError, "name of 65 bytes"),
        (body_with(4, b"\x00\x02A\xff"), DamagedStreamError, "codec name"),
        (body_with(9, b"\x00", 2), DamagedStreamError, "width 0"),
        (body_with(11, b"\x00", 2), DamagedStreamError, "height 0"),
        (body_with(9, b"\x80\x00", 2), DamagedStreamError, "needless bytes"),
        (body_with(9, b"\xff\xff\xff\xff\xff\x01", 2), DamagedStreamError, "more than 5 bytes"),
        (body_with(9, b"\xff\xff\xff\xff\x0f", 2), DamagedStreamError, "width 4294967295"),
        (body_with(9, b"\x80\x80\x80\x01", 2), UnsupportedStreamError, "536870912 pixels, .* 67108864; .*max_pixels"),
        (body_with(13, b"\xff\xff\x03"), DamagedStreamError, "quality"),
    ],
)
def test_errors_say_what_was_found(data, error, says):
    with pytest.raises(error, match=says):
        Stream.from_bytes(data)


def with_metadata(text: bytes, length: bytes | None = None) -> bytes:
    body = bytearray(Stream(PLAIN, b"").to_bytes()[:-4])
    body[3] |= 4
    if length is None:
        length = bytes([len(text) & 0x7F | 0x80, len(text) >> 7]) if len(text) > 127 else bytes([len(text)])
    return sealed(bytes(body) + length + text)


@pytest.mark.parametrize(
    "data",
    [
        with_metadata(b""),
        with_metadata(b"{}"),
        with_metadata(b"[1]"),
        with_metadata(b"7"),
        with_metadata(b'{"a":'),
        with_metadata(b'{"a":NaN}'),
        with_metadata(b'{"a":1e999}'),
        with_metadata(b'{"a":"\xff"}'),
        with_metadata(b'{"a":"\\ud800"}'),
        with_metadata(b"[" * MAX_METADATA),
        with_metadata(b'{"a":' * (MAX_METADATA // 5)),
        with_metadata(b'{"a":' + b"9" * 4000 + b"e9}"),
        with_metadata(b'{"a":1}', b"\x08"),
        with_metadata(b'{"a":1}', b"\x81\x20"),
    ],
    ids=str,
)
def test_bad_metadata_is_damage(data):
    with pytest.raises(DamagedStreamError):
        Stream.from_bytes(data)


def test_metadata_may_be_written_in_other_ways():
    assert Stream.from_bytes(with_metadata(b'{ "a": "\\u00e9" }')).header.metadata == {"a": "é"}


def test_metadata_up_to_the_limit():
    assert len(json.dumps({"a": "x" * (MAX_METADATA - 8)}, separators=(",", ":"))) == MAX_METADATA
    stream = Stream(Header("lite", b"abcd", 1, 1, 1, metadata={"a": "x" * (MAX_METADATA - 8)}), b"")
    assert Stream.from_bytes(stream.to_bytes()) == stream


def test_the_pixel_limit_is_the_callers():
    data = Stream(Header("lite", b"abcd", 30, 40, 1), b"").to_bytes()
    assert Stream.from_bytes(data, max_pixels=1200).header.height == 40
    with pytest.raises(UnsupportedStreamError, match="1200 pixels, more than the limit of 1199"):
        Stream.from_bytes(data, max_pixels=1199)


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"codec": ""}, "codec name ''"),
        ({"codec": "Lite"}, "codec name 'Lite'"),
        ({"codec": "x" * 65}, "1 to 64"),
        ({"codec": "lite\n"}, "codec name"),
        ({"codec_fingerprint": b"abc"}, "codec's fingerprint must have 4 bytes, found 3"),
        ({"adapter_fingerprint": b"abcde"}, "adapter's fingerprint"),
        ({"has_delta": True}, "needs the fingerprint of the adapter"),
        ({"width": 0}, "width 0"),
        ({"height": 2**31}, "height 2147483648"),
        ({"width": 1.5}, "width 1.5"),
        ({"quality": 2.1}, "quality 2.1 .*1/16"),
        ({"quality": -1}, "quality -1"),
        ({"quality": 257}, "quality 257"),
        ({"quality": float("nan")}, "quality nan"),
        ({"index_checksum": 65536}, "65536"),
        ({"metadata": {"a": float("inf")}}, "JSON"),
        ({"metadata": {"a": (1, 2)}}, "come back the same"),
        ({"metadata": {1: 2}}, "come back the same"),
        ({"metadata": {"a": object()}}, "JSON"),
        ({"metadata": {"a": "\ud800"}}, "JSON"),
        ({"metadata": {"a": "x" * MAX_METADATA}}, "4104 bytes"),
    ],
)
def test_headers_that_cannot_be_coded_are_usage_errors(changes, says):
    values = {"codec": "lite", "codec_fingerprint": b"abcd", "width": 1, "height": 1, "quality": 1.0, **changes}
    with pytest.raises(UsageError, match=says):
        Header(**values)


def test_codec_numbers_are_fixed_and_those_of_the_built_in_codecs():
    assert sorted(CODEC_IDS.values()) == list(range(1, len(CODEC_IDS) + 1))
    assert (CODEC_IDS["lite"], CODEC_IDS["tic"], CODEC_IDS["mbt2018-mean"], CODEC_IDS["mbt2018-vbr"]) == (1, 2, 6, 12)
    assert {codec.name: codec.stream_id for codec in CODECS} == CODEC_IDS


if __name__ == "__main__":
    for golden_name, golden_data in golden_streams().items():
        (GOLDEN / f"{golden_name}.tkd").write_bytes(golden_data)
