import pytest
import torch

from taskodec.contracts import Findings, FunctionTask
from taskodec.errors import TaskError
from taskodec.images.metrics import psnr


def test_takes_are_what_files_decode_to(result, tiny_decompressor):
    found = result.study("photo")
    original, plain, tuned = found.takes
    assert original.x is result.x
    assert torch.equal(tuned.x, result.tuned.best.x_hat)
    assert tuned.bytes == len(result.stream)
    assert plain.candidate.coded.adapter_fingerprint is None
    assert plain.psnr == psnr(plain.x, result.x)
    tiny_decompressor.decompress(plain.candidate.coded.stream)


def test_opinions_are_of_the_task_and_of_judges(result, seeing):
    judge = seeing("looks", Findings())
    own, other = result.study(judges=[judge]).opinions
    assert (own.name, own.own) == (result.task.name, True)
    assert (other.name, other.own) == ("looks", False)
    assert own.losses["tuned"] == pytest.approx(result.tuned.best.loss)
    assert other.losses["original"] == 0
    assert other.findings.keys() == {"original", "plain", "tuned"}


@pytest.mark.parametrize("target", [[], ["target.bytes=400", "ttft.keep=best"]])
def test_parts_of_a_joint_task_weigh_what_they_weighed_in_tuning(make_compressor, photo, target):
    def bright(x_hat, x):
        return 1000 * (x_hat.mean() - x.mean()).square() + (x_hat - x).square().mean()

    def sharp(x_hat, x):
        return (x_hat.diff(dim=-1) - x.diff(dim=-1)).square().mean()

    result = make_compressor("task.lmbda=null", *target, task=[bright, sharp]).compress(photo)
    found = result.study()
    (own,) = found.opinions
    assert len(result.tuned.weights) == 2
    assert own.losses["tuned"] == pytest.approx(result.tuned.best.loss, rel=1e-4)
    plain = found.takes[1].candidate
    assert own.losses["plain"] == pytest.approx(plain.loss, rel=1e-4)
    assert plain.cost == pytest.approx(result.tuned.lmbda * plain.loss + plain.bpp, rel=1e-4)


def test_a_large_picture_has_no_slope(result, monkeypatch):
    monkeypatch.setattr("taskodec.report.study.SLOPE_PIXELS", 100)
    (own,) = result.study().opinions
    assert own.slopes == {}
    assert "100 pixels" in own.note


def test_a_function_says_what_it_finds(make_compressor, photo):
    def loss(x_hat, x):
        return (x_hat - x).square().mean()

    loss.findings = lambda x: Findings(heat=x[0, 0], heat_name="red")
    result = make_compressor(task=loss).compress(photo)
    assert isinstance(result.task, FunctionTask)
    (own,) = result.study().opinions
    assert own.findings["original"].heat_name == "red"


def test_findings_that_fail_name_the_task(result, seeing):
    def broken(x):
        raise RuntimeError("no eyes")

    with pytest.raises(TaskError, match="task 'blind': its findings raised RuntimeError: no eyes"):
        result.study(judges=[seeing("blind", broken)])


def test_nothing_of_the_callers_changes(result, seeing):
    torch.set_grad_enabled(True)
    state = torch.random.get_rng_state()
    before = result.x.clone()
    result.report_html(judges=[seeing("sees", lambda x: Findings(heat=x[0, 0]))])
    assert torch.equal(torch.random.get_rng_state(), state)
    assert torch.is_grad_enabled()
    assert torch.equal(result.x, before)
