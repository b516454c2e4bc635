"""The paper's whole way, on pictures of 64 pixels: TIC's checkpoints and adapters in the formats in which they are
published, with random values, and networks with random weights."""

import json
import shutil
import zipfile

import pytest
import torch
import torchvision
from PIL import Image

from taskodec.codecs import zoo
from taskodec.codecs.tic.codec import TIC

DETECTOR = "fasterrcnn_mobilenet_v3_large_320_fpn"
SMALL = ["--set", "data.resize=64", "--set", "data.center_crop=64"]


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    """The cache folder with the base codec of quality 2 and the adapter for classification; weights of networks."""
    home = tmp_path_factory.mktemp("torch")
    cache = home / "hub" / "checkpoints"
    cache.mkdir(parents=True)
    generator = torch.Generator().manual_seed(0)
    with torch.random.fork_rng(devices=[]), zipfile.ZipFile(cache / zoo.TIC_ADAPTERS["cls"].file, "w") as archive:
        torch.manual_seed(2)
        codec = TIC(quality=2)
        state = {f"module.{name}": value for name, value in codec.state_dict().items()}
        torch.save({"state_dict": state}, cache / zoo.TIC[2].file)
        for side in ("encoder", "decoder"):
            for name in codec.adapter_defaults(side):
                layer = codec.get_submodule(name)
                sizes = {"U": (layer.out_features, 4), "S": (4,), "V": (layer.in_features, 4)}
                for part, size in sizes.items():
                    state[f"module.{name}.w_lora_{part}"] = 0.1 * torch.randn(size, generator=generator)
        torch.save({"state_dict": state, "epoch": 39}, home / "adapted.pth.tar")
        archive.write(home / "adapted.pth.tar", "cls/2/checkpoint_best_loss.pth.tar")
        torch.manual_seed(0)
        torch.save(torchvision.models.resnet50().state_dict(), home / "resnet50.pth")
        detector = torchvision.models.get_model(DETECTOR, weights=None, weights_backbone=None)
        torch.save(detector.state_dict(), home / "detector.pth")
    return home


@pytest.fixture
def home(files, monkeypatch):
    monkeypatch.setenv("TORCH_HOME", str(files))
    monkeypatch.setenv("TASKODEC_OFFLINE", "1")
    return files


def rows_of(folder):
    return [json.loads(line) for line in (folder / "rows.jsonl").read_text().splitlines()]


def check(rows, methods):
    """Every method is there, with the rate of a file whose parts add up."""
    assert [(row["method"], row["quality"]) for row in rows] == [(method, 2) for method in methods]
    for row in rows:
        assert row["bpp"] == 8 * row["bytes"] / (row["width"] * row["height"])
        assert row["bpp_latent"] + row["bpp_adapter"] + row["bpp_header"] == pytest.approx(row["bpp"])
        assert row["steps"] == (row["method"] == "ttft")


def test_classification_in_the_closed_set(run, home, picture, tmp_path):
    (tmp_path / "val" / "n01440764").mkdir(parents=True)
    shutil.copy(picture, tmp_path / "val" / "n01440764")
    call = [
        "eval",
        "--config",
        "taskodec:paper/cls-closed",
        "--data",
        tmp_path / "val",
        "--labels",
        tmp_path / "val",
        *SMALL,
    ]
    call += ["--set", f"task.options.weights={home / 'resnet50.pth'}", "--qualities", 2]
    call += ["--set", "ttft.steps=1", "--jobs", 1, "--resamples", 0, "-o", tmp_path / "paper" / "cls-closed"]
    for methods in ("plain", "plain,pretrained,ttft"):  # the second call goes on
        code, _, err = run(*call, "--methods", methods)
        assert code == 0, err
    rows = rows_of(tmp_path / "paper" / "cls-closed")
    check(rows, ("plain", "pretrained", "ttft"))
    assert {row["lmbda"] for row in rows} == {1.7}
    about = json.loads((tmp_path / "paper" / "cls-closed" / "summary.json").read_text())["about"]
    assert (about["plain"]["adapter"], about["ttft"]["adapter"]) == (None, "tic-cls")
    assert any(row["bpp_adapter"] > 0 for row in rows if row["method"] == "ttft")
    assert run("paper", tmp_path / "paper")[0] == 0


def test_detection_in_the_open_set(run, home, picture, tmp_path):
    (tmp_path / "val2017").mkdir()
    (tmp_path / "annotations").mkdir()
    with Image.open(picture) as whole:
        whole.convert("RGB").crop((0, 0, 64, 48)).save(tmp_path / "val2017" / "1.png")
    labels = tmp_path / "annotations" / "instances_val2017.json"
    image = {"id": 1, "file_name": "1.png", "width": 64, "height": 48}
    thing = {"id": 1, "image_id": 1, "category_id": 1, "bbox": [5, 5, 20, 20], "area": 400, "iscrowd": 0}
    labels.write_text(json.dumps({"images": [image], "annotations": [thing], "categories": [{"id": 1, "name": "x"}]}))
    call = ["eval", "--config", "taskodec:paper/det-open", "--data", labels, "--labels", labels, "--qualities", "2"]
    call += ["--set", f"task.options.network={DETECTOR}", "--set", f"task.options.weights={home / 'detector.pth'}"]
    call += ["--methods", "plain,pretrained,ttft", "--set", "ttft.steps=1", "--jobs", 1, "--resamples", 0]
    code, _, err = run(*call, "--set", "data.eval_size=[72, 100]", "-o", tmp_path / "out")
    assert code == 0, err
    rows = rows_of(tmp_path / "out")
    check(rows, ("plain", "pretrained", "ttft"))
    assert {(row["lmbda"], row["width"], row["height"]) for row in rows} == {(1.0, 96, 72)}


def test_pre_training_and_what_it_gives(run, home, picture, tmp_path):
    (tmp_path / "train").mkdir()
    shutil.copy(picture, tmp_path / "train")
    shared = ["--config", "taskodec:paper/cls-closed", "--set", f"task.options.weights={home / 'resnet50.pth'}", *SMALL]
    call = ["pretrain", *shared, "--data", tmp_path / "train", "-o", tmp_path / "run-q2", "--set", "quality=2"]
    call += [
        "--set",
        "pretrain.stages=[{until: 1.0, crop: 64, rounding: noise}]",
        "--set",
        "pretrain.calibration_crops=1",
        "--set",
        "pretrain.batch=2",
    ]
    code, _, err = run(*call, "--set", "pretrain.steps=1")
    assert code == 0, err
    code, _, err = run(*call, "--set", "pretrain.steps=2", "--resume")
    assert code == 0, err
    settings = json.loads((tmp_path / "run-q2" / "settings.json").read_text())
    assert settings["balance"]["lmbdas"] == [1.7]
    call = [
        "eval",
        *shared,
        "--adapter",
        tmp_path / "run-q{quality}" / "adapter.safetensors",
        "--data",
        tmp_path / "train",
    ]
    code, _, err = run(*call, "--methods", "pretrained", "--qualities", 2, "--jobs", 1, "-o", tmp_path / "out")
    assert code == 0, err
    check(rows_of(tmp_path / "out"), ("pretrained",))
