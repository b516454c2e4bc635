import json
import os
from contextlib import contextmanager

import numpy as np
import pytest
import torch
from PIL import Image

from taskodec.contracts import Tiling
from taskodec.images.tensors import to_pil
from taskodec.pixels.icc import BT709, matrix_profile
from taskodec.stream.bitstream import Header, Stream

LOSS = "def loss(x_hat, x):\n    return (x_hat - x).square().mean()\n"


def compress(run, *arguments):
    return run("compress", *arguments, "--codec", "tiny", "--preset", "latents", "--steps", "2")


def test_compress_and_decompress(run, picture, tmp_path):
    stream, image = tmp_path / "out.tkd", tmp_path / "out.png"
    code, out, _ = compress(run, picture, "-o", stream, "--quality", "2", "--json")
    assert code == 0
    report = json.loads(out)
    assert (report["input"], report["output"]) == (str(picture), str(stream))
    assert report["bytes"] == stream.stat().st_size
    assert report["bpp"] == pytest.approx(8 * report["bytes"] / (64 * 96))
    parts = report["bpp_latent"] + report["bpp_adapter"] + report["bpp_header"]
    assert parts == pytest.approx(report["bpp"])
    assert report["cost_after"] <= report["cost_before"]
    needed = {"bpp_before", "task_loss_before", "task_loss_after", "psnr", "steps", "seconds", "chosen"}
    assert needed <= set(report)
    assert (report["codec"], report["task"], report["quality"]) == ("tiny", "human", 2)
    assert (report["settings"]["codec"]["name"], report["settings"]["ttft"]["preset"]) == ("tiny", "latents")

    code, out, _ = run("decompress", stream, "-o", image, "--json")
    assert code == 0
    assert json.loads(out)["output"] == str(image)
    with Image.open(image) as decoded:
        assert decoded.size == (96, 64)


def test_decoding_with_the_checkpoint_that_encoded(run, picture, tmp_path, tiny_codec):
    """The codec need not be named again: the stream names it."""
    other, stream, image = tmp_path / "other.pt", tmp_path / "a.tkd", tmp_path / "a.png"
    state = {name: 0.9 * value for name, value in tiny_codec.state_dict().items() if name.startswith("g_s.")}
    torch.save({**tiny_codec.state_dict(), **state}, other)
    checkpoint = ("--set", f"codec.checkpoint={other}")
    assert compress(run, picture, "-o", stream, *checkpoint)[0] == 0
    code, _, err = run("decompress", stream, "-o", image)
    assert code == 1
    assert "codec.checkpoint=FILE" in err
    assert run("decompress", stream, "-o", image, *checkpoint)[0] == 0
    compress(run, picture, "-o", stream, "--force")
    run("decompress", stream, "-o", tmp_path / "plain.png")
    with Image.open(image) as decoded, Image.open(tmp_path / "plain.png") as plain:
        assert not np.array_equal(np.asarray(decoded), np.asarray(plain))
    code, _, err = run("decompress", stream, "-o", image, "--force", *checkpoint)
    assert code == 1
    assert "weights" in err


def test_what_was_changed_in_a_picture_is_said(run, picture, tmp_path):
    """By `compress` in words and in JSON."""
    with Image.open(picture) as image:
        image.putalpha(255)
        image.save(picture, icc_profile=matrix_profile(BT709, 1.0, "linear light"))
    said = ["colours converted from 'linear light' to sRGB", "opaque alpha dropped"]
    code, out, _ = compress(run, picture, "-o", tmp_path / "a.tkd", "--json")
    assert (code, json.loads(out)["notes"]) == (0, said)
    code, out, _ = compress(run, picture, "-o", tmp_path / "b.tkd")
    assert code == 0
    assert [line for line in out.splitlines() if "note:" in line] == [f"  note: {note}" for note in said]


def test_what_a_format_cannot_hold_leaves_no_file(run, tmp_path):
    tall, stream, image = tmp_path / "tall.png", tmp_path / "tall.tkd", tmp_path / "out" / "tall.webp"
    Image.new("RGB", (16, 16400)).save(tall)
    assert run("compress", tall, "-o", stream, "--codec", "tiny", "--steps", "0")[0] == 0
    code, _, err = run("decompress", stream, "-o", image)
    assert code == 1
    assert "WebP takes at most 16383 pixels a side, and the picture has 16x16400: choose another format" in err
    assert "Traceback" not in err
    assert list(image.parent.iterdir()) == []


