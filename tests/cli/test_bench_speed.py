import json

import pytest

from taskodec.cli.bench_speed import SPEED_ANCHORS
from taskodec.hooks import registry
from taskodec.hooks.registry import Registry

pytestmark = pytest.mark.usefixtures("without_lpips")

PAGE = ("report.html", "run.json")


@pytest.fixture
def speed(run):
    return lambda *arguments: run("bench", "--speed", *arguments)


@pytest.mark.compressai
def test_codecs_are_timed_against_compressai(speed, picture, tmp_path):
    out_dir = tmp_path / "new" / "out"
    code, out, err = speed("--data", picture, "--codec", "tiny", "-o", out_dir, "--rounds", 2, "--threads", 1)
    assert (code, err) == (0, "")
    assert {path.name for path in out_dir.iterdir()} == {"speed.md", "speed.json", *PAGE}
    report = json.loads((out_dir / "speed.json").read_text())
    assert (report["threads"], report["rounds"]) == (1, 2)
    assert [(c["codec"], c["quality"]) for c in report["codecs"]] == [
        ("tiny", 3),
        *((name, 3) for name in SPEED_ANCHORS.split(",")),
    ]
    for codec in report["codecs"]:
        assert codec["encode"]["of_anchor"].keys() == set(SPEED_ANCHORS.split(","))
        for side in (codec["encode"], codec["decode"]):
            assert 0 < side["minimum"] <= side["median"]
            assert sum(side["stages"].values()) <= side["median"] * (1 + 1e-9)
    native = report["codecs"][2]
    assert native["encode"]["stages"]["analysis"] == pytest.approx(sum(native["encode"]["parts"]["analysis"].values()))
    assert "compressai-mbt2018-mean is for timing only" in out
    assert "1 thread, 2 rounds" in (out_dir / "speed.md").read_text()


def test_without_compressai_the_codec_is_timed_alone(without, run, picture, tmp_path, monkeypatch):
    without("compressai")
    plugins = Registry()
    plugins.load_builtins(["taskodec.codecs.plugin"])
    known = dict(registry.default_registry().anchors.items())
    monkeypatch.setattr(registry.default_registry(), "anchors", plugins.anchors)
    assert known.keys() == plugins.anchors.keys()
    call = ("--data", picture, "--codec", "tiny", "-o", tmp_path / "out", "--rounds", 1)
    with pytest.warns(UserWarning, match="anchor 'compressai-.*' is left out: compressai is not installed") as caught:
        code, _, _ = run("bench", "--speed", *call)
    assert (code, len(caught)) == (0, 2)
    report = json.loads((tmp_path / "out" / "speed.json").read_text())
    assert [one["codec"] for one in report["codecs"]] == ["tiny"]
    code, _, err = run("bench", "--speed", *call, "--anchors", SPEED_ANCHORS)
    assert code == 2
    assert "anchor 'compressai-bmshj2018-hyperprior' cannot be used here: compressai is not installed" in err


def test_json_is_what_is_written(speed, pictures, tmp_path):
    call = ("--data", pictures, "--codec", "tiny", "--qualities", "1,2", "--anchors", "jpeg", "--rounds", 1)
    code, out, err = speed(*call, "-o", tmp_path / "out", "--json")
    assert (code, err) == (0, "")
    assert json.loads(out) == json.loads((tmp_path / "out" / "speed.json").read_text())
    assert [(c["codec"], c["quality"]) for c in json.loads(out)["codecs"]] == [("tiny", 1), ("tiny", 2), ("jpeg", 40)]
    code, out, _ = speed(*call, "-o", tmp_path / "out", "--quiet")
    assert (code, out) == (0, "")


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--speed", "--published", "x.json"], "--published: not with --speed"),
        (["--speed", "--rounds", "0"], "Invalid value for '--rounds'"),
        (["--speed", "--set", "device=cuda"], "speed is compared on the CPU"),
        (["--speed", "--anchors", "gif"], "unknown anchor 'gif'"),
        (["--rounds", "3", "--threads", "1"], "--rounds, --threads: only with --speed"),
        pytest.param(
            ["--anchors", "compressai-mbt2018-mean"],
            "compressai-mbt2018-mean: for timing only",
            marks=pytest.mark.compressai,
        ),
    ],
)
def test_wrong_calls_say_why_and_exit_with_2(arguments, words, run, picture, tmp_path):
    code, _, err = run("bench", *arguments, "--data", picture, "--codec", "tiny", "-o", tmp_path / "out")
    assert words in " ".join(err.split())
    assert code == 2
    assert not list(tmp_path.glob("out/*"))


def test_plugins_says_which_anchors_are_for_timing_only(run):
    anchors = {entry["name"]: entry["fidelity"] for entry in json.loads(run("plugins", "--json")[1])["anchors"]}
    assert (anchors["jpeg"], anchors["compressai-mbt2018-mean"]) == (True, False)
    lines = [line for line in run("plugins")[1].splitlines() if "(for timing only)" in line]
    assert [line.split()[0] for line in lines] == SPEED_ANCHORS.split(",")
