"""The presets of the paper have its numbers, and its table is filled from what was measured."""

import json
import shlex

import pytest

from taskodec.api.adapter_choice import untrained
from taskodec.errors import UsageError
from taskodec.evaluation.paper import COLUMNS, ROWS, Cell, command, measured
from taskodec.hooks.registry import Registry
from taskodec.plugins.networks.detectron2_networks import POINTREND
from taskodec.settings.layers import preset_names
from taskodec.settings.model import load_settings
from taskodec.training.schedule import learning_rate

FASTER = "detectron2:COCO-Detection/faster_rcnn_R_50_FPN_3x.yaml"
MASK = "detectron2:COCO-InstanceSegmentation/mask_rcnn_R_50_FPN_3x.yaml"


def settings(name, **flags):
    return load_settings([f"taskodec:paper/{name}"], flags=flags)


@pytest.mark.parametrize("name", preset_names("paper"))
def test_all_tune_tic_as_published(name):
    found = settings(name)
    assert (found.codec.name, found.codec.options) == ("tic", {"pretrained": True})
    assert found.ttft == load_settings(flags={"ttft.preset": "paper"}).ttft
    (phase,) = found.ttft.phases
    assert (phase.train, phase.steps, phase.lr, phase.milestones, phase.gamma) == (
        ("encoder", "decoder"),
        40,
        5e-3,
        (15, 25, 30, 35),
        0.5,
    )


def test_classification_is_weighed_as_published():
    found = settings("cls-closed")
    assert found.task.options == {"network": "resnet50", "loss": "features", "input": "picture"}
    lambdas = (0.0009, 0.0017, 0.0033, 0.006)  # 1000 * lambda * perc + bpp
    assert [found.task.weight(q) for q in (1, 2, 3, 4)] == pytest.approx([1000 * value for value in lambdas])
    assert (found.data.resize, found.data.center_crop) == (256, 256)


@pytest.mark.parametrize(
    ("name", "network"), [("det-closed", FASTER), ("det-open", FASTER), ("seg-closed", MASK), ("seg-open", MASK)]
)
def test_objects_are_weighed_as_published(name, network):
    found = settings(name)
    assert found.task.name == name[:3]
    assert found.task.options == {"network": network, "loss": "features", "feature_scale": 1}
    assert [found.task.weight(q) for q in (1, 2, 3, 4)] == [
        1 / value for value in (2, 1, 0.5, 0.2)
    ]  # perc + lambda * bpp
    assert (found.data.resize, found.data.center_crop, found.data.eval_size) == (None, None, (800, 1333))


@pytest.mark.parametrize(("name", "batch"), [("cls-closed", 16), ("det-closed", 8), ("seg-closed", 8)])
def test_pre_training_is_as_published(name, batch):
    found = settings(name).pretrain
    epoch = 40_000 // batch
    assert (found.batch, found.objective, found.ema, found.stages[0].rounding) == (batch, "cost", 0, "noise")
    rates = [learning_rate(epoch * passed, found) for passed in (0, 29, 30, 59, 60, 89)]
    assert rates == [5e-3, 5e-3, 2.5e-3, 2.5e-3, 1.25e-3, 1.25e-3]
    assert untrained(settings(name).adapter).name == "svd-lora"


def test_adapters_are_those_of_the_task_or_of_classification():
    registry = Registry()
    registry.load_builtins()
    for name in preset_names("paper"):
        found = settings(name)
        if name.endswith("open"):
            assert found.adapter.name == "tic-cls"
        else:
            spec = registry.adapters[f"tic-{name[:3]}"]
            assert (spec.codec, spec.task) == ("tic", name[:3])
            assert spec.task_options.items() <= found.task.options.items()


def test_pointrend_is_weighed_as_published():
    found = settings("pointrend-open").task
    assert found.options["network"] == f"detectron2:{POINTREND}"
    assert sum(found.options["layers"]) / 5 / 5 == pytest.approx(0.02)  # a mean over five levels
    assert found.lmbdas == settings("seg-open").task.lmbdas


def test_one_weight_of_the_users_takes_the_place_of_all():
    assert settings("det-closed", **{"task.lmbda": 3.0}).task.weight(2) == 3
    assert settings("det-closed").task.weight(5) is None


def test_the_calls_name_presets_and_folders_that_are_there(tmp_path):
    for row in ROWS:
        for column in COLUMNS:
            if row.preset and column.task in row.published:
                words = shlex.split(command(row, column, tmp_path))
                name = f"{column.task}-{row.preset}"
                assert f"taskodec:paper/{name}" in words
                assert name in preset_names("paper")
                assert words[-1] == str(tmp_path / name)


def summary(metric, rate, gain, methods=("pretrained", "ttft")):
    def estimate(value):
        return None if value is None else {"value": value}

    one = {"anchor": "plain", "metric": metric}
    comparisons = [
        {**one, "method": method, "rate_estimate": estimate(rate), "value_estimate": estimate(gain)}
        for method in methods
    ]
    return json.dumps({"images": 7, "comparisons": [{**one, "method": "x", "metric": "task_loss"}, *comparisons]})


def test_the_table_is_filled_from_summaries(run, tmp_path):
    for name, content in (
        ("det-open", summary("ap", -40.5, 0.021)),
        ("cls-closed", summary("top1", None, 0.1, ["ttft"])),
    ):
        (tmp_path / name).mkdir()
        (tmp_path / name / "summary.json").write_text(content)
    found = measured(tmp_path)
    assert found == {
        ("open set, without TTFT", "det"): (Cell(-40.5, pytest.approx(2.1)), 7),
        ("open set, with TTFT", "det"): (Cell(-40.5, pytest.approx(2.1)), 7),
        ("closed set, with TTFT", "cls"): (Cell(None, 0.1), 7),
    }
    code, out, _ = run("paper", tmp_path)
    assert code == 0
    assert "-48.94 / 2.69 | -40.50 / 2.10" in out
    assert "-70.04 / 0.14 | - / 0.10" in out
    assert "-56.49 / 2.68 | not measured" in out
    assert "det, open set, with TTFT: 7 images" in out
    code, out, _ = run("paper", tmp_path, "--json")
    rows = {row["row"]: row for row in map(json.loads, out.splitlines())}
    assert rows["open set, with TTFT"]["det"]["measured"] == {"rate": -40.5, "gain": pytest.approx(2.1), "images": 7}
    assert rows["TransTIC"]["cls"] == {"published": {"rate": -58.76, "gain": 0.10}, "measured": None}
    assert len(run("paper", tmp_path, "--commands")[1].splitlines()) == 5


def test_a_summary_that_is_none(tmp_path):
    (tmp_path / "seg-open").mkdir()
    (tmp_path / "seg-open" / "summary.json").write_text("{}")
    with pytest.raises(UsageError, match=r"seg-open/summary\.json is no summary of `taskodec eval`"):
        measured(tmp_path)
