from concurrent.futures import ThreadPoolExecutor

import pytest

from taskodec.isolation.pieces import piece_of, whole_size


def test_the_outermost_is_the_picture_and_only_within_and_in_this_thread():
    assert whole_size() is None
    with piece_of(640, 960):
        with piece_of(128, 64):
            assert whole_size() == (640, 960)
        with ThreadPoolExecutor(1) as other:
            assert other.submit(whole_size).result() is None
    assert whole_size() is None


def test_an_error_ends_it():
    with pytest.raises(ValueError, match="mine"), piece_of(64, 64):
        raise ValueError("mine")
    assert whole_size() is None
