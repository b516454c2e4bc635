"""Sizes and figures to keep to, on the command line."""

import json

import pytest


def compress(run, *arguments):
    return run("compress", *arguments, "--codec", "tiny", "--preset", "latents", "--steps", "2")


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
