import json

import pytest

PAGE = ("report.html", "run.json")


VARIANTS = """
baseline: paper
ours: ours
variants:
  - {name: untuned, about: as it is, set: {ttft.steps: 0}}
  - {name: paper, about: as published, set: {ttft.preset: paper, ttft.steps: 3}}
  - {name: ours, about: better, set: {ttft.preset: default, ttft.steps: 4}}
  - {name: ours-1, about: in one step, like: ours, set: {ttft.steps: 1}}
"""

TASK = """
def {name}(x_hat, x):
    return (x_hat - x).abs().mean() * {scale}
"""


@pytest.fixture
def variants(tmp_path):
    path = tmp_path / "variants.yaml"
    path.write_text(VARIANTS)
    return path


@pytest.fixture
def tasks(tmp_path):
    """Two tasks as they are named on the command line."""
    named = []
    for name, scale in (("one", 1), ("two", 2)):
        path = tmp_path / f"{name}.py"
        path.write_text(TASK.format(name=name, scale=scale))
        named.append(f"{path}:{name}")
    return named


def test_the_command(run, pictures, variants, tasks, tmp_path):
    out_dir = tmp_path / "out"
    call = ["bench", "--ttft", "--data", pictures, "--codec", "tiny", "--variants", variants, "-o", out_dir]
    call += ["--task", tasks[0], "--task", tasks[1], "--jobs", 1, "--set", "ttft.bf16=false"]
    code, out, err = run(*call)
    assert (code, err) == (0, "")
    for words in ("ours, as a multiple of paper", "tiny, one, 2 images, quality 3", "tiny, two, 2 images, quality 3"):
        assert words in out
    plots = {f"cost_seconds_tiny_{name}.{kind}" for name in ("one", "two") for kind in ("png", "svg")}
    assert {p.name for p in out_dir.iterdir()} == {"rows.jsonl", "ablation.json", "ablation.md", *PAGE, *plots}
    assert "- `ours-1`: in one step" in (out_dir / "ablation.md").read_text()

    lines = (out_dir / "rows.jsonl").read_bytes()
    rows = [json.loads(line) for line in lines.splitlines()]
    assert len({(r["image"], r["method"], r["codec"], r["task"], r["quality"]) for r in rows}) == len(rows) == 16
    assert {(r["codec"], r["task"]) for r in rows} == {("tiny", "one"), ("tiny", "two")}
    assert {r["method"]: r["steps"] for r in rows} == {"untuned": 0, "paper": 3, "ours": 4, "ours-1": 1}
    assert all(r["step_seconds"] > 0 for r in rows if r["steps"] > 1)

    code, out, _ = run(*call, "--json")
    assert code == 0
    report = json.loads(out)
    assert report == json.loads((out_dir / "ablation.json").read_text())
    assert (out_dir / "rows.jsonl").read_bytes() == lines
    first = report["cases"][0]
    assert [line["variant"] for line in first["lines"]] == ["untuned", "paper", "ours", "ours-1"]
    own = [r["cost"] for r in rows if (r["task"], r["method"]) == ("one", "ours")]
    assert first["lines"][2]["cost"] == pytest.approx(sum(own) / 2)
    assert [line["worse"] for line in first["lines"] if line["variant"] != "paper"] == [0, 0, 0]
    assert (first["comparisons"], first["images"], first["left_out"]) == ([], 2, 0)


def test_curves_of_four_qualities_have_bd_rates_and_go_on_where_they_were(run, pictures, variants, tasks, tmp_path):
    out_dir = tmp_path / "out"
    call = ["bench", "--ttft", "--data", pictures, "--codec", "tiny", "--variants", variants, "-o", out_dir]
    call += ["--task", tasks[0], "--jobs", 1, "--qualities", "1,2,3,4"]
    assert run(*call, "--images", 1, "--only", "ours,paper,untuned", "--quiet") == (0, "", "")
    before = (out_dir / "rows.jsonl").read_text()
    assert len(before.splitlines()) == 12
    code, out, _ = run(*call, "--json")
    (case,) = json.loads(out)["cases"]
    assert code == 0
    assert (out_dir / "rows.jsonl").read_text().startswith(before)
    assert {(c["method"], c["anchor"]) for c in case["comparisons"]} == {
        (variant, "paper") for variant in ("untuned", "ours", "ours-1")
    }
    assert "BD-rate against paper" in (out_dir / "ablation.md").read_text()

    rows = out_dir / "rows.jsonl"
    rows.write_text("".join(rows.read_text().splitlines(keepends=True)[:-1]))
    code, out, _ = run(*call, "--report-only", "--json")
    (case,) = json.loads(out)["cases"]
    assert (code, case["images"], case["left_out"]) == (0, 1, 1)
    assert len(rows.read_text().splitlines()) == 31


