import json
import warnings

import pytest

from taskodec.cli.main import main
from taskodec.hooks import registry
from taskodec.hooks.registry import Registry
from taskodec.hooks.specs import CodecSpec, hookimpl

pytestmark = pytest.mark.usefixtures("without_lpips")

PAGE = ("report.html", "run.json")


@pytest.fixture
def plugins(tiny_codec):
    """What is built in, and the tiny codec."""

    class Plugin:
        @hookimpl
        def register_codecs(self):
            return [CodecSpec("tiny", lambda quality=3.0: tiny_codec)]

    found = Registry()
    found.load_builtins()
    found.register(Plugin(), "tests")
    return found


@pytest.fixture
def run(monkeypatch, capsys, plugins):
    monkeypatch.setattr(registry, "default_registry", lambda: plugins)
    monkeypatch.setattr(warnings, "formatwarning", warnings.formatwarning)

    def call(*arguments):
        with pytest.raises(SystemExit) as caught:
            main(["bench", *map(str, arguments)])
        out, err = capsys.readouterr()
        return caught.value.code or 0, out, err

    return call


def test_the_command(run, pictures, tmp_path):
    out_dir = tmp_path / "out"
    call = ["--data", pictures, "--codec", "tiny", "--qualities", "1,2", "--anchors", "jpeg,webp", "-o", out_dir]
    other = tmp_path / "other.json"
    other.write_text(json.dumps({"name": "VTM", "results": {"bpp": [0.1, 0.9], "psnr": [28, 37]}}))
    code, out, err = run(*call, "--published", other)
    assert (code, err) == (0, "")
    assert "BD-rates" in out
    assert "the codec's curve has 2 points" in " ".join(out.split())
    plots = {"rd_psnr.png", "rd_psnr.svg", "rd_ms_ssim.png", "rd_ms_ssim.svg"}
    assert {p.name for p in out_dir.iterdir()} == {"points.jsonl", "rates.json", "summary.md", *PAGE, *plots}
    assert "not measured here: VTM (other.json)" in (out_dir / "summary.md").read_text()

    lines = (out_dir / "points.jsonl").read_bytes()
    code, out, _ = run(*call, "--json")
    assert code == 0
    report = json.loads(out)
    assert [(c["codec"], len(c["points"])) for c in report["curves"]] == [("tiny", 2), ("jpeg", 10), ("webp", 10)]
    assert [b["anchor"] for b in report["bd_rates"]] == ["jpeg", "jpeg", "webp", "webp"]
    assert (out_dir / "points.jsonl").read_bytes() == lines
    assert "not measured here" not in (out_dir / "summary.md").read_text()


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--data", "FOLDER", "--codec", "tiny", "--qualities", "1,x"], "expected numbers"),
        (["--data", "FOLDER", "--codec", "tiny", "--qualities", "9"], "quality 9 does not exist"),
        (
            ["--data", "FOLDER", "--codec", "tiny", "--anchors", "gif"],
            "unknown anchor 'gif'; valid: avif, ",
        ),
        (["--data", "FOLDER", "--codec", "tiny", "--anchors", "jpeg,jpeg"], "jpeg would be measured twice"),
        (["--data", "FOLDER", "--codec", "tiny", "--codec", "tiny"], "tiny would be measured twice"),
        (["--data", "FOLDER", "--codec", "tinny"], "did you mean 'tiny'"),
        (["--data", "FOLDER", "--data", "FOLDER", "--codec", "tiny"], "rename"),
        (["--data", "nowhere.png", "--codec", "tiny"], "nowhere.png"),
        (["--data", "FOLDER", "--codec", "tiny", "--published", "nowhere.json"], "cannot open nowhere.json"),
        (
            ["--data", "FOLDER", "--codec", "tiny", "--published", "none", "--published", "x.json"],
            "leave it out, or the",
        ),
        (["--data", "FOLDER", "--codec", "tiny", "--published", "FOLDER"], "holds no .json file"),
        (["--codec", "tiny"], "Missing option"),
    ],
)
def test_wrong_calls_say_why_and_exit_with_2(arguments, words, run, pictures, tmp_path):
    code, _, err = run(*[pictures if a == "FOLDER" else a for a in arguments], "-o", tmp_path / "out")
    assert words in " ".join(err.split())
    assert code == 2
    assert not list(tmp_path.glob("out/*"))


@pytest.fixture
def few_runtimes(monkeypatch):
    from taskodec.bench import determinism

    monkeypatch.setattr(determinism, "RUNTIMES", ("1 thread", "float64"))


@pytest.mark.usefixtures("few_runtimes")
def test_determinism_counts_for_every_codec(run, picture, tmp_path):
    out = tmp_path / "out"
    call = ("--determinism", "--codec", "tiny", "--data", picture, "--qualities", "1,3", "-o", out)
    code, text, err = run(*call, "--json")
    assert (code, err) == (0, "")
    rows = json.loads(text)["codecs"]["tiny"]
    assert [(row["runtime"], row["streams"], row["wrong_indexes"]) for row in rows] == [
        ("1 thread", 2, 0),
        ("float64", 2, 0),
    ]
    assert json.loads((out / "determinism.json").read_text())["codecs"]["tiny"] == rows
    assert "| float64 | 2 |" in (out / "determinism.md").read_text()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--determinism", "--speed"], "give one of them"),
        (["--determinism", "--anchors", "jpeg"], "--anchors: not with --determinism"),
        (["--determinism", "--rounds", "3"], "--rounds: only with --speed"),
    ],
)
def test_benchmarks_that_do_not_go_together(run, picture, tmp_path, options, message):
    code, _, err = run("--data", picture, "-o", tmp_path / "out", *options)
    assert code == 2
    assert message in err
    assert not (tmp_path / "out").exists()
