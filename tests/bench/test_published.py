import json
import math

import pytest

from taskodec.bench.published import read_published
from taskodec.errors import UsageError


def write(path, name="VTM", **results):
    content = {"name": name, "description": "", "results": {k.replace("_", "-"): v for k, v in results.items()}}
    path.write_text(json.dumps(content))
    return path


def test_a_file_is_a_curve_ascending_in_rate(tmp_path):
    path = write(tmp_path / "vtm.json", bpp=[0.5, 0.1], psnr=[34, 28.5], ms_ssim=[0.99, 0.9], encoding_time=[1, None])
    (curve,) = read_published([path])
    assert (curve.name, curve.file, curve.bpp) == ("VTM", path, (0.1, 0.5))
    assert curve.values["PSNR"] == (28.5, 34)
    assert curve.values["MS-SSIM"] == pytest.approx((10, 20))


@pytest.mark.parametrize(
    ("results", "metric", "value"),
    [
        ({"psnr-rgb": [30], "psnr": [40]}, "PSNR", 30),
        ({"ms-ssim-rgb": [0.9], "ms-ssim": [0.99]}, "MS-SSIM", 10),
        ({"ms-ssim-db-rgb": [12.5]}, "MS-SSIM", 12.5),
    ],
)
def test_all_names_of_the_figures_are_known_and_those_of_rgb_come_first(results, metric, value, tmp_path):
    (curve,) = read_published([write(tmp_path / "one.json", bpp=[0.1], **results)])
    assert list(curve.values) == [metric]
    assert curve.values[metric] == pytest.approx((value,))


def test_a_folder_stands_for_its_files_and_equal_names_are_told_apart(tmp_path):
    for stem, name in (("a_mse", "a"), ("a_ms-ssim", "a"), ("b", "b")):
        write(tmp_path / f"{stem}.json", name, bpp=[0.1], psnr=[30])
    (tmp_path / "curves.png").touch()
    curves = read_published([tmp_path, tmp_path / "b.json"])
    assert [curve.name for curve in curves] == ["a, a_ms-ssim", "a, a_mse", "b"]


@pytest.mark.parametrize(
    ("results", "words"),
    [
        ({"bpp": [0.1]}, "neither PSNR nor MS-SSIM"),
        ({"bpp": [0.1, 0.2], "psnr": [30]}, "1 values of PSNR for 2 rates"),
        ({"bpp": [], "psnr": []}, "results.bpp"),
        ({"psnr": [30]}, "results.bpp: Field required"),
        ({"bpp": [0], "psnr": [30]}, "results.bpp.0"),
        ({"bpp": ["0.1"], "psnr": [30]}, "results.bpp.0"),
        ({"bpp": [0.1], "psnr": [math.nan]}, "results.psnr"),
        ({"bpp": [0.1], "psnr": [None]}, "results.psnr"),
        ({"bpp": [0.1], "ms_ssim": [12.5]}, "results.ms-ssim"),
    ],
)
def test_wrong_figures_are_refused(results, words, tmp_path):
    path = write(tmp_path / "wrong.json", **results)
    with pytest.raises(
        UsageError, match=r"wrong\.json holds no published curve .* expected JSON as CompressAI"
    ) as caught:
        read_published([path])
    assert words in str(caught.value)


@pytest.mark.parametrize("content", [b"", b"[]", b"{", b"\x89PNG", b'{"name": "x"}', b'{"results": {}}'])
def test_other_files_are_refused(content, tmp_path):
    path = tmp_path / "other.json"
    path.write_bytes(content)
    with pytest.raises(UsageError, match=r"other\.json holds no published curve"):
        read_published([path])


def test_what_is_not_there_is_a_wrong_call(tmp_path):
    with pytest.raises(UsageError, match=r"cannot open .*nowhere\.json: No such file"):
        read_published([tmp_path / "nowhere.json"])
    with pytest.raises(UsageError, match=r"holds no \.json file"):
        read_published([tmp_path])


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("[" * 100_000, "nested too deeply"),
        ('{"name": "a", "name": "b"}', "'name' comes twice"),
        ('{"name": "x", "results": {"bpp": [1e400], "psnr": [30]}}', "results.bpp.0"),
        ('{"name": "x", "results": {"bpp": [0.1], "psnr": [1e300]}}', "results.psnr"),
        ('{"name": "%s", "results": {"bpp": [0.1], "psnr": [30]}}' % ("x" * 500), "name"),
        ("\udcff", "codec can't decode"),
    ],
)
def test_hostile_files_are_refused(tmp_path, text, words):
    path = tmp_path / "wrong.json"
    path.write_bytes(text.encode("utf-8", "surrogateescape"))
    with pytest.raises(UsageError, match=rf"(?s)wrong\.json holds no published curve .*{words}"):
        read_published([path])