@pytest.mark.compressai
def test_random_weights_are_named_in_the_report(run, picture, variants, tasks, tmp_path):
    out_dir = tmp_path / "out"
    call = ["bench", "--ttft", "--data", picture, "--codec", "bmshj2018-factorized", "--variants", variants]
    assert run(*call, "--task", tasks[0], "--set", "task.lmbda=1", "--jobs", 1, "-o", out_dir, "--quiet")[0] == 0
    assert "its weights are random" in (out_dir / "ablation.md").read_text()


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--ttft", "--anchors", "jpeg"], "--anchors: not with --ttft"),
        (["--ttft", "--speed"], "give one of them"),
        (["--ttft", "--rounds", 3], "--rounds: only with --speed"),
        (["--ttft", "--published", "x.json"], "--published: not with"),
        (["--jobs", 1, "--images", 2], "--images, --jobs: only with --ttft"),
        (["--ttft", "--variants", "nowhere.yaml"], "nowhere.yaml"),
        (["--ttft", "--codec", "tiny", "--codec", "tiny"], "tiny, human would be measured twice"),
        (["--ttft", "--codec", "tiny", "--qualities", "9"], "quality 9 does not exist"),
        (["--ttft", "--task", "cls", "--task", "det", "--labels", "x.tsv"], "say of which task, as in cls=x.tsv"),
        (["--ttft", "--task", "human,cls", "--labels", "x.tsv"], "say whose labels these are, human=x.tsv"),
        (
            ["--ttft", "--task", "cls,det", "--labels", "cls=x.tsv", "--labels", "cls=y.tsv"],
            "for the same part; give one",
        ),
        (["--ttft", "--set", "ttft.keep=best"], "variant 'paper': ttft.keep of the settings would take the place"),
        (["--ttft", "--labels", "x.tsv", "--labels", "y.tsv"], "give one"),
        (["--ttft", "--only", "paper,defualt"], "did you mean 'default'"),
        (["--ttft", "--only", "default"], "compared with paper"),
        (["--ttft", "--codec", "tiny", "--report-only"], "no image with all variants of tiny, human: measure first"),
        (
            ["--ttft", "--set", "ttft.phases=[{train: [latents], steps: 1}]"],
            "variant 'untuned': ttft.phases of the settings",
        ),
    ],
)
def test_wrong_calls_say_why_and_exit_with_2(arguments, words, run, picture, tmp_path):
    code, _, err = run("bench", *arguments, "--data", picture, "-o", tmp_path / "out")
    assert words in " ".join(err.split())
    assert code == 2
    assert not list(tmp_path.glob("out/*"))


def test_options_of_tuning_are_for_variants_that_do_not_set_them(run, picture, variants, tasks, tmp_path):
    out = tmp_path / "out"
    call = ["bench", "--data", picture, "--codec", "tiny", "-o", out, "--jobs", 1]
    variants.write_text(VARIANTS.replace("ttft.preset: default, ttft.steps: 4", "ttft.preset: latents"))
    tuning = ["--quality", "2", "--steps", "2", "--seed", "3", "--quiet", "--set", "ttft.bf16=false"]
    code, _, err = run(*call, "--ttft", "--variants", variants, "--task", tasks[0], *tuning)
    assert (code, err) == (0, "")
    rows = [json.loads(line) for line in (out / "rows.jsonl").read_text().splitlines()]
    assert {r["method"]: r["steps"] for r in rows} == {"untuned": 0, "paper": 3, "ours": 2, "ours-1": 1}
    assert {r["quality"] for r in rows} == {2}
    for option in (["--steps", "0"], ["--seed", "0"], ["--time-budget", "1"], ["--adapter", "lora"]):
        code, _, err = run(*call[:-2], *option)
        assert (code, f"{option[0]}: only with --ttft" in err) == (2, True)
    code, _, err = run(*call[:-2], "--quality", "1", "--qualities", "2")
    assert (code, "give either" in err) == (2, True)


def test_judges_say_what_they_see_in_every_variant(run, pictures, variants, tasks, tmp_path):
    out_dir = tmp_path / "out"
    call = ["bench", "--ttft", "--data", pictures, "--codec", "tiny", "--variants", variants, "-o", out_dir]
    call += ["--task", tasks[0], "--jobs", 1, "--images", 1, "--only", "paper,ours", "--qualities", "1,2,3,4"]
    judges = ["--judge", f"double={tasks[1]}", "--judge", "eye=human", "--judge-set", "eye.metric=ms-ssim"]
    code, out, _ = run(*call, *judges, "--json")
    assert code == 0
    rows = [json.loads(line) for line in (out_dir / "rows.jsonl").read_text().splitlines()]
    for row in rows:
        assert row["judges"]["double"]["task_loss"] == pytest.approx(2 * row["task_loss"])
        assert row["judges"]["eye"]["task_loss"] == pytest.approx(1 - row["judges"]["eye"]["record"]["ms-ssim"])
    judged = json.loads(out)["cases"][0]["judged"]
    assert list(judged["judges"]) == ["one", "double", "eye"]
    assert judged["baseline"] == "paper"
    assert judged["judges"]["double"] == []  # which no variant was made for
    assert "Judged by" in (out_dir / "ablation.md").read_text()
    assert run(*call, "--quiet")[0] == 0  # rows without judges are others
    assert len((out_dir / "rows.jsonl").read_text().splitlines()) == 2 * len(rows)


@pytest.mark.parametrize("judge", [["--judge", "human"], ["--judge-set", "network=x"]])
def test_a_judge_without_a_name_is_refused(run, pictures, tmp_path, judge):
    code, _, err = run("bench", "--ttft", "--data", pictures, "--codec", "tiny", "-o", tmp_path / "out", *judge)
    assert code == 2
    assert "a judge has a name, as in --judge other=cls" in err
