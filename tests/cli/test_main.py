import json
import os
import signal
import subprocess
import sys

import numpy as np
import pytest

from taskodec.hooks import registry


def compress(run, *arguments):
    return run("compress", *arguments, "--codec", "tiny", "--preset", "latents", "--steps", "2")


def test_a_batch_goes_on_after_a_failure_and_sums_up(run, picture, tmp_path):
    broken = picture.with_name("broken.png")
    broken.write_bytes(picture.read_bytes()[:3000])
    missing = tmp_path / "missing.png"
    code, out, err = compress(run, picture.parent, missing, "-o", tmp_path / "streams", "--json")
    assert code == 1
    reports = [json.loads(line) for line in out.splitlines()]
    assert [("error" in r, r["input"]) for r in reports] == [
        (True, str(broken)),
        (False, str(picture)),
        (True, str(missing)),
    ]
    assert "2 of 3 inputs failed" in err
    assert [p.name for p in (tmp_path / "streams").iterdir()] == ["photo.tkd"]


def test_an_unexpected_error_does_not_stop_a_batch(run, picture, tmp_path, monkeypatch):
    picture.with_name("second.png").write_bytes(picture.read_bytes())
    monkeypatch.setattr("taskodec.api.compressor.load_image", lambda *a, **k: 1 / 0)
    code, out, err = compress(run, picture.parent, "-o", tmp_path / "streams", "--json")
    assert code == 1
    said = [json.loads(line)["error"] for line in out.splitlines()]
    assert len(said) == 2
    assert all(line.startswith("ZeroDivisionError: division by zero (test_main.py, line ") for line in said)
    assert "Traceback" in err


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["compress", "PHOTO", "--codec", "tinny"], "unknown codec 'tinny', did you mean 'tiny'"),
        (["compress", "PHOTO", "--codec", "tiny", "--task", "humn"], "did you mean 'human'"),
        (["compress", "PHOTO", "--codec", "tiny", "--quality", "9"], "quality 9 does not exist"),
        (["compress", "PHOTO", "--preset", "papper"], "did you mean 'paper'"),
        (["compress", "PHOTO", "--steps", "-1"], "ttft.steps = -1 (from argument steps)"),
        (["compress", "PHOTO", "--set", "ttft.stepz=1"], "did you mean 'steps'"),
        (["compress", "PHOTO", "--config", "none.yaml"], "none.yaml"),
        (["compress", "PHOTO", "--plugin", "none.py"], "none.py"),
        (["compress", "PHOTO", "COPY", "-o", "out"], "both be written to"),
        (["compress", "PHOTO", "PHOTO"], "both be written to"),
        (["compress", "PHOTO", "-o", "PHOTO"], "is an input"),
        (["decompress", "EXISTING", "-o", "EXISTING"], "is an input"),
        (["compress", "PHOTO", "-o", "photo.png/"], "output photo.png is a file, and its name ends in a slash"),
        (["compress", "PHOTO", "--codec", "tiny", "--set", "codec.checkpoint=none.pt"], "no checkpoint file none.pt"),
        (["compress", "PHOTO", "--set", "device=cuda:99"], "device = 'cuda:99'"),
        (["compress", "PHOTO", "--plugin", "COPY"], "its name must end in .py"),
        (["decompress", "EXISTING", "-o", "x.png", "--set", "device=cuda:99"], "valid: auto, cpu"),
        (["compress", "EMPTY"], "holds no file"),
        (["compress", "PHOTO", "FOLDER", "-o", "COPY"], "give a folder"),
        (["compress"], "Missing argument"),
        (["compress", "PHOTO", "--nonsense"], "No such option"),
        (["squeeze"], "No such command"),
        (["decompress", "EXISTING"], "already there"),
        (["train", "--data", "FOLDER", "-o", "run", "--codec", "mbt2018-mean"], "cannot be trained"),
    ],
)
def test_wrong_calls_say_why_and_exit_with_2(arguments, words, run, picture, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    places = {"PHOTO": picture, "FOLDER": picture.parent, "EMPTY": tmp_path / "empty"}
    places["COPY"] = tmp_path / "photo.png"
    places["EXISTING"] = tmp_path / "photo.tkd"
    places["COPY"].write_bytes(picture.read_bytes())
    places["EXISTING"].write_bytes(b"TK")
    places["EMPTY"].mkdir()
    code, _, err = run(*[places.get(a, a) for a in arguments])
    assert words in " ".join(err.split())
    assert code == 2


@pytest.mark.parametrize("output", ["new/", "new/photo.tkd", "there"])
def test_one_file_goes_to_a_file_or_into_a_folder(output, run, picture, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "there").mkdir()
    code, out, _ = compress(run, picture, "-o", output, "--json")
    assert code == 0
    written = tmp_path / json.loads(out)["output"]
    assert written.name == "photo.tkd"
    assert written.is_file()


def test_a_terminal_without_unicode_is_no_reason_to_stop():
    code = "from taskodec.cli.main import main; main(['plugins'])"
    environment = {**os.environ, "PYTHONIOENCODING": "ascii"}
    call = [sys.executable, "-c", code]
    assert "cls" in subprocess.run(call, env=environment, check=True, capture_output=True, text=True).stdout


def test_existing_files_are_kept_unless_forced(run, picture):
    target = picture.with_suffix(".tkd")
    target.write_bytes(b"precious")
    code, _, err = compress(run, picture)
    assert (code, target.read_bytes()) == (2, b"precious")
    assert "--force" in err
    assert compress(run, picture, "--force")[0] == 0
    assert target.read_bytes() != b"precious"


def test_streams_that_are_none_fail_with_1(run, tmp_path):
    path = tmp_path / "bad.tkd"
    path.write_bytes(b"not a stream")
    for command in ("decompress", "info"):
        code, out, err = run(command, path)
        assert (code, out) == (1, "")
        assert "bad.tkd" in err


def test_a_folder_that_cannot_be_read_is_a_wrong_call(run, picture, monkeypatch):
    scandir = os.scandir

    def refuse(path="."):
        if path == picture.parent:
            raise PermissionError(13, "Permission denied")
        return scandir(path)

    monkeypatch.setattr(os, "scandir", refuse)
    code, _, err = compress(run, picture.parent)
    assert code == 2
    assert f"cannot read folder {picture.parent}: Permission denied" in " ".join(err.split())


def test_plugins_are_listed_with_owners_and_failures(run, tmp_path):
    path = tmp_path / "mine.py"
    path.write_text(
        "from taskodec import TaskSpec, hookimpl\n\n"
        "@hookimpl\ndef register_tasks():\n    return [TaskSpec('mine', dict, 'my own task'),"
        " TaskSpec('far', dict, 'of others', unavailable='Atlantis is not installed')]\n"
    )
    registry.default_registry().failures["broken"] = "ImportError: no luck"
    code, out, _ = run("plugins", "--plugin", path, "--json")
    assert code == 0
    listing = json.loads(out)
    mine = {"name": "mine", "owner": str(path), "description": "my own task", "unavailable": None}
    far = {"name": "far", "owner": str(path), "description": "of others", "unavailable": "Atlantis is not installed"}
    assert [entry for entry in listing["tasks"] if entry["owner"] == str(path)] == [far, mine]
    assert "tiny" in [entry["name"] for entry in listing["codecs"]]
    assert listing["failures"] == {"broken": "ImportError: no luck"}
    out = run("plugins")[1]
    assert "my own task" in out
    assert "broken: ImportError: no luck" in out
    assert "of others (unavailable)" in out
    assert "  Atlantis is not installed\n    tasks: far\n" in out
    code, _, err = compress(run, path, "--task", "far")
    assert (code, err) == (2, "error: task 'far' cannot be used here: Atlantis is not installed\n")


def test_config_prints_what_is_resolved(run):
    code, out, _ = run("config", "--codec", "tic", "--set", "ttft.steps=7", "--json")
    assert code == 0
    assert (json.loads(out)["codec"]["name"], json.loads(out)["ttft"]["steps"]) == ("tic", 7)
    assert "name: tic" in run("config", "--codec", "tic")[1]
    given = ("-q", "2", "--steps", "3", "--preset", "quick", "--seed", "4", "--time-budget", "5", "--adapter", "lora")
    found = json.loads(run("config", "--task", "cls", *given, "--json")[1])
    tuning = found["ttft"]
    assert (found["quality"], found["task"]["name"], found["adapter"]["name"]) == (2, "cls", "lora")
    assert [tuning[key] for key in ("steps", "preset", "seed", "time_budget")] == [3, "quick", 4, 5]


def test_train_writes_weights_and_resumes(run, picture, tmp_path):
    sizes = [f"--set=train.{key}" for key in ("stages=[{until: 1, crop: 32}]", "batch=2", "checkpoint_minutes=9")]
    call = ["train", "--codec", "tiny", "--data", picture.parent, "-o", tmp_path / "run", *sizes]
    code, out, err = run(*call, "--set", "train.steps=2")
    assert (code, err) == (0, "")
    assert out.strip() == str(tmp_path / "run" / "weights.safetensors")
    assert (tmp_path / "run" / "weights.safetensors").exists()
    stored = json.loads((tmp_path / "run" / "settings.json").read_text())
    assert (stored["codec"]["name"], stored["train"]["batch"]) == ("tiny", 2)
    code, _, err = run(*call, "--set", "train.steps=4")
    assert code == 2
    assert "--resume" in err
    assert run(*call, "--steps", "4", "--resume")[0] == 0
    stored = json.loads((tmp_path / "run" / "settings.json").read_text())
    assert stored["train"]["steps"] == 4


def test_a_run_that_cannot_be_is_told_after_what_the_call_names(run, picture, tmp_path):
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "checkpoint.pt").touch()
    for command in ("train", "pretrain"):
        call = (command, "--codec", "tiny", "-o", tmp_path / "run", "--data")
        code, _, err = run(*call, tmp_path / "none")
        assert (code, "none does not exist" in err) == (2, True)
        code, _, err = run(*call, picture.parent)
        assert (code, "already holds a run" in err) == (2, True)
    code, _, err = run("train", "--codec", "tiny", "--data", picture.parent, "-o", picture / "run")
    assert (code, "cannot make folder" in err) == (1, True)


