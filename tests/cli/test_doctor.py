import json
import os
import re
import subprocess
import sys

import pytest

from taskodec.cli import findings as looked
from taskodec.cli.findings import Finding
from taskodec.cli.probes import Probed, imported

SAID = {"torch": "2.9", "build": "", "gpus": [], "mps": False, "threads": 1, "cores": 4}


@pytest.fixture
def quiet_probes(monkeypatch):
    """No other process is started; everything works, and `det` has no weights."""
    missing = "the weights of yolox_nano are not here and could not be downloaded from x: put it there"
    monkeypatch.setattr(looked.probes, "imported", dict.fromkeys)
    monkeypatch.setattr(looked.probes, "devices", lambda: Probed([[SAID]]))
    monkeypatch.setattr(looked.probes, "coded", lambda: "")
    monkeypatch.setattr(looked.probes, "tasks", lambda: {"cls": "", "det": missing})


def doctor(run, *options):
    code, out, _ = run("doctor", "--json", *options)
    report = json.loads(out)
    return code, report["works"], {finding.pop("name"): finding for finding in report["findings"]}


def test_everything_works(run, quiet_probes):
    code, works, found = doctor(run)
    assert (code, works) == (0, True)
    assert {finding["state"] for finding in found.values()} <= {"fine", "missing"}
    for name in ("Python", "packages", "devices", "threads", "coding", "extra det", "cache", "downloads", "weights"):
        assert name in found
    det = {"state": "missing", "found": "the weights of yolox_nano are not here"}
    assert found["task det"] == {**det, "advice": "`taskodec models fetch yolox_nano`"}
    assert "cls" in found["tasks"]["found"]


def test_lines_for_people_say_what_to_do(run, quiet_probes, monkeypatch, without):
    without("onnx2torch")
    monkeypatch.setenv("TASKODEC_OFFLINE", "1")
    code, out, _ = run("doctor")
    assert code == 0
    assert "-- extra det: onnx2torch is not installed\n   -> `pip install 'taskodec[det]'`\n" in out
    assert "-- downloads: switched off by TASKODEC_OFFLINE\n" in out
    assert out.endswith("the basics work\n")


def test_a_package_that_cannot_be_imported_or_is_too_old(run, quiet_probes, monkeypatch):
    monkeypatch.setattr(looked.probes, "imported", lambda names: {name: "boom" * (name == "torch") for name in names})
    versions = {"pillow": "1.2"}
    monkeypatch.setattr(looked, "_version", lambda name: versions.get(name, "999"))
    code, works, found = doctor(run)
    assert (code, works) == (1, False)
    assert found["torch"]["found"] == "999: boom"
    assert "--index-url https://download.pytorch.org/whl/cpu" in found["torch"]["advice"]
    assert found["pillow"]["found"].startswith("1.2, and pillow>=")
    assert "coding" not in found  # it would only say the same again
    assert "cls" not in found.get("tasks", {}).get("found", "")


def test_what_breaks_others_is_named_as_what_to_mend(run, quiet_probes, monkeypatch):
    said = "RuntimeError: operator torchvision::nms does not exist"
    broken = ("timm", "torchvision")
    monkeypatch.setattr(looked.probes, "imported", lambda names: {name: said * (name in broken) for name in names})
    _, _, found = doctor(run)
    assert found["timm"]["advice"] == "mend torchvision first, on which it depends"
    assert found["torchvision"]["advice"].startswith("install both again, from one index")


def test_a_picture_that_cannot_be_coded(run, quiet_probes, monkeypatch):
    monkeypatch.setattr(looked.probes, "coded", lambda: "illegal instruction")
    code, out, _ = run("doctor")
    assert code == 1
    assert "!! coding: illegal instruction\n" in out
    assert out.endswith("does not work: coding\n")


def test_every_state_of_weights_is_counted(run, quiet_probes):
    from taskodec.hooks.registry import default_registry

    _, _, found = doctor(run)
    said = found["weights"]["found"]
    assert sum(map(int, re.findall(r"\d+", said))) == len(default_registry().weights)
    assert "fetched when first used" in said


def test_a_cache_folder_that_cannot_be_written(run, quiet_probes, monkeypatch, tmp_path):
    (tmp_path / "file").touch()
    monkeypatch.setenv("TORCH_HOME", str(tmp_path / "file"))
    monkeypatch.setitem(sys.modules, "torch.hub", None) if "torch.hub" not in sys.modules else None
    monkeypatch.setattr("taskodec.files.weights.cache_folder", lambda: tmp_path / "file" / "hub")
    _, works, found = doctor(run)
    assert works
    assert found["cache"]["state"] == "missing"
    assert "set TORCH_HOME" in found["cache"]["advice"]


def test_names_reach_no_terminal_as_commands(run, monkeypatch):
    evil = [Finding("plugin a\x1b[31m\n!! b", "missing", "c\nok d", "e\n!! f")]
    monkeypatch.setattr(looked, "findings", lambda: iter(evil))
    code, out, _ = run("doctor")
    assert code == 0
    assert [line[:2] for line in out.splitlines()] == ["--", "  ", "th"]
    assert "\x1b" not in out


BROKEN = {
    "raises": "raise ImportError('libcudart.so.13: cannot open shared object file')",
    "exits": "import sys; sys.exit(3)",
    "crashes": "import os, signal; os.kill(os.getpid(), signal.SIGSEGV)",
}


@pytest.mark.parametrize("kind", BROKEN)
def test_it_works_where_torch_does_not(kind, tmp_path):
    (tmp_path / "torch.py").write_text(BROKEN[kind])
    environment = {**os.environ, "PYTHONPATH": str(tmp_path)}
    call = [sys.executable, "-m", "taskodec", "doctor", "--json"]
    done = subprocess.run(call, env=environment, capture_output=True, text=True, check=False)
    assert (done.returncode, "Traceback" in done.stderr) == (1, False), done.stderr
    report = json.loads(done.stdout)
    broken = {finding["name"]: finding for finding in report["findings"] if finding["state"] == "broken"}
    said = {"raises": "libcudart", "exits": "SystemExit: 3", "crashes": "SIGSEGV"}[kind]
    assert said in broken["torch"]["found"]
    assert "numpy" not in broken
    assert "weights" in {finding["name"] for finding in report["findings"]}


def test_an_import_that_ends_its_process_ends_no_other(tmp_path, monkeypatch):
    (tmp_path / "crashing.py").write_text(BROKEN["crashes"])
    (tmp_path / "talking.py").write_text("print('hello'); import sys; print('{}', file=sys.stderr)")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    found = imported(["json", "crashing", "no_such_package", "talking"])
    assert found == {
        "json": "",
        "crashing": "the process was ended by SIGSEGV",
        "no_such_package": "ModuleNotFoundError: No module named 'no_such_package'",
        "talking": "",
    }


def test_the_whole_on_this_machine():
    call = [sys.executable, "-m", "taskodec", "doctor"]
    done = subprocess.run(call, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, ""), done.stdout
    assert "ok coding: a small picture was tuned by a step, compressed and decompressed" in done.stdout
    assert "human" in done.stdout