def test_folders_that_cannot_be_made_are_known_before_tuning(run, picture, monkeypatch):
    (picture.parent / "file").write_bytes(b"")
    monkeypatch.setattr("taskodec.api.compressor.Compressor.compress", lambda *a, **k: pytest.fail("tuned in vain"))
    for output in (picture.parent / "file" / "there" / "a.tkd", f"{picture.parent}/file/there/"):
        code, out, err = compress(run, picture, "-o", output)
        assert (code, out) == (1, "")
        assert "cannot make folder" in err
        assert "Traceback" not in err
    monkeypatch.setattr(os, "access", lambda path, mode: mode != os.W_OK)
    code, _, err = compress(run, picture)
    assert code == 1
    assert "no permission" in err


def test_what_a_stream_says_reaches_no_terminal_as_it_is(run, tmp_path):
    path = tmp_path / "odd.tkd"
    said = {"note": "\x1b[2J\x9b31m", "\x1b]0;": 1, "list": ["\x07"]}
    path.write_bytes(Stream(Header("lite", b"abcd", 2**20, 2**20, 3, metadata=said), b"").to_bytes())
    code, out, err = run("info", path)
    assert (code, err) == (0, "")
    assert out.replace("\n", "").isprintable()
    assert r'"note": "\u001b[2J\u009b31m"' in out
    assert json.loads(run("info", path, "--json")[1])["metadata"] == said


def test_info_describes_a_stream(run, picture):
    compress(run, picture, "--quality", "2.5")
    code, out, _ = run("info", picture.with_suffix(".tkd"), "--json")
    report = json.loads(out)
    assert code == 0
    assert (report["codec"], report["width"], report["height"], report["quality"]) == ("tiny", 96, 64, 2.5)
    assert report["bytes"] == report["header_bytes"] + report["payload_bytes"]
    code, out, _ = run("info", picture.with_suffix(".tkd"))
    assert "tiny" in out


def test_a_loss_from_a_file(run, picture, tmp_path):
    (tmp_path / "mine.py").write_text(LOSS)
    code, out, _ = compress(run, picture, "--task", f"{tmp_path / 'mine.py'}:loss", "--json")
    assert code == 0
    assert json.loads(out)["task_loss_before"] > 0
    assert picture.with_suffix(".tkd").exists()


def test_the_readable_report_and_silence(run, picture):
    code, out, _ = compress(run, picture)
    assert code == 0
    assert "photo.tkd" in out
    assert "cost" in out
    code, out, err = compress(run, picture, "--force", "--quiet")
    assert (code, out, err) == (0, "", "")


def test_large_pictures_show_their_tiles_and_silence_does_not(run, picture, tmp_path, tiny_codec, monkeypatch):
    """A limit of 48 x 48 makes the small picture a large one; the file is the same but for rounding."""
    tiny_codec.tiling = Tiling(16, 16, 16)
    drawn = []

    @contextmanager
    def bar(label, quiet):
        yield None if quiet else lambda step, total, info: drawn.append((label, step, total))

    monkeypatch.setattr("taskodec.cli.coding.progress_bar", bar)
    stream, image, limit = tmp_path / "a.tkd", tmp_path / "a.png", ("--set", "limits.tile=2304")
    plain = ("compress", picture, "--codec", "tiny", "--steps", "0", "-o")
    assert run(*plain, stream, *limit)[0] == 0
    total = drawn[-1][2]
    assert total > 2
    assert drawn == [("photo.png", i + 1, total) for i in range(total)]
    assert run("decompress", stream, "-o", image, *limit)[0] == 0
    decoding = drawn[total:]
    assert decoding == [("a.tkd", i + 1, len(decoding)) for i in range(len(decoding))]
    assert 1 < len(decoding) < total
    drawn.clear()
    assert run(*plain, stream, *limit, "--force", "--quiet") == (0, "", "")
    assert run(*plain, tmp_path / "whole.tkd")[0] == 0
    assert drawn == []
    assert stream.stat().st_size == pytest.approx((tmp_path / "whole.tkd").stat().st_size, abs=4)
    run("decompress", stream, "-o", tmp_path / "whole.png")
    with Image.open(image) as tiled, Image.open(tmp_path / "whole.png") as whole:
        difference = np.asarray(tiled).astype(int) - np.asarray(whole)
    assert abs(difference).max() <= 1


