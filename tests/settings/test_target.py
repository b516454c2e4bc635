import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from taskodec.errors import SettingsError
from taskodec.settings.model import load_settings
from taskodec.settings.target import Bound, TargetSettings, check_no_target, parse_bound, parse_size


@pytest.mark.parametrize(
    ("text", "size"),
    [
        ("20000", 20000),
        ("20kB", 20000),
        ("20 KB", 20000),
        ("20KiB", 20480),
        ("1.5MB", 1_500_000),
        (".5kB", 500),
        ("1.0005kB", 1000),
        ("20_000", 20000),
        ("3B", 3),
        ("2GiB", 2**31),
    ],
)
def test_sizes_are_bytes_in_the_usual_units_and_never_more_than_was_said(text, size):
    assert parse_size(text) == size
    assert load_settings(overrides=[f"target.bytes={text}"]).target.bytes == size


@pytest.mark.parametrize("size", [np.int64(300), np.float32(300), 300.0, np.uint16(300)])
def test_sizes_that_were_computed_are_sizes(size):
    found = load_settings(flags={"target.bytes": size}).target.bytes
    assert (found, type(found)) == (300, int)


def test_an_error_names_the_argument_as_it_is_given():
    with pytest.raises(SettingsError, match=r"target\.bytes = 0 \(from argument target_bytes\)"):
        load_settings(flags={"target.bytes": 0})


@given(st.integers(1, 10**12), st.sampled_from(["", "B", "kB", "KiB", "MB", "MiB", "gb"]))
def test_a_size_read_back_is_a_whole_number_of_its_unit(number, unit):
    assert parse_size(f"{number}{unit}") % number == 0


@pytest.mark.parametrize(
    "text",
    ["20 parsecs", "0", "-3", "1.5", "true", "kB", "1e3kB", "20kB/s", "nan", ".inf", "0.0001kB", "1e300", "２０"],
)
def test_what_is_no_size_says_what_would_be(text):
    with pytest.raises(SettingsError, match=r"target\.bytes = .*(20000, 20kB, 1\.5MB or 20KiB|less than)"):
        load_settings(overrides=[f"target.bytes={text}"])


@pytest.mark.parametrize(
    ("text", "bound"),
    [
        ("psnr>=34", Bound("psnr", True, 34.0)),
        (" MS-SSIM >= .98 ", Bound("MS-SSIM", True, 0.98)),
        ("feature_distance<=1e-2", Bound("feature_distance", False, 0.01)),
        ("x>=-1", Bound("x", True, -1.0)),
        ("cls top1_agreement>=1", Bound("cls top1_agreement", True, 1.0)),
    ],
)
def test_a_bound_is_a_metric_a_sign_and_a_number(text, bound):
    assert parse_bound(text) == bound


@pytest.mark.parametrize(
    "text",
    [
        "psnr",
        "psnr>34",
        "psnr=34",
        ">=34",
        "psnr>=",
        "psnr>=x",
        "psnr>=nan",
        "a>=1>=2",
        "",
        "psnr>=30 ssim>=1",
        "psnr>=30,ssim>=1",
    ],
)
def test_what_is_no_bound_is_refused(text):
    with pytest.raises(ValueError, match="METRIC>=X"):
        parse_bound(text)


@pytest.mark.parametrize("value", [".nan", "0", "-1", ".inf", "true", "a"])
def test_a_rate_is_a_number_above_zero(value):
    with pytest.raises(SettingsError, match=r"target\.bpp"):
        load_settings(overrides=[f"target.bpp={value}"])


def test_a_file_has_one_target():
    assert load_settings().target.kind is None
    assert load_settings(overrides=["target.loss=0.5"]).target.kind == "loss"
    with pytest.raises(SettingsError, match="one target, found bytes and metric"):
        load_settings(overrides=["target.bytes=3", "target.metric=psnr>=30"])


def test_unknown_targets_are_named():
    with pytest.raises(SettingsError, match="valid keys: bytes, bpp, loss, metric"):
        load_settings(overrides=["target.size=3"])


def test_a_target_is_written_as_it_is_said():
    assert str(TargetSettings(bytes=20000)) == "bytes<=20000"
    assert str(TargetSettings(metric="psnr>=34")) == "psnr>=34"
    assert str(TargetSettings()) == ""


def test_what_has_no_target_refuses_one():
    check_no_target(TargetSettings(), "eval measures qualities")
    with pytest.raises(SettingsError, match=r"target\.bpp = 0\.2: eval measures qualities"):
        check_no_target(TargetSettings(bpp=0.2), "eval measures qualities")


def test_settings_with_a_target_are_read_back(tmp_path):
    path = tmp_path / "mine.yaml"
    path.write_text(load_settings(overrides=["target.bytes=20kB"]).to_yaml())
    assert load_settings([path]).target.bytes == 20000
