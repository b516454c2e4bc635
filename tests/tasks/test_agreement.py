import json

import pytest
import torch
from torch.nn import functional as F

from taskodec.errors import UsageError
from taskodec.tasks.agreement import AgreementEvaluator, Counts, binary_divergence, match


def bright(x_hat, x):
    found, wanted = x_hat > 0.5, x > 0.5
    return Counts(int((found & wanted).sum()), int(found.sum()), int(wanted.sum()))


def test_f1_of_counts():
    assert Counts(matched=3, found=4, wanted=6).f1 == 0.6
    assert (Counts(0, 0, 2).f1, Counts(0, 2, 0).f1, Counts(0, 0, 0).f1) == (0, 0, 1)


def test_counts_of_all_images_are_added_up_before_they_are_divided():
    judge = AgreementEvaluator(bright)
    x = torch.zeros(1, 3, 2, 2)
    x[..., 0, :] = 1  # 6 of 12 values
    half = x * torch.tensor([1.0, 0.0])  # 3 of them are left
    seen = [judge.observe("a.png", x_hat, x) for x_hat in (x, half)] + [judge.observe("b.png", 0 * x, 0 * x)]
    records = json.loads(json.dumps(seen))
    assert judge.summarise(records) == {"f1": pytest.approx(2 * 9 / (9 + 12))}
    assert judge.summarise(records).keys() == judge.metrics.keys()
    assert judge.summarise([records[1]] * 2) == {"f1": pytest.approx(2 * 6 / (6 + 12))}


def test_labels_are_refused(tmp_path):
    with pytest.raises(UsageError, match=r"without labels; leave out .*labels\.json"):
        AgreementEvaluator(bright, tmp_path / "labels.json")


def test_the_divergence_is_cross_entropy_less_entropy():
    found, wanted = torch.randn(2, 3, 4, 5, generator=torch.Generator().manual_seed(0))
    p = wanted.sigmoid()
    expected = F.binary_cross_entropy_with_logits(found, p) - F.binary_cross_entropy_with_logits(wanted, p)
    assert binary_divergence(found, wanted).item() == pytest.approx(expected.item(), rel=1e-5)
    assert binary_divergence(found, found) == 0


def test_the_divergence_has_a_slope_where_the_probability_is_zero():
    found = torch.tensor([-200.0, 200.0], requires_grad=True)
    binary_divergence(found, torch.tensor([5.0, -200.0])).backward()
    assert found.grad.tolist() == pytest.approx([-0.4967, 0.5], abs=1e-4)


def test_each_thing_is_matched_once_the_best_pair_first():
    overlaps = torch.tensor([[0.6, 0.9], [0.0, 0.8], [0.4, 0.0]])
    assert match(overlaps) == 1  # 0.9 is taken, which leaves 0.4
    assert match(overlaps, least=0.4) == 2
    assert match(torch.eye(4)) == 4
    assert match(torch.zeros(0, 3)) == match(torch.zeros(3, 0)) == 0
    assert overlaps[0, 1] == 0.9