def test_a_batch_holds_images_of_one_size(run, tmp_path, photo, tiny_codec, monkeypatch):
    folder, seen = tmp_path / "many", []
    folder.mkdir()
    for name, x in (("a", photo), ("b", photo[..., :48]), ("c", photo.flip(3)), ("d", photo.flip(2))):
        to_pil(x).save(folder / f"{name}.png")
    (folder / "broken.png").write_bytes(b"no picture")
    entropy = tiny_codec.entropy
    monkeypatch.setattr(
        tiny_codec, "entropy", lambda latents, *rest: (seen.append(len(latents.y)), entropy(latents, *rest))[1]
    )
    code, out, _ = compress(run, folder, "-o", tmp_path / "out", "--batch", "2", "--json")
    assert code == 1
    reports = {json.loads(line)["input"][-5:-4]: json.loads(line) for line in out.splitlines()}
    assert set(reports) == {"a", "b", "c", "d", "n"}
    assert "error" in reports.pop("n")
    assert all(report["steps"] == 2 and "error" not in report for report in reports.values())
    assert 2 in seen
    assert max(seen) == 2
    for name in reports:
        alone = tmp_path / f"{name}.tkd"
        compress(run, folder / f"{name}.png", "-o", alone)
        assert alone.stat().st_size == pytest.approx(reports[name]["bytes"], abs=3)


def test_a_batch_is_no_larger_than_memory_allows(run, tmp_path, photo, tiny_codec, monkeypatch):
    for name in "abc":
        to_pil(photo).save(tmp_path / f"{name}.png")
    seen, entropy = [], tiny_codec.entropy
    monkeypatch.setattr(
        tiny_codec, "entropy", lambda latents, *rest: (seen.append(len(latents.y)), entropy(latents, *rest))[1]
    )
    files = [tmp_path / f"{name}.png" for name in "abc"]
    limit = f"limits.max_tuning_pixels={2 * 64 * 96 + 1}"
    assert compress(run, *files, "-o", tmp_path / "out", "--batch", "3", "--set", limit)[0] == 0
    assert max(seen) == 2


def test_pictures_too_large_to_tune_are_tuned_in_patches(run, tmp_path, pictures):
    limit = ("--batch", "2", "--set", "limits.max_tuning_pixels=1024", "--json")
    code, out, err = compress(run, pictures, "-o", tmp_path / "out", *limit)
    assert code == 1
    assert "ttft.patch=256" in out + err
    code, out, _ = compress(run, pictures, "-o", tmp_path / "out", *limit, "--set", "ttft.patch=32")
    assert code == 0
    reports = [json.loads(line) for line in out.splitlines()]
    assert [report["steps"] for report in reports] == [2, 2]
    assert all(report["cost_after"] <= report["cost_before"] for report in reports)
    assert reports[0]["settings"]["ttft"]["patch"] == 32
    assert run("decompress", tmp_path / "out", "-o", tmp_path / "decoded")[0] == 0


def test_patches_that_are_no_multiple_of_the_stride_are_refused(run, picture, tmp_path):
    code, _, err = compress(run, picture, "-o", tmp_path / "a.tkd", "--set", "ttft.patch=100")
    assert code != 0
    assert "ttft.patch is 100" in err
    assert "ttft.patch=96" in err
    assert "Traceback" not in err
    code, _, err = compress(run, picture, "-o", tmp_path / "a.tkd", "--set", "ttft.patch=0")
    assert code != 0
    assert "ttft.patch" in err


def test_a_loss_that_ends_the_program_ends_one_picture(run, pictures, tmp_path):
    """The second of them: the others are written, the fault is said, and the exit code is not 0."""
    loss = tmp_path / "ends.py"
    loss.write_text(
        "import sys\nseen = set()\ndef loss(x_hat, x):\n    seen.add(x.shape)\n"
        "    if len(seen) > 1:\n        sys.exit(0)\n    return (x_hat - x).square().mean()\n"
    )
    code, out, err = run("compress", pictures, "--codec", "tiny", "--steps", 2, "--task", f"{loss}:loss", "-q", 2)
    assert code == 1
    assert "two.png: task 'loss': its loss raised SystemExit: 0" in err
    assert "Traceback" not in err
    assert (pictures / "one.tkd").exists()
    assert not (pictures / "two.tkd").exists()
    assert out.count("->") > 1


