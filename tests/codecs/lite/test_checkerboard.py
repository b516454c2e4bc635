import pytest
import torch

from taskodec.codecs.lite.checkerboard import (
    CheckerboardConv,
    Prediction,
    anchors,
    decode_checkerboard,
    encode_checkerboard,
    estimate_checkerboard,
)
from taskodec.coding.priors import estimate_gaussian
from taskodec.stream.entropy import SymbolDecoder, SymbolEncoder


class Neighbours(Prediction):
    """Predicts a field as the mean of the four around it."""

    def __init__(self, shape):
        self.shape, self.given = shape, []

    def first(self):
        return torch.full(self.shape, 4.0), torch.zeros(self.shape)

    def second(self, y_hat):
        self.given.append(y_hat.clone())
        around = torch.nn.functional.pad(y_hat, (1, 1, 1, 1))
        means = around[..., 1:-1, 2:] + around[..., 1:-1, :-2] + around[..., 2:, 1:-1] + around[..., :-2, 1:-1]
        return torch.full(self.shape, 1.5), means / 4


@pytest.fixture
def y():
    torch.manual_seed(0)
    smooth = torch.nn.functional.interpolate(torch.randn(1, 3, 3, 4) * 8, (9, 11), mode="bilinear")
    return smooth + 0.1 * torch.randn(1, 3, 9, 11)


def test_half_of_the_fields_are_anchors():
    board = anchors(torch.zeros(1, 5, 4, 6))
    assert board.sum() == 12
    assert board[0, 0]
    assert not board[0, 1]
    assert not board[1, 0]
    assert anchors(torch.zeros(1, 1, 1, 1)).all()  # a single field needs no second pass


def test_filters_see_the_other_colour_only():
    torch.manual_seed(0)
    conv = CheckerboardConv(2, 3).requires_grad_(False)
    assert (conv.kernel() != 0).sum() == 3 * 2 * 12
    y_hat = torch.randn(1, 2, 8, 8)
    known = anchors(y_hat)
    seen = conv(y_hat * known)
    assert float(seen[..., ~known].abs().max()) > 0
    same_colour = conv(y_hat * ~known)  # what is not known yet
    assert float(same_colour[..., ~known].abs().max()) == 0


def test_decoding_gives_what_encoding_promised(y):
    writer = SymbolEncoder()
    promised = encode_checkerboard(y, Neighbours(y.shape), writer)
    reader = SymbolDecoder(writer.getvalue())
    assert torch.equal(decode_checkerboard(Neighbours(y.shape), reader), promised)
    assert reader.checksum == writer.checksum
    assert float((promised - y).abs().max()) <= 0.5 + 1e-5


def test_the_estimate_is_what_coding_does(y):
    writer = SymbolEncoder()
    promised = encode_checkerboard(y, Neighbours(y.shape), writer)
    y_hat, likelihoods = estimate_checkerboard(y, Neighbours(y.shape), "hard")
    assert torch.equal(y_hat, promised)
    assert float(-likelihoods.log2().sum()) == pytest.approx(writer.bits, rel=0.02)
    blind = estimate_gaussian(y, *Neighbours(y.shape).first(), "hard")[1]
    assert float(-likelihoods.log2().sum()) < 0.9 * float(-blind.log2().sum())


def test_the_second_pass_knows_anchors_only(y):
    for rounding in ("hard", "noise", "ste", "mixed"):
        prediction = Neighbours(y.shape)
        y_hat, _ = estimate_checkerboard(y, prediction, rounding)
        (given,) = prediction.given
        known = anchors(y)
        assert float(given[..., ~known].abs().max()) == 0
        assert torch.equal(given[..., known], y_hat[..., known])  # the draw that was seen is the one that counts


def test_gradients_reach_anchors_through_their_neighbours(y):
    y.requires_grad_()
    _, likelihoods = estimate_checkerboard(y, Neighbours(y.shape), "ste")
    known = anchors(y)
    (-likelihoods[..., ~known].log().sum()).backward()
    assert float(y.grad[..., known].abs().max()) > 0
