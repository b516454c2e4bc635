"""`taskodec export` and `taskodec-decode` on the shipped codec."""

import json

import numpy as np
import pytest
from PIL import Image

from taskodec.api.decompressor import Decompressor
from taskodec.runtime import cli as runtime_cli
from taskodec.runtime.cli import png


@pytest.fixture
def decode(capsys):
    return lambda *arguments: command(runtime_cli.main, capsys, arguments)


@pytest.fixture
def encode(capsys):
    return lambda *arguments: command(runtime_cli.encode, capsys, arguments)


def command(main, capsys, arguments):
    with pytest.raises(SystemExit) as caught:
        main([str(argument) for argument in arguments])
    out, err = capsys.readouterr()
    return caught.value.code or 0, out, err


def test_one_export_for_a_shipped_adapter_encodes_and_decodes_tuned_and_untuned(
    run, encode, decode, pictures, tmp_path
):
    """In one test, since every export takes seconds."""
    folder, streams = tmp_path / "cls", tmp_path / "streams"
    check = pictures / "one.png"
    code, out, err = run(
        "export", "--codec", "lite", "--task", "cls", "--encoder", "-o", folder, "--check", check, "--json"
    )
    assert (code, err) == (0, "")
    report, *parities = map(json.loads, out.splitlines())
    assert {"analysis.onnx", "hyper_analysis.onnx"} < report["files"].keys()
    kinds = [("torch", False), ("torch", True), ("onnx", False)]
    assert [(p["encoder"], p["tuned"]) for p in parities] == 3 * kinds
    assert all(p["fine"] and p["wrong"] == 0 for p in parities)

    code, out, err = encode(folder, pictures, "-o", f"{streams}/", "-q", 2, "--jobs", 2, "--json")
    assert (code, err) == (0, "")
    assert [json.loads(line)["width"] for line in out.splitlines()] == [96, 70]
    tuned = streams / "tuned.tkd"
    assert run("compress", check, "--task", "cls", "--steps", "2", "-q", "2", "-o", tuned, "--quiet")[0] == 0
    assert decode(folder, streams, "-o", f"{tmp_path}/out/", "--jobs", 2)[0] == 0
    for path in sorted(streams.iterdir()):
        with Image.open(tmp_path / "out" / f"{path.stem}.png") as found:
            expected = np.asarray(Decompressor().decompress(path.read_bytes())).astype(int)
            assert np.abs(np.asarray(found) - expected).max() <= 1

    code, out, err = encode(folder, check, "-q", 8)
    assert code == 2
    assert "quality 8 does not exist" in err


def test_export_check_compress_decode(run, encode, decode, picture, tmp_path):
    folder, stream = tmp_path / "lite", tmp_path / "photo.tkd"
    code, out, err = run("export", "--codec", "lite", "-o", folder, "--check", picture, "--json")
    assert (code, err) == (0, "")
    report, *parities = map(json.loads, out.splitlines())
    assert report["files"].keys() == {"hyper.onnx", "context.onnx", "synthesis.onnx", "tables.npz"}
    assert [(p["quality"], p["tuned"]) for p in parities] == [
        (q, tuned) for q in (0.0, 3.0, 7.0) for tuned in (False, True)
    ]
    assert json.loads((folder / "manifest.json").read_text())["licence"] == "BSD-3-Clause"
    assert all(p["fine"] and p["wrong"] == 0 and p["psnr"] > 90 for p in parities)

    assert run("compress", picture, "-o", stream, "--steps", "2", "--quiet")[0] == 0
    code, out, _ = decode(folder, stream, "-o", tmp_path / "out.png", "--json", "--threads", 1)
    assert (code, json.loads(out)["width"]) == (0, 96)
    with Image.open(tmp_path / "out.png") as found:
        expected = np.asarray(Decompressor().decompress(stream.read_bytes())).astype(int)
        assert np.abs(np.asarray(found) - expected).max() <= 1

    assert run("export", "-o", folder)[0] == 2  # not empty
    code, _, err = encode(folder, picture)
    assert code == 2
    assert "export the codec with --encoder" in err
    code, _, err = decode(folder, stream, "-o", tmp_path / "out.png")
    assert code == 2
    assert "--force" in err
    (tmp_path / "bad.tkd").write_bytes(stream.read_bytes()[:-1])
    code, _, err = decode(folder, tmp_path / "bad.tkd", stream, "-o", f"{tmp_path}/pictures/")
    assert code == 1
    assert "CRC32" in err
    assert [path.name for path in (tmp_path / "pictures").iterdir()] == ["photo.png"]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--codec", "tiny"), "codec 'tiny' cannot be exported"),
        (("--task", "human"), "no adapter is registered for task 'human' and codec 'lite'"),
        (("--plain", "--adapter", "lora"), "--plain leaves the adapter out"),
        (("--opset", "11"), "opset 11 is not possible"),
        (("--check", "no_such_folder/"), "no_such_folder"),
    ],
)
def test_wrong_calls(run, tmp_path, arguments, message):
    code, _, err = run("export", "-o", tmp_path / "out", *arguments)
    assert code == 2
    assert message in err
    assert "Traceback" not in err
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("no_such_decoder", "in.tkd"), "give a folder that `taskodec export` wrote"),
        (("decoder", "in.tkd", "-o", "out.jpg"), "valid suffix is .png"),
        (("decoder", "in.tkd", "--threads", "0"), "--threads"),
    ],
)
def test_wrong_calls_of_decode(decode, arguments, message):
    code, _, err = decode(*arguments)
    assert code == 2
    assert message in err


@pytest.mark.parametrize("size", [(1, 1), (1, 7), (5, 3)])
def test_png_is_read_back(tmp_path, size):
    pixels = np.random.default_rng(0).integers(0, 256, (*size, 3), dtype=np.uint8)
    (tmp_path / "a.png").write_bytes(png(pixels))
    with Image.open(tmp_path / "a.png") as image:
        assert np.array_equal(np.asarray(image), pixels)