@pytest.mark.parametrize("text", ["raise SystemExit(0)", "raise GeneratorExit", "import sys; sys.exit('enough')"])
def test_a_task_file_that_ends_the_program_is_an_error(run, picture, tmp_path, text):
    task = tmp_path / "ends.py"
    task.write_text(text)
    code, out, err = run("compress", picture, "--codec", "tiny", "--task", f"{task}:loss")
    assert (code, out) == (2, "")
    assert err.startswith(f"error: {task} cannot be imported: ")
    assert err.count("\n") == 1


@pytest.mark.parametrize("command", ["compress", "decompress"])
def test_ctrl_c_is_one_line_and_130(run, picture, tiny_codec, monkeypatch, command):
    assert run("compress", picture, "--codec", "tiny", "--steps", 0)[0] == 0
    before = sorted(picture.parent.iterdir())

    def interrupted(*args):
        raise KeyboardInterrupt

    for method in ("analysis", "synthesis"):
        monkeypatch.setattr(tiny_codec, method, interrupted)
    source = picture if command == "compress" else picture.with_suffix(".tkd")
    options = ["--codec", "tiny"] if command == "compress" else []
    code, out, err = run(command, source, *options, "--force", "--quiet")
    assert (code, out) == (130, "")
    assert err in ("stopped\n", "stopped; 0 of 1 inputs done\n")  # while the codec is tried, or the file decoded
    assert sorted(picture.parent.iterdir()) == before


def test_whatever_else_would_end_a_command_is_an_error(run, picture, monkeypatch):
    def ends(*args):
        raise SystemExit(0)

    monkeypatch.setattr("taskodec.api.compressor.Compressor.__init__", ends)
    code, out, err = run("compress", picture, "--codec", "tiny")
    assert (code, out) == (2, "")
    assert err.startswith("error: something that this command calls raised SystemExit: 0 (test_coding.py, line ")
    assert err.count("\n") == 1


def test_a_size_that_is_kept_to_is_said(run, picture, tmp_path):
    """In words and in JSON; a pipe has it too."""
    code, out, _ = compress(run, picture, "-o", tmp_path / "a.tkd", "--target-bytes", "0.12kB", "--json")
    report = json.loads(out)
    assert (code, report["target"]["limit"]) == (0, "bytes<=120")
    assert (tmp_path / "a.tkd").stat().st_size == report["bytes"] == report["target"]["reached"] <= 120
    assert report["target"]["used"] == report["bytes"] / 120
    code, out, _ = compress(run, picture, "-o", tmp_path / "b.tkd", "--target-bpp", 0.16)
    assert code == 0
    assert "target bpp<=0.16: " in out
    assert 8 * (tmp_path / "b.tkd").stat().st_size <= 0.16 * 96 * 64


@pytest.mark.parametrize(
    ("option", "value", "words"),
    [
        ("--target-bytes", "20 parsecs", "20kB, 1.5MB or 20KiB"),
        ("--target-bytes", "0", "a number of bytes from 1 on"),
        ("--target-bytes", "-5", "a number of bytes from 1 on"),
        ("--target-bpp", "nan", "finite"),
        ("--target-bpp", "0", "greater than 0"),
        ("--target-loss", "inf", "finite"),
        ("--target", "psnr>34", "METRIC>=X"),
    ],
)
def test_targets_that_are_none_are_refused_before_anything_is_read(run, tmp_path, option, value, words):
    code, out, err = run("compress", tmp_path / "missing.png", option, value)
    assert (code, out) == (2, "")
    assert words in err


def test_a_target_that_cannot_be_met_is_an_error_of_its_picture(run, pictures, tmp_path):
    code, _, err = run(
        "compress", pictures, "-o", tmp_path / "out/", "--codec", "tiny", "--steps", 0, "--target-bytes", 5
    )
    assert code == 1
    assert err.count("the least that codec 'tiny' comes to is") == 2
    assert not list((tmp_path / "out").glob("*.tkd"))
    code, _, err = run(
        "compress", pictures, "-o", tmp_path / "out/", "--codec", "tiny", "--steps", 0, "--target", "x>=1"
    )
    assert code == 2  # once, not for each picture
    assert err.count("valid: psnr, ms-ssim, lpips") == 1


@pytest.mark.parametrize(
    "command", [("eval", "--data"), ("bench", "--data"), ("train", "--data"), ("pretrain", "--data")]
)
def test_commands_of_their_own_qualities_refuse_targets(run, pictures, tmp_path, command):
    code, _, err = run(*command, pictures, "-o", tmp_path / "run", "--set", "target.bytes=20kB")
    assert code == 2
    assert "only `taskodec compress`" in err
