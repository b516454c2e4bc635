import os
import pickle
from pathlib import Path

import pytest

from taskodec.training.names import PackedNames

NAMES = [Path("a.png"), "s3://bucket/ü b.png", Path(os.fsdecode(b"/in/\xff.png")), Path("ü/😀.png"), "", Path("z")]


def test_names_are_those_that_were_packed():
    packed = PackedNames(iter(NAMES))
    assert list(packed) == NAMES
    assert [packed[-1], packed[1:5:2]] == [NAMES[-1], NAMES[1:5:2]]
    assert [type(name) for name in packed] == [type(name) for name in NAMES]
    with pytest.raises(IndexError):
        packed[len(NAMES)]
    assert list(PackedNames([])) == []


def test_what_is_pickled_is_the_same_size_however_many_there_are():
    """The names themselves lie in buffers, and are not copied when they are read."""
    many = PackedNames([f"s3://bucket/{number:09}.png" for number in range(10_000)])
    buffers = []
    stream = pickle.dumps(many, protocol=5, buffer_callback=buffers.append)
    assert len(stream) < 1000
    assert len(buffers) == 3
    assert pickle.loads(stream, buffers=buffers)[9_999] == "s3://bucket/000009999.png"
