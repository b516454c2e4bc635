"""The weights that `lite` came with before are where the table says, and are what streams name."""

from pathlib import Path

import pytest

from taskodec.adapters.files import load_adapter
from taskodec.codecs.lite.earlier import EARLIER
from taskodec.codecs.lite.loading import load_lite
from taskodec.coding.streams import codec_fingerprint

ROOT = Path(__file__).parents[3]
SHIPPED = (ROOT / "codecs" / "weights", ROOT / "plugins" / "weights")


def place(path):
    """Where a file is kept, or where it still ships."""
    kept = ROOT / path
    return next(file for file in (kept, *(folder / kept.name for folder in SHIPPED)) if file.is_file())


@pytest.mark.parametrize("fingerprint", EARLIER)
def test_files_are_those_of_the_fingerprints(fingerprint):
    earlier = EARLIER[fingerprint]
    codec = load_lite(checkpoint=place(earlier.checkpoint))
    assert codec_fingerprint(codec).hex() == fingerprint
    assert codec.earlier is EARLIER
    for adapter, path in earlier.adapters.items():
        assert load_adapter(place(path), codec).fingerprint().hex() == adapter
