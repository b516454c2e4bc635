"""docs/cpp.md says all that a decoder needs: one that was written from it gives taskodec's own latents."""

import ast
import json
import re
from pathlib import Path

import numpy as np
import pytest
import torch

pytest.importorskip("onnxruntime")
pytest.importorskip("onnxscript")

import page_decoder

from taskodec.coding.singular_values import Delta
from taskodec.coding.streams import StreamWriter
from taskodec.images.tensors import pad_to
from taskodec.runtime import Decoder
from taskodec.runtime.manifest import Manifest

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "cpp.md").read_text(encoding="utf-8")
GAUSSIAN = ROOT / "core" / "stream" / "data" / "gaussian_tables.npz"


def stream(codec, adapter, x, quality, values=None, step_index=7):
    with torch.no_grad():
        latents = codec.analysis(pad_to(x, codec.stride), quality)
    delta = None if values is None else Delta(values, step_index)
    return StreamWriter(codec, adapter, quality, tuple(x.shape[2:])).write(latents, delta).stream


@pytest.mark.parametrize(
    ("quality", "size", "kind"),
    [(1, (37, 50), "tuned"), (3.5, (37, 50), "untuned"), (5.25, (16, 33), "far"), (7, (1, 1), "adapter")],
)
def test_latents_and_pictures_are_taskodecs_own(small_lite, small_adapter, exported, photo, quality, size, kind):
    rng = np.random.default_rng(0)
    count = sum(small_adapter.delta_groups)
    values = rng.integers(-3, 4, count) * (rng.random(count) < 0.4)
    values[-1] = 1
    if kind == "far":
        values[[0, 5]] = -9000, 70000  # escapes
    tuned = values.astype(np.int32) if kind in ("tuned", "far") else None
    x = photo[:, :, : size[0], : size[1]]
    if kind == "untuned":
        x = (3 * torch.rand(1, 3, *size, generator=torch.Generator().manual_seed(1)) - 1).clamp(0, 1)  # symbols escape
    data = stream(
        small_lite, None if kind == "untuned" else small_adapter, x, quality, tuned, 20 if kind == "far" else 7
    )
    ours, theirs = Decoder(exported), page_decoder.PageDecoder(exported, GAUSSIAN)
    expected = ours.latents(data)
    y_hat, singular_values, picture = theirs.decode(data)
    np.testing.assert_array_equal(y_hat, expected.y_hat)
    np.testing.assert_array_equal(singular_values, expected.singular_values)
    assert np.abs(picture.astype(int) - ours.decode(data)).max() <= 1


def test_the_decoder_imports_nothing_of_taskodec():
    tree = ast.parse(Path(page_decoder.__file__).read_text(encoding="utf-8"))
    names = {node.module for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)}
    names |= {alias.name for node in ast.walk(tree) if isinstance(node, ast.Import) for alias in node.names}
    assert not any(name.startswith("taskodec") for name in names)


def test_every_key_and_array_is_on_the_page(exported):
    keys = json.loads((exported / "manifest.json").read_text(encoding="utf-8"))
    cells = "\n".join(line.split("|")[1] for line in PAGE.splitlines() if line.startswith("|"))
    named = set(re.findall(r"`([^`]+)`", cells))
    assert set(keys) == {*Manifest.__dataclass_fields__, "format"}
    assert set(keys) <= named
    with np.load(exported / "tables.npz") as arrays:
        assert set(arrays) <= named
