"""The static site that scripts/demo.py assembles."""

import base64
import hashlib
import json
import re
import runpy
from pathlib import Path

import numpy as np
import pytest

from taskodec.errors import UsageError
from taskodec.stream.tables import gaussian_tables

ROOT = Path(__file__).parents[2]
PAGE = ROOT / "docs" / "demo"


@pytest.fixture(scope="module")
def demo():
    return runpy.run_path(str(ROOT / "scripts" / "demo.py"))


def links(path):
    """What a page, style sheet or module names by its path."""
    text = path.read_text(encoding="utf-8")
    if path.suffix == ".html":
        return [link for link in re.findall(r'(?:src|href)="([^"]+)"', text) if not link.startswith("data:")]
    found = re.findall(r"from '(\./[^']+)'", text)
    return found + re.findall(r"new URL\('([^']+\.js)'", text)


def test_all_that_the_page_names_is_there():
    files = [PAGE / "index.html", *(PAGE / "js").glob("*.js")]
    named = [(path, link) for path in files for link in links(path)]
    assert len(named) > 20
    assert all((path.parent / link).is_file() for path, link in named)
    reached = {(path.parent / link).resolve() for path, link in named}
    assert reached >= set((PAGE / "js").glob("*.js"))


def test_onnxruntime_comes_from_a_pinned_place_or_from_the_site(demo, tmp_path):
    demo["add_page"](tmp_path / "cdn", None)
    about = json.loads((tmp_path / "cdn" / "runtime.json").read_text())
    assert about["base"] == f"https://cdn.jsdelivr.net/npm/onnxruntime-web@{about['version']}/dist/"
    assert all(digest.startswith("sha384-") for digest in about["files"].values())
    assert not (tmp_path / "cdn" / "README.md").exists()
    dist = tmp_path / "onnxruntime-web" / "dist"
    dist.mkdir(parents=True)
    with pytest.raises(UsageError, match="give the folder `dist`"):
        demo["add_page"](tmp_path / "own", dist)
    for name in about["files"]:
        (dist / name).write_bytes(name.encode())
    (dist.parent / "package.json").write_text('{"version": "9.8.7"}')
    demo["add_page"](tmp_path / "own", dist)
    own = json.loads((tmp_path / "own" / "runtime.json").read_text())
    assert (own["version"], own["base"]) == ("9.8.7", "ort/")
    for name, digest in own["files"].items():
        data = (tmp_path / "own" / "ort" / name).read_bytes()
        assert digest == f"sha384-{base64.b64encode(hashlib.sha384(data).digest()).decode()}"


@pytest.fixture
def site(demo, exported, tmp_path):
    """Two models that share all files but the manifest."""
    listed = [demo["lay_out"](exported, tmp_path, name, "about") for name in ("one", "two")]
    demo["write_index"](tmp_path, listed)
    return tmp_path


def test_models_are_fetched_once_and_checked(site, exported, small_adapter, values, node):
    (found,) = values(("site", {"base": f"{site.as_uri()}/", "names": ["one", "two"]}))
    one, two = found["about"]
    assert one == two
    assert one["adapter"] == small_adapter.fingerprint().hex()
    with np.load(exported / "tables.npz") as arrays:
        assert one["arrays"] == len(arrays.files)
    assert one["tables"]["gaussian"] == base64.b64encode(gaussian_tables().fingerprint).decode()
    assert sorted(one["tables"]) == ["gaussian", "z"]
    assert found["sessions"] == 3
    assert len(found["fetched"]) == len(set(found["fetched"]))

    graph = next(site.glob("synthesis-*.onnx"))
    graph.write_bytes(graph.read_bytes()[:-1] + b"x")
    (altered,) = node(("site", {"base": f"{site.as_uri()}/", "names": ["one"]}))
    assert altered["error"] == "WeightsError"
    graph.unlink()
    (missing,) = node(("site", {"base": f"{site.as_uri()}/", "names": ["one"]}))
    assert (missing["error"], "404" in missing["message"]) == ("WeightsError", True)
