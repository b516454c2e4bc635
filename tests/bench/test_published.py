import json
import math
import re
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from taskodec.bench import published
from taskodec.bench.fidelity import sources
from taskodec.bench.published import against_published, kodak_curves, read_published
from taskodec.bench.rd import Curve, CurvePoint, Summary
from taskodec.bench.rd_report import as_json, markdown
from taskodec.errors import UsageError

KODAK = Path(__file__).parents[2] / "core" / "bench" / "data" / "kodak.json"
MEASURED = Curve("mine", "codec", tuple(CurvePoint(n, 0.1 * 1.5**n, 26 + 2 * n, 1 - 0.1 / 1.5**n) for n in range(6)))


def write(path, name="VTM", **results):
    content = {"name": name, "description": "", "results": {k.replace("_", "-"): v for k, v in results.items()}}
    path.write_text(json.dumps(content))
    return path


def test_a_file_is_a_curve_ascending_in_rate(tmp_path):
    path = write(tmp_path / "vtm.json", bpp=[0.5, 0.1], psnr=[34, 28.5], ms_ssim=[0.99, 0.9], encoding_time=[1, None])
    (curve,) = read_published([path])
    assert (curve.name, curve.source, curve.bpp) == ("VTM", "vtm.json", (0.1, 0.5))
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


@pytest.fixture
def two_pictures(tmp_path, monkeypatch):
    """Two small pictures, and a set of curves that were measured on just these."""
    paths = []
    for number in range(2):
        pixels = np.random.default_rng(number).integers(0, 256, (16, 24, 3), dtype=np.uint8)
        paths.append(tmp_path / f"{number}.png")
        Image.fromarray(pixels).save(paths[-1])
    shipped = json.loads(KODAK.read_text())
    shipped["images"] = {path.stem: published._pixels(path, 10**6) for path in paths}
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "kodak.json").write_text(json.dumps(shipped))
    monkeypatch.setattr(published, "files", lambda package: tmp_path)
    return paths


def test_shipped_curves_go_with_their_images_alone(two_pictures, tmp_path):
    names = [curve.name for curve in kodak_curves(sources(two_pictures), 10**6)]
    assert {"AV1", "VTM", "bmshj2018-hyperprior", "cheng2020-anchor", "EVC-S", "Cool-Chic 5.0"} <= set(names)
    again = [path.with_suffix(".bmp") for path in two_pictures]
    for path, other in zip(two_pictures, again, strict=True):
        Image.open(path).save(other)
    assert len(kodak_curves(sources(again), 10**6)) == len(names)
    assert kodak_curves(sources(two_pictures[:1]), 10**6) == []
    Image.new("RGB", (24, 16)).save(two_pictures[0])
    assert kodak_curves(sources(two_pictures), 10**6) == []


def test_shipped_curves_say_where_they_are_from():
    shipped = json.loads(KODAK.read_text())
    assert len(set(shipped["images"].values())) == 24
    for curve in shipped["curves"]:
        source = curve["source"]
        assert source["repository"].startswith("https://github.com/")
        assert len(source["commit"]) == 40
        assert source["licence"]
        bpp, psnr = curve["results"]["bpp"], curve["results"]["psnr-rgb"]
        assert sorted(bpp) == bpp or sorted(bpp, reverse=True) == bpp
        assert [rate for _, rate in sorted(zip(psnr, bpp, strict=True))] == sorted(bpp)


def test_bd_rates_against_published_curves(tmp_path):
    (other,) = read_published(
        [write(tmp_path / "x.json", bpp=[0.2 * 1.5**n for n in range(6)], psnr=[26 + 2 * n for n in range(6)])]
    )
    found = against_published(MEASURED, other)
    assert found.keys() == {"PSNR"}
    assert found["PSNR"].percent == pytest.approx(-50)
    text = markdown(Summary(1, (), (MEASURED,), ()), (), [other])
    assert "## BD-rates against published curves, not measured here" in text
    assert "| VTM | PSNR | -50.0 % |" in text
    ((entry),) = as_json(Summary(1, (), (MEASURED,), ()), [other])["published"]
    assert entry["bd_rates"][0]["mean_curve"]["percent"] == pytest.approx(-50)


def test_what_can_hardly_be_compared_is_marked(tmp_path):
    part = write(tmp_path / "a.json", "part", bpp=[0.1, 0.2, 0.3, 0.4], psnr=[26, 28, 30, 31])
    none = write(tmp_path / "b.json", "none", bpp=[0.1, 0.2, 0.3], psnr=[26, 28, 30])
    text = markdown(Summary(1, (), (MEASURED,), ()), (), read_published([part, none]))
    assert "| none | PSNR | - |" in text
    assert re.search(r"\| part \| PSNR \| [+-][0-9.]+ %\* \|", text)
