from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
import torch

from taskodec.errors import UsageError
from taskodec.isolation.sharing import alone, shared


def test_a_callback_may_decode_with_what_is_at_work(make_compressor, tiny_decompressor, pieces):
    """The picture of a stream without an adapter is not touched by that which is tuned around it."""
    plain = make_compressor("ttft.steps=0").compress(pieces[0])
    tuned = make_compressor()
    before, seen = tuned.compress(pieces[0]).stream, []

    def decode(*_):
        seen.append(np.array_equal(np.asarray(tiny_decompressor.decompress(plain.stream)), np.asarray(plain.image)))
        seen.append(tuned.compress(pieces[1]).stream)

    first = tuned.compress(pieces[1]).stream
    assert tuned.compress(pieces[0], decode).stream == before
    assert set(seen) == {True, first}


def test_a_codec_that_is_altered_is_refused_where_it_would_be_wrong(make_compressor, tiny_decompressor, pieces):
    """A callback cannot code with a codec that is altered at the time: it is told so, in place of a wrong picture."""
    tuned = make_compressor("ttft.phases=[{train: [decoder, latents], steps: 4, lr: 0.1}]", "adapter=colour-gain")
    stream = make_compressor("ttft.steps=0").compress(pieces[0]).stream
    with pytest.raises(UsageError, match="in use in this thread"):
        tuned.compress(pieces[0], lambda *_: tiny_decompressor.decompress(stream))
    assert tuned.compress(pieces[0]).stream == tuned.compress(pieces[0]).stream


def test_who_is_alone_is_alone_and_who_shares_may_come_again():
    codec, inside, most = torch.nn.Identity(), [], []

    def share(_):
        with shared(codec), shared(codec):
            inside.append("shared")
            most.append(tuple(inside))
            inside.remove("shared")

    def be_alone(_):
        with alone(codec):
            inside.append("alone")
            most.append(tuple(inside))
            inside.remove("alone")

    with ThreadPoolExecutor(6) as pool:
        for number in range(300):
            pool.submit(be_alone if number % 3 == 0 else share, number)
    assert len(most) == 300
    assert not [found for found in most if "alone" in found and len(found) > 1]
    with shared(codec), pytest.raises(UsageError, match="in use in this thread"), alone(codec):
        pass
    with alone(codec), pytest.raises(UsageError, match="in use in this thread"), shared(codec):
        pass
