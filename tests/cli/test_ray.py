"""Commands with `--engine ray`, against the same without; each starts a cluster of one worker."""

import json

import pytest

from taskodec.cli.main import main
from taskodec.extras import missing
from taskodec.images.tensors import to_pil

pytestmark = [
    pytest.mark.skipif(bool(missing("ray")), reason=missing("ray")),
    pytest.mark.filterwarnings("ignore::ResourceWarning"),  # Ray's own processes, when it has been ended
    pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning"),
]

RAY = ("--engine", "ray", "--set", "ray.workers=1", "--set", "ray.cpus=0.5")


@pytest.fixture
def call(capsys, monkeypatch, tmp_path):
    """Run a command: exit code, standard output, standard error."""
    monkeypatch.chdir(tmp_path)

    def run(*arguments):
        with pytest.raises(SystemExit) as caught:
            main([str(argument) for argument in arguments])
        out, err = capsys.readouterr()
        return caught.value.code or 0, out, err

    return run


@pytest.fixture
def tree(tmp_path, photo):
    for name, x in (("a", photo), ("s/b", photo[..., :64]), ("s/c", photo[..., 32:])):
        path = tmp_path / "in" / f"{name}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        to_pil(x).save(path)
    (tmp_path / "in" / "bad.png").write_bytes(b"none")
    return tmp_path


def content(folder):
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_streams_and_pictures_are_those_of_one_process(call, tree):
    options = ("-r", "--steps", 0, "--batch", 2, "--json")
    assert call("compress", "in", *options, "-o", "one")[0] == 1
    code, out, err = call("compress", "in", *options, "-o", f"file://{tree}/two", *RAY, "--report", "failed.jsonl")
    assert (code, err) == (1, "error: 1 of 4 inputs failed: in/bad.png\n")
    assert content(tree / "two") == content(tree / "one")
    reports = [json.loads(line) for line in out.splitlines()]
    assert sorted(report["input"] for report in reports) == ["in/a.png", "in/bad.png", "in/s/b.png", "in/s/c.png"]
    assert [json.loads(line)["type"] for line in (tree / "failed.jsonl").read_text().splitlines()] == ["ImageError"]
    assert "ray" not in reports[0].get("settings", {})
    (tree / "two" / "s" / "b.tkd").unlink()
    code, out, _ = call("compress", "in", *options, "-o", f"file://{tree}/two", *RAY, "--skip-existing")
    assert out.count('"skipped": true') == 2
    assert content(tree / "two") == content(tree / "one")

    assert call("decompress", "one", "-r", "-o", "one.tar", "--quiet")[0] == 0
    assert call("decompress", "one", "-r", "-o", "two.tar", "--quiet", *RAY)[0] == 0
    assert (tree / "two.tar").read_bytes() == (tree / "one.tar").read_bytes()


def test_rows_are_those_of_this_machine(call, tree):
    pytest.importorskip("matplotlib")
    (tree / "in" / "bad.png").unlink()
    (tree / "mine.py").write_text("def loss(x_hat, x):\n    return (x_hat - x).abs().mean()\n")
    options = (
        "--data",
        "in",
        "--task",
        "mine.py:loss",
        "--methods",
        "original,plain",
        "--quality",
        3,
        "--resamples",
        0,
    )
    rows = []
    for out, engine in (("one", ("--jobs", 1)), ("two", RAY)):
        code, _, err = call("eval", *options, "-o", out, *engine, "--quiet")
        assert code == 0, err
        found = [json.loads(line) for line in (tree / out / "rows.jsonl").read_text().splitlines()]
        for row in found:
            for timed in ("seconds", "cpu_seconds", "step_seconds"):
                row.pop(timed)
        rows.append(sorted(found, key=lambda row: (row["image"], row["method"])))
    assert rows[0] == rows[1]
    assert len(rows[0]) == 6
    code, _, err = call("eval", *options, "-o", "three", *RAY, "--jobs", 2)
    assert (code, "set ray.workers" in err) == (2, True)
