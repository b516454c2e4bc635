"""Runs of `compress` and `decompress` that are stopped, go on, or are part of a pipe."""

import io
import json
import os
import signal
import sys

import numpy as np
import pytest
from PIL import Image

from taskodec.cli.main import main
from taskodec.console.interrupt import Stopped
from taskodec.images.tensors import to_pil

UNTUNED = ("--codec", "tiny", "--steps", "0")


@pytest.fixture
def folder(tmp_path, photo):
    """Four pictures, three of them of one size."""
    folder = tmp_path / "many"
    folder.mkdir()
    for name, x in (("a", photo), ("b", photo.flip(3)), ("c", photo[..., :32]), ("d", photo.flip(2))):
        to_pil(x).save(folder / f"{name}.png")
    return folder


@pytest.fixture
def piped(with_tiny, capsysbinary, monkeypatch):
    """Run a command with bytes on standard input: exit code, bytes of standard output, text of standard error."""

    def call(data, *arguments):
        monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(data)))
        with pytest.raises(SystemExit) as caught:
            main([str(argument) for argument in arguments])
        out, err = capsysbinary.readouterr()
        return caught.value.code or 0, out, err.decode()

    return call


def content(folder):
    return {path.name: path.read_bytes() for path in folder.iterdir()}


@pytest.mark.parametrize(
    "options", [UNTUNED, ("--codec", "tiny", "--preset", "latents", "--steps", "2", "--batch", "3")]
)
def test_a_folder_goes_on_where_it_was_stopped(run, folder, tmp_path, options):
    out = tmp_path / "out"
    call = ("compress", folder, "-o", out, *options)
    assert run(*call, "--quiet") == (0, "", "")
    undisturbed = content(out)
    (out / "a.tkd").unlink()
    (out / "b.tkd").write_bytes(b"")
    (out / f".{'0' * 32}.tmp").write_bytes(undisturbed["a.tkd"])
    code, said, err = run(*call, "--skip-existing", "--json")
    assert code == 0
    reports = {json.loads(line)["input"][-5]: json.loads(line) for line in said.splitlines()}
    assert {name for name, report in reports.items() if report.get("skipped")} == {"c", "d"}
    assert reports["a"]["bytes"] == len(undisturbed["a.tkd"])
    assert f"note: {out / 'b.tkd'} is not whole (it is empty): it is made anew\n" in err
    assert err.endswith("2 of 4 inputs skipped: their outputs are there\n")
    assert content(out) == undisturbed
    assert run(*call, "--skip-existing", "--quiet") == (0, "", "")

    pictures = tmp_path / "pictures"
    assert run("decompress", out, "-o", pictures, "--quiet")[0] == 0
    undisturbed = content(pictures)
    (pictures / "a.png").write_bytes(undisturbed["a.png"][:-4])
    code, said, err = run("decompress", out, "-o", pictures, "--skip-existing")
    assert (code, len(said.splitlines()[0].split())) == (0, 1)
    assert "3 of 4 inputs skipped" in err
    assert content(pictures) == undisturbed


def test_force_and_skip_existing_exclude_each_other(run, folder, tmp_path):
    for command, source in (("compress", folder), ("decompress", tmp_path)):
        code, out, err = run(command, source, "--force", "--skip-existing")
        assert (code, out) == (2, "")
        assert err == "error: --force makes files anew that --skip-existing keeps: give one of them\n"


@pytest.mark.parametrize(
    ("stop", "code"), [(KeyboardInterrupt(), 130), (Stopped(number=signal.SIGTERM), 143)], ids=["SIGINT", "SIGTERM"]
)
def test_a_signal_is_one_line_and_leaves_whole_files_only(run, folder, tmp_path, monkeypatch, tiny_codec, stop, code):
    analysis, done = tiny_codec.analysis, []

    def third(x, quality):
        if x.shape[2:] != (64, 64):  # with which a codec is tried when it is loaded
            done.append(1)
            if len(done) == 3:
                raise stop
        return analysis(x, quality)

    monkeypatch.setattr(tiny_codec, "analysis", third)
    call = ("compress", folder, "-o", tmp_path / "out", *UNTUNED)
    found, _, err = run(*call)
    assert found == code
    assert err == "stopped; 2 of 4 inputs done; the same call with --skip-existing makes the rest\n"
    assert sorted(content(tmp_path / "out")) == ["a.tkd", "b.tkd"]
    assert run(*call, "--skip-existing")[0] == 0
    assert sorted(content(tmp_path / "out")) == ["a.tkd", "b.tkd", "c.tkd", "d.tkd"]


def test_a_signal_before_the_first_input_is_one_line_too(run, picture, monkeypatch):
    monkeypatch.setattr("taskodec.settings.model.load_settings", lambda *given: os.kill(os.getpid(), signal.SIGTERM))
    assert run("compress", picture, *UNTUNED) == (143, "", "stopped\n")


