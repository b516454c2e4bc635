import json
import sys

from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from taskodec.training.log import TrainLog


def write(out, start, steps, loss):
    with TrainLog(out, start) as log:
        for step in steps:
            log.report(step, 1.4, {"loss": loss, "lr": 0.5})
            log.validation(step, 1.4, [{"quality": 2.0, "bpp": 0.25, "psnr": 30.0}])


def read(out):
    return [json.loads(line) for line in (out / "log.jsonl").read_text().splitlines()]


def test_lines_of_json(tmp_path):
    write(tmp_path, 0, [50], 2.0)
    assert read(tmp_path) == [
        {"step": 50, "seconds": 1, "loss": 2.0, "lr": 0.5},
        {"step": 50, "seconds": 1, "validation": [{"quality": 2.0, "bpp": 0.25, "psnr": 30.0}]},
    ]


def test_a_resumed_log_drops_what_is_done_again(tmp_path):
    write(tmp_path, 0, [50, 100, 150], 2.0)
    with (tmp_path / "log.jsonl").open("a") as file:
        file.write('{"step": 2')
    write(tmp_path, 100, [150], 1.0)
    losses = [(line["step"], line["loss"]) for line in read(tmp_path) if "loss" in line]
    assert losses == [(50, 2.0), (100, 2.0), (150, 1.0)]


def test_tensorboard_shows_one_curve_over_a_resume(tmp_path):
    write(tmp_path, 0, [50, 100, 150], 2.0)
    write(tmp_path, 100, [150, 200], 1.0)
    events = EventAccumulator(str(tmp_path)).Reload()
    assert sorted(events.Tags()["scalars"]) == ["train/loss", "train/lr", "validation_bpp/q2", "validation_psnr/q2"]
    assert [(e.step, e.value) for e in events.Scalars("train/loss")] == [(50, 2), (100, 2), (150, 1), (200, 1)]
    assert [e.value for e in events.Scalars("validation_psnr/q2")] == [30] * 4


def test_without_tensorboard_there_is_the_json_log(tmp_path, monkeypatch):
    monkeypatch.delitem(sys.modules, "torch.utils.tensorboard", raising=False)
    monkeypatch.setitem(sys.modules, "tensorboard", None)
    write(tmp_path, 0, [50], 2.0)
    assert [path.name for path in tmp_path.iterdir()] == ["log.jsonl"]
    assert len(read(tmp_path)) == 2


def test_lines_that_are_none_are_dropped(tmp_path):
    lines = [
        b'{"step": 50, "loss": 1}',
        b"\xff\xfe",
        b"[" * 100_000,
        b'{"step": "x"}',
        b"5",
        b'{"step": 60, "loss": NaN}',
    ]
    (tmp_path / "log.jsonl").write_bytes(b"\n".join(lines) + b"\n")
    with TrainLog(tmp_path, 100):
        pass
    assert [line["step"] for line in read(tmp_path)] == [50, 60]
