import pytest
import torch
from torch import nn

from taskodec.bench.determinism import RUNTIMES, check_agreement
from taskodec.codecs.lite.loading import load_lite

QUICK = [name for name in RUNTIMES if name != "torch.compile"]  # compiling takes long; the benchmark does it


class Touchy(nn.Module):
    """Gives other scales in other precisions."""

    def __init__(self, net):
        super().__init__()
        self.net = net

    def forward(self, z_hat):
        return self.net(z_hat) + (0.2 if z_hat.dtype == torch.float64 else 0.0)


@pytest.fixture
def touchy(tiny_codec):
    tiny_codec.h_s = Touchy(tiny_codec.h_s)
    tiny_codec.coding_networks = lambda: {"h_s": tiny_codec.h_s}
    return tiny_codec


def test_lite_decodes_alike_under_every_runtime(photo):
    codec = load_lite().requires_grad_(False)
    results = check_agreement(codec, [lambda: photo, lambda: photo[..., :50, :30]], [1.0, 5.5], QUICK)
    assert [result.runtime for result in results] == QUICK
    for result in results:
        assert result.streams == 4
        assert result.indexes > 4 * codec.gain.shape[1] * 4 * 6 / 2
        assert (result.wrong_indexes, result.wrong_symbols, result.failed) == (0, 0, 0)
        assert result.mean_shift == 0  # not even the last digit of a mean


def test_what_differs_is_counted(touchy, photo):
    single, double = check_agreement(touchy, [lambda: photo], [3.0], ["float32", "float64"])
    assert (single.wrong_indexes, single.wrong_symbols, single.failed) == (0, 0, 0)
    assert double.wrong_indexes > 0
    assert double.failed == 1  # by the checksum
    assert "forward" not in vars(touchy.h_s)  # the network is itself again


def test_progress_counts_decodings(tiny_codec, photo):
    seen = []
    check_agreement(
        tiny_codec, [lambda: photo], [1.0, 2.0], ["1 thread", "2 threads"], lambda *args: seen.append(args[:2])
    )
    assert seen == [(1, 4), (2, 4), (3, 4), (4, 4)]


def test_the_number_of_threads_is_put_back(tiny_codec, photo):
    before = torch.get_num_threads()
    check_agreement(tiny_codec, [lambda: photo], [1.0], ["1 thread"])
    assert torch.get_num_threads() == before