def test_a_pipe_all_the_way(piped, picture, tmp_path):
    code, stream, err = piped(picture.read_bytes(), "compress", "-", "-o", "-", *UNTUNED, "--json")
    report = json.loads(err)
    assert (code, report["input"], report["output"], report["bytes"]) == (0, "-", "-", len(stream))
    code, out, _ = piped(stream, "info", "-", "--json")
    assert (code, json.loads(out)["width"]) == (0, 96)
    code, image, err = piped(stream, "decompress", "-", "-o", "-")
    assert (code, err.splitlines()[0]) == (0, "-")
    (tmp_path / "a.tkd").write_bytes(stream)
    assert piped(b"", "decompress", tmp_path / "a.tkd", "-o", tmp_path / "a.png")[0] == 0
    assert (tmp_path / "a.png").read_bytes() == image
    code, _, err = piped(stream, "decompress", "-", "-o", tmp_path / "a.bmp", "--quiet")
    with Image.open(tmp_path / "a.bmp") as bmp, Image.open(tmp_path / "a.png") as png:
        assert np.array_equal(np.asarray(bmp), np.asarray(png))
    assert not (tmp_path / "-").exists()


def test_what_comes_through_a_pipe_and_is_no_picture_is_one_line(piped):
    assert piped(b"", "compress", "-", "-o", "-", *UNTUNED) == (
        1,
        b"",
        "error: -: cannot read standard input: it is empty\n",
    )
    code, out, err = piped(b"text", "compress", "-", "-o", "-", *UNTUNED)
    assert (code, out, err.startswith("error: -: standard input is not an image")) == (1, b"", True)
    code, _, err = piped(b"text", "decompress", "-", "-o", "-", "--set", "limits.max_pixels=1")
    assert (code, "not a .tkd stream" in err) == (1, True)


def test_inputs_are_bounded(piped, monkeypatch, tmp_path):
    monkeypatch.setattr("taskodec.files.inputs.MOST_BYTES", 100)
    (tmp_path / "large.tkd").write_bytes(bytes(1000))
    for source in ("-", tmp_path / "large.tkd"):
        code, _, err = piped(
            bytes(1000), "decompress", source, "-o", tmp_path / "a.png", "--set", "limits.max_pixels=1"
        )
        assert code == 1
        assert "holds more than 116 bytes" in err


@pytest.mark.parametrize("command", ["compress", "decompress", "info"])
def test_a_named_pipe_that_nobody_writes_to_blocks_nobody(run, tmp_path, monkeypatch, command):
    monkeypatch.setattr("taskodec.files.inputs.WRITER_WAIT", 0)
    os.mkfifo(tmp_path / "pipe")
    output = () if command == "info" else ("-o", tmp_path / ("a.tkd" if command == "compress" else "a.png"))
    code, _, err = run(command, tmp_path / "pipe", *output)
    assert code == 1
    assert "nobody writes to this pipe" in err
    assert len(err.splitlines()) == 1


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["--task", "none.py:loss"], "no such plugin file: none.py"),
        (["--task", "mine.py:loss"], "mine.py has no 'loss', did you mean 'lossy'?"),
        (["--codec", "none"], "unknown codec 'none'"),
        (["--adapter", "none"], "unknown adapter 'none'"),
        (["--adapter", "none.safetensors"], "none.safetensors"),
        (["--config", "none.yaml"], "none.yaml"),
        (["--plugin", "none.py"], "none.py"),
        (["--set", "codec.checkpoint=none.pt"], "none.pt"),
        ([], "already there"),
    ],
)
def test_what_the_call_names_is_looked_at_before_outputs(run, picture, options, words, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "mine.py").write_text("def lossy(x_hat, x):\n    return 0\n")
    picture.with_suffix(".tkd").write_bytes(b"precious")
    codec = [] if "--codec" in options else ["--codec", "tiny"]
    code, _, err = run("compress", picture, *codec, *options)
    assert code == 2
    assert words in err
    assert ("already there" in err) == (not options)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["--adapter", "none.safetensors"], "there is no file none.safetensors"),
        (["--set", "codec.checkpoint=none.pt"], "there is no file none.pt"),
        (["-o", "a.xyz"], "suffix '.xyz' is unknown"),
    ],
)
def test_files_that_decoding_needs_are_looked_at_first(run, picture, options, words):
    stream = picture.with_suffix(".tkd")
    stream.write_bytes(b"no stream")
    code, _, err = run("decompress", stream, *options)
    assert code == 2
    assert words in err


def test_a_stream_is_not_given_the_name_of_a_picture(run, picture, tmp_path):
    code, _, err = run("compress", picture, "-o", tmp_path / "b.png", *UNTUNED)
    assert (code, "streams are no pictures" in err) == (2, True)
    assert run("compress", picture, "-o", tmp_path / "b.bin", *UNTUNED)[0] == 0


def test_what_the_system_refuses_is_one_line_for_one_input(run, folder, tmp_path, monkeypatch):
    def refuse(path, data):
        if path.stem == "b":
            raise OSError(28, "No space left on device", str(path))
        path.write_bytes(data)

    monkeypatch.setattr("taskodec.files.outputs.write_atomic", refuse)
    code, _, err = run("compress", folder, "-o", tmp_path / "out", *UNTUNED)
    lines = err.splitlines()
    assert (code, len(lines)) == (1, 2)
    assert lines[0] == f"error: {folder / 'b.png'}: {tmp_path / 'out' / 'b.tkd'}: No space left on device"
    assert lines[1].startswith("error: 1 of 4 inputs failed")
