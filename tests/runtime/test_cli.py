"""`taskodec-encode` and `taskodec-decode` as commands: folders that go on, pipes, and what they say."""

import io
import json
import os
import signal
import sys

import numpy as np
import pytest
from PIL import Image

from taskodec.console.interrupt import Stopped
from taskodec.images.tensors import to_pil
from taskodec.runtime import Decoder, Encoder
from taskodec.runtime import cli as runtime_cli


@pytest.fixture
def call(capsysbinary, exported):
    """Run a command on the exported codec: exit code, standard output in bytes, standard error as text."""

    def run(main, *arguments, folder=exported):
        with pytest.raises(SystemExit) as caught:
            main([str(folder), *map(str, arguments)])
        out, err = capsysbinary.readouterr()
        return caught.value.code or 0, out, err.decode()

    return run


@pytest.fixture
def folder(tmp_path, photo):
    """Three pictures, and one that is none."""
    folder = tmp_path / "in"
    folder.mkdir()
    for number, name in enumerate(("a", "b", "d")):
        to_pil(photo[..., : 16 + 16 * number]).save(folder / f"{name}.png")
    return folder


def content(folder):
    return {path.name: path.read_bytes() for path in folder.iterdir()}


@pytest.mark.parametrize("jobs", [1, 2])
def test_a_folder_goes_on_where_it_was_stopped(call, folder, tmp_path, jobs):
    streams, pictures, jobs = tmp_path / "streams", tmp_path / "pictures", ("--jobs", jobs)
    for main, source, out, suffix in (
        (runtime_cli.encode, folder, streams, ".tkd"),
        (runtime_cli.main, streams, pictures, ".png"),
    ):
        assert call(main, source, "-o", f"{out}/", *jobs)[0] == 0
        undisturbed = content(out)
        (out / f"b{suffix}").unlink()
        (out / f"d{suffix}").write_bytes(undisturbed[f"d{suffix}"][:-1])
        (out / f".{'0' * 32}.tmp").write_bytes(b"half")
        code, said, err = call(main, source, "-o", f"{out}/", "--skip-existing", "--json", *jobs)
        assert code == 0
        reports = [json.loads(line) for line in said.splitlines()]
        assert [report.get("skipped", False) for report in reports] == [True, False, False]
        assert f"note: {out / f'd{suffix}'} is not whole" in err
        assert "1 of 3 inputs skipped: their outputs are there" in err
        assert content(out) == undisturbed
        code, said, err = call(main, source, "-o", f"{out}/", "--skip-existing")
        assert (code, said, err) == (0, b"", "3 of 3 inputs skipped: their outputs are there\n")


def test_one_that_fails_does_not_stop_the_others(call, folder, tmp_path):
    (folder / "c.png").write_bytes(b"none")
    code, said, err = call(runtime_cli.encode, folder, tmp_path / "nowhere.png", "-o", tmp_path / "out", "--json")
    assert code == 1
    assert ["error" in json.loads(line) for line in said.splitlines()] == [False, False, True, False, True]
    assert "error: 2 of 5 inputs failed: " in err
    assert sorted(content(tmp_path / "out")) == ["a.tkd", "b.tkd", "d.tkd"]


def test_anything_that_goes_wrong_with_one_is_a_line(call, folder, tmp_path, monkeypatch):
    monkeypatch.setattr(Encoder, "encode", lambda *given: 1 / 0)
    code, _, err = call(runtime_cli.encode, folder / "a.png", "-o", tmp_path / "a.tkd")
    assert (code, err) == (1, f"error: {folder / 'a.png'}: ZeroDivisionError: division by zero\n")


def test_pipes_all_the_way(call, folder, exported, monkeypatch):
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO((folder / "d.png").read_bytes())))
    code, stream, err = call(runtime_cli.encode, "-", "-o", "-", "-q", 2)
    assert (code, err) == (0, f"- -> -: 48x64 pixels, {len(stream)} bytes\n")
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(stream)))
    code, picture, err = call(runtime_cli.main, "-", "-o", "-", "--json")
    assert (code, json.loads(err)["width"]) == (0, 48)
    with Image.open(io.BytesIO(picture)) as image:
        assert np.array_equal(np.asarray(image), Decoder(exported).decode(stream))


def test_a_pipe_that_nobody_writes_to(call, tmp_path, monkeypatch):
    monkeypatch.setattr("taskodec.files.inputs.WRITER_WAIT", 0)
    os.mkfifo(tmp_path / "a.png")
    for main, target in ((runtime_cli.encode, "out.tkd"), (runtime_cli.main, "out.png")):
        code, _, err = call(main, tmp_path / "a.png", "-o", tmp_path / target)
        assert code == 1
        assert "nobody writes to this pipe" in err


def test_what_the_call_names_is_looked_at_before_outputs(call, folder, tmp_path):
    (folder / "a.tkd").write_bytes(b"precious")
    code, _, err = call(runtime_cli.encode, folder / "a.png", folder=tmp_path / "nowhere")
    assert code == 2
    assert "give a folder that `taskodec export` wrote" in err
    code, _, err = call(runtime_cli.encode, folder / "a.png")
    assert (code, "already there" in err) == (2, True)
    code, _, err = call(runtime_cli.encode, folder / "a.png", "--force", "--skip-existing")
    assert (code, err) == (2, "error: --force makes files anew that --skip-existing keeps: give one of them\n")
    assert (folder / "a.tkd").read_bytes() == b"precious"


@pytest.mark.parametrize(
    ("stop", "code"), [(KeyboardInterrupt(), 130), (Stopped(number=signal.SIGTERM), 143)], ids=["SIGINT", "SIGTERM"]
)
def test_a_signal_is_one_line_and_leaves_whole_files_only(call, folder, tmp_path, monkeypatch, stop, code):
    encode, done = Encoder.encode, []

    def second(*given):
        done.append(1)
        if len(done) == 2:
            raise stop
        return encode(*given)

    monkeypatch.setattr(Encoder, "encode", second)
    found, _, err = call(runtime_cli.encode, folder, "-o", tmp_path / "out")
    assert found == code
    assert err == "stopped; 1 of 3 inputs done; the same call with --skip-existing makes the rest\n"
    assert content(tmp_path / "out").keys() <= {"a.tkd", "d.tkd"}


@pytest.mark.parametrize("threads", ["0", "-1", "x", "99999999999999999999"])
def test_numbers_out_of_bounds_are_wrong_calls(call, folder, threads):
    code, _, err = call(runtime_cli.encode, folder / "a.png", "--threads", threads)
    assert code == 2
    assert "--threads: invalid" in err


def test_names_reach_no_terminal_as_commands(call, tmp_path, photo):
    evil = tmp_path / "a\x1b[31m\nerror: b"
    evil.with_suffix(".tkd").write_bytes(b"TK\x1b")
    to_pil(photo).save(evil.with_suffix(".png"))
    decode, encode = runtime_cli.main, runtime_cli.encode
    stream, picture = evil.with_suffix(".tkd"), evil.with_suffix(".png")
    found = [call(decode, stream, "--force"), call(decode, evil), call(encode, picture, "--force")]
    assert [code for code, _, _ in found] == [1, 2, 0]
    for _, out, err in found:
        text = out.decode() + err
        assert "a\\x1b[31m" in text
        assert "\x1b" not in text
        assert not any(line.startswith("error: b") for line in text.splitlines())