def test_a_stop_of_a_run_says_what_is_kept(run, picture, tmp_path, monkeypatch):
    def stop(*given):
        raise KeyboardInterrupt

    monkeypatch.setattr("taskodec.training.codec.CropDataset.check", stop)
    call = ("train", "--codec", "tiny", "--data", picture.parent, "-o", tmp_path / "run")
    assert run(*call) == (130, "", "stopped before the first checkpoint; nothing is kept\n")
    (tmp_path / "run" / "checkpoint.pt").touch()
    code, _, err = run(*call, "--resume")
    assert (code, "the same command with --resume goes on from the last checkpoint" in err) == (130, True)


@pytest.mark.parametrize(("number", "exit_code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_a_signal_stops_training_with_one_line(run, tiny_codec, picture, tmp_path, number, exit_code):
    aux_loss = tiny_codec.aux_loss

    def interrupted():
        os.kill(os.getpid(), number)
        return aux_loss()

    tiny_codec.aux_loss = interrupted
    sizes = ("--set=train.stages=[{until: 1, crop: 32}]", "--set=train.batch=2", "--set=train.steps=5")
    call = ["train", "--codec", "tiny", "--data", picture.parent, "-o", tmp_path / "run", *sizes]
    code, out, err = run(*call)
    assert (code, out) == (exit_code, "")
    assert err == f"stopped after step 1 of 5; the same command with --resume goes on from {tmp_path / 'run'}\n"
    tiny_codec.aux_loss = aux_loss
    assert run(*call, "--resume")[0] == 0


@pytest.mark.parametrize(
    ("given", "policy"),
    [({}, "PASSIVE"), ({"OMP_WAIT_POLICY": "ACTIVE"}, "ACTIVE"), ({"GOMP_SPINCOUNT": "9"}, None)],
)
def test_waiting_threads_sleep_unless_the_user_has_a_say(run, monkeypatch, given, policy):
    for name in ("OMP_WAIT_POLICY", "GOMP_SPINCOUNT"):
        monkeypatch.setenv(name, "")  # so that it is put back, whatever it was
        monkeypatch.delenv(name)
    for name, value in given.items():
        monkeypatch.setenv(name, value)
    run("--version")
    assert os.environ.get("OMP_WAIT_POLICY") == policy


def test_version_and_help(run):
    assert run("--version")[1].startswith("taskodec ")
    code, out, _ = run("--help")
    assert code == 0
    for command in ("compress", "decompress", "info", "plugins", "config", "train", "pretrain"):
        assert command in out
        assert run(command, "--help")[0] == 0


@pytest.mark.parametrize("call", [["--help"], ["compress", "--help"], ["plugins"], ["config"], ["info", "STREAM"]])
def test_light_commands_do_not_load_torch(call, run, picture):
    compress(run, picture)
    call = [str(picture.with_suffix(".tkd")) if a == "STREAM" else a for a in call]
    code = (
        "import sys\nfrom taskodec.cli.main import main\n"
        f"try:\n    main({call!r})\nexcept SystemExit as stop:\n    assert not stop.code\n"
        "heavy = {'torch', 'PIL', 'timm', 'compressai', 'torchvision'}\n"
        f"heavy |= {{'numpy', 'yaml', 'pluggy'}} if '--help' in {call!r} else set()\n"
        "assert not heavy & set(sys.modules), heavy & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-W", "ignore", "-c", code], check=True, capture_output=True)


def test_json_is_strict(run, capsys):
    from taskodec.cli.common import print_json

    print_json({"psnr": float("inf"), "notes": [float("nan"), 1], "path": np.float64(2.0)})
    assert json.loads(capsys.readouterr().out, parse_constant=pytest.fail) == {
        "psnr": None,
        "notes": [None, 1],
        "path": 2.0,
    }


@pytest.mark.parametrize(("before", "after"), [(None, "1"), ("0", "0")])
def test_tensors_lie_in_large_pages_unless_the_user_says_otherwise(run, monkeypatch, before, after):
    monkeypatch.setenv("THP_MEM_ALLOC_ENABLE", before or "")
    if before is None:
        monkeypatch.delenv("THP_MEM_ALLOC_ENABLE")
    assert run("--version")[0] == 0
    assert os.environ["THP_MEM_ALLOC_ENABLE"] == after
