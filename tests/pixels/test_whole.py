import io

import numpy as np
import pytest
from PIL import Image

from taskodec.pixels.whole import flaw
from taskodec.stream.bitstream import Header, Stream


@pytest.fixture
def image():
    pixels = np.random.default_rng(0).integers(0, 256, (16, 24, 3), dtype=np.uint8)
    return Image.fromarray(pixels)


def saved(image, form):
    buffer = io.BytesIO()
    image.save(buffer, form)
    return buffer.getvalue()


@pytest.mark.parametrize("suffix", [".tkd", ".png", ".PNG", "", ".jpg", ".bmp", ".ppm", ".tiff", ".webp"])
def test_whole_files_have_no_flaw_and_all_others_have(tmp_path, image, suffix):
    form = {".jpg": "JPEG"}.get(suffix, suffix[1:].upper() or "PNG")
    data = Stream(Header("lite", b"abcd", 2**20, 2**20, 3), b"payload").to_bytes()
    data = data if suffix == ".tkd" else saved(image, form)
    path = tmp_path / f"file{suffix}"
    path.write_bytes(data)
    assert flaw(path) == ""
    for cut in (0, 1, len(data) // 2, len(data) - 3):
        path.write_bytes(data[:cut])
        if suffix not in (".tiff", ".webp", ".jpg") or cut < len(data) - 3:  # whose last bytes may be of no use
            assert flaw(path)


@pytest.mark.parametrize("suffix", [".tkd", ".png"])
def test_one_changed_byte_is_seen(tmp_path, image, suffix):
    data = Stream(Header("lite", b"abcd", 2, 2, 3), b"payload").to_bytes() if suffix == ".tkd" else saved(image, "PNG")
    for place in range(0, len(data), 7):
        (tmp_path / f"x{suffix}").write_bytes(data[:place] + bytes([data[place] ^ 1]) + data[place + 1 :])
        assert flaw(tmp_path / f"x{suffix}")


def test_what_cannot_be_read_has_a_flaw(tmp_path):
    assert flaw(tmp_path / "none.tkd") == "No such file or directory"
    assert flaw(tmp_path)
