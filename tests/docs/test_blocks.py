"""Every block of code in README, CONTRIBUTING and docs/: run, or in `NOT_RUN` with the reason."""

import json
import re
import shlex
import shutil
import warnings
from dataclasses import dataclass
from pathlib import Path

import pytest
import torch
import typer.main
import yaml

from taskodec.api import compressor
from taskodec.cli.main import app
from taskodec.coding.streams import StreamWriter
from taskodec.extras import missing
from taskodec.hooks.registry import default_registry
from taskodec.images.tensors import load_image, pad_to, save_image, to_pil
from taskodec.settings.model import Settings, load_settings
from taskodec.tuning.phases import steps_of

ROOT = Path(__file__).parents[2]
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").rglob("*.md"))]
FENCE = re.compile(r"^( *)```(\S*)\n(.*?)^\1```", re.MULTILINE | re.DOTALL)
NAMED = re.compile(r"`([\w/]+\.\w+)`:\s*\Z")

OUTPUT = ("", "text", "bibtex")
"""What is no code: printed, drawn, cited."""

DATA = "it measures on a data set, for minutes to hours; its options are checked"
TRAINS = "it trains, for hours; its options are checked"
INSTALLS = "it installs packages, as .ci/run does with the README's"
FETCHES = "it downloads weights; its options are checked"

NOT_RUN = {
    ("docs/notebook.md", "sh"): INSTALLS,
    ("README.md", "sh"): INSTALLS,
    ("docs/adapters.md", "sh"): TRAINS,
    ("docs/bench.md", "sh"): DATA,
    ("docs/cpp.md", "sh"): "the exported folder that tests share is one of it; its options are checked",
    ("docs/cpp.md", "c++"): "it needs a compiler and onnxruntime's headers",
    ("docs/data.md", "sh"): DATA,
    ("docs/demo_page.md", "sh"): "it starts a server; tests/demo_page does",
    ("docs/demo/README.md", "sh"): "it starts a server, and needs node; tests/demo has what can be tested",
    ("docs/evaluation.md", "sh"): DATA,
    (
        "docs/examples/README.md",
        "sh",
    ): "it needs networks in packages that few have; tests/docs/test_open_set_examples.py",
    ("docs/export.md", "sh"): "it exports for minutes; tests/export and tests/cli/test_export.py do",
    ("docs/export_a_decoder.md", "sh"): "it exports for minutes; tests/export and tests/cli/test_export.py do",
    ("docs/gallery.md", "sh"): "it tunes a whole photograph, for a minute",
    ("docs/large_images.md", "sh"): "it takes pictures of many megapixels; its options are checked",
    ("docs/limits.md", "sh"): "it takes a terminal, pipes and a network; tests/cli does; its options are checked",
    ("docs/models.md", "sh"): FETCHES,
    ("docs/paper.md", "sh"): DATA,
    ("docs/plugins.md", "sh"): "it takes weights that nobody has; tests/docs/test_plugins.py runs the files",
    ("docs/plugins.md", "python"): "tests/docs/test_plugins.py runs each",
    ("docs/plugins.md", "toml"): "tests/docs/test_plugins.py installs it",
    ("docs/results.md", "sh"): DATA,
    ("docs/scale.md", "sh"): "it takes buckets, and a cluster of many machines; its options are checked",
    ("docs/scale.md", "yaml"): "it is a file of Ray's, for machines that are rented",
    ("docs/serve.md", "sh"): "it takes a server; tests/docs/test_serve.py runs each",
    ("docs/serve.md", "python"): "it takes a server; tests/docs/test_serve.py runs each",
    ("docs/serve.md", "json"): "it is an answer",
    ("docs/serve.md", "ini"): "it is a file of systemd's",
    ("docs/tasks.md", "sh"): TRAINS,
    ("docs/training.md", "sh"): TRAINS,
    ("docs/ttft.md", "sh"): DATA,
    ("docs/ttft_measured.md", "sh"): DATA,
}
"""By page and language."""

LINES_NOT_RUN = {
    "docs/report.md": ("taskodec report runs/cls", "python scripts/gallery.py"),
    "docs/targets.md": ("python scripts/targets.py",),
    "docs/quickstart.md": (
        "python3 -m venv",
        "pip install",
        "taskodec doctor",
        "taskodec export",
        "taskodec-decode",
        "python scripts/demo.py",
    ),
}
"""Beginnings of single lines: they install, measure, or have tests of their own (tests/cli, tests/demo)."""

BEFORE = {
    "docs/adapters.md": "import torch\nfrom taskodec.codecs.lite.loading import load_lite\n"
    "codec, x, quality = load_lite(), torch.zeros(1, 3, 64, 64), 3.0",
    "docs/export.md": "import numpy as np\nframe = np.zeros((24, 32, 3), dtype=np.uint8)",
}
"""What a page's blocks take for granted."""


@dataclass(frozen=True)
class Block:
    """A block, and in `name` the file that the line before it names."""

    page: str
    number: int
    language: str
    code: str
    name: str = ""
    output: str = ""


def blocks_of(page):
    """The blocks of a page; the text that follows one of a shell is what that prints."""
    text = page.read_text(encoding="utf-8")
    found = list(FENCE.finditer(text))
    for number, match in enumerate(found):
        code = re.sub(f"^{match[1]}", "", match[3], flags=re.MULTILINE)
        named = NAMED.search(text[: match.start()])
        name = named[1] if named else re.match(r"(?:# (\w+\.py)\b)?", code)[1] or ""
        after = found[number + 1] if number + 1 < len(found) else None
        follows = after is not None and after[2] == "text" and not text[match.end() : after.start()].strip()
        yield Block(str(page.relative_to(ROOT)), number, match[2], code, name, after[3] if follows else "")


BLOCKS = [block for page in PAGES for block in blocks_of(page)]
CODE = [block for block in BLOCKS if block.language not in OUTPUT]
RUN = [block for block in CODE if (block.page, block.language) not in NOT_RUN]


def pages_with(*languages):
    return sorted({block.page for block in RUN if block.language in languages})


def test_what_is_not_run_has_a_reason_and_exists():
    assert {(block.page, block.language) for block in CODE} >= set(NOT_RUN)
    assert all(reason for reason in NOT_RUN.values())
    assert {block.language for block in RUN} <= {"python", "sh", "yaml", "json"}


@pytest.fixture
def folder(tmp_path, photo, small_lite, small_adapter, exported, monkeypatch):
    """A folder as pages have it: photographs, streams, an exported codec; what pages register is forgotten again."""
    (tmp_path / "docs" / "images").mkdir(parents=True)
    (tmp_path / "streams").mkdir()
    x = load_image(ROOT / "docs" / "images" / "kodim23.png").x[:, :, 100:228, 200:392]
    save_image(to_pil(x), tmp_path / "docs" / "images" / "kodim23.png")
    save_image(to_pil(photo), tmp_path / "photo.png")
    (tmp_path / "edges.py").write_text("def loss(x_hat, x):\n    return (x_hat - x).square().mean()\n")
    for name in ("lite-onnx", "cls-onnx"):
        shutil.copytree(exported, tmp_path / name)
    (tmp_path / "streams" / "one.tkd").write_bytes(stream(small_lite, small_adapter, photo))
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setattr(compressor, "steps_of", few_steps)
    registry = default_registry()
    before = {kind: dict(getattr(registry, kind)._entries) for kind in ("codecs", "tasks")}
    yield tmp_path
    for kind, entries in before.items():
        getattr(registry, kind)._entries = entries
    import sys

    sys.modules.pop("dct", None)


def few_steps(phases, steps):
    """What pages tune in their presets' steps is tuned in two."""
    return steps_of(phases, min(2, 2 if steps is None else steps))


def stream(codec, adapter, x):
    """A stream of the codec that is exported."""
    with torch.no_grad():
        latents = codec.analysis(pad_to(x, codec.stride), 2.0)
    return StreamWriter(codec, adapter, 2.0, (x.shape[2], x.shape[3])).write(latents, None).stream


@pytest.mark.parametrize("page", pages_with("python"))
def test_blocks_of_python_run_one_after_the_other(page, folder):
    if "compressai" in page and missing("compressai"):
        pytest.skip(missing("compressai"))
    shutil.copy(folder / "streams" / "one.tkd", folder / "photo.tkd")
    names = {}
    exec(BEFORE.get(page, ""), names)
    for block in [block for block in RUN if block.page == page and block.language == "python"]:
        if block.name:
            (folder / block.name).write_text(block.code, encoding="utf-8")
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # random weights, of codecs without a checkpoint
            exec(compile(block.code, f"{page}, block {block.number}", "exec"), names)


@pytest.mark.parametrize("page", pages_with("sh"))
def test_blocks_of_the_shell_run_and_print_what_stands_below(page, folder, run):
    for block in [block for block in RUN if block.page == page]:
        if block.name:
            (folder / block.name).write_text(block.code, encoding="utf-8")
        if block.language != "sh":
            continue
        for line in commands(block.code):
            if line.startswith(LINES_NOT_RUN.get(page, ("\0",))):
                continue
            words = shlex.split(line, comments=True)
            assert words[0] == "taskodec", line
            code, out, err = run(*words[1:])
            assert code == 0, (line, err)
            if block.output:
                assert masked(out) == masked(block.output)


def commands(code):
    """The lines of a shell, those that are continued joined."""
    return [line.strip() for line in code.replace("\\\n", " ").splitlines() if line.strip() and line[0] != "#"]


def masked(text):
    """Without what depends on the machine and the picture: numbers, fingerprints, and which of its files is sent."""
    text = re.sub(r"sent: [\w+]+", "sent: #", text)
    text = re.sub(r"\b[0-9a-f]{8}\b|\b\d[\d.e-]*|True|False|…", "#", text)
    return [" ".join(line.split()) for line in text.strip().splitlines() if "note:" not in line]


@pytest.mark.parametrize("block", [b for b in CODE if b.language == "sh"], ids=lambda b: f"{b.page}-{b.number}")
def test_commands_have_the_options_that_pages_give_them(block):
    group = typer.main.get_command(app)
    for line in commands(block.code):
        for part in re.split(r" && |\||; do ", line):
            if not part.startswith("taskodec ") or "…" in part:
                continue
            words = shlex.split(re.sub(r"(?<= )[<>] ?\S+", "", part), comments=True)
            command, rest = group, words[1:]
            while hasattr(command, "commands") and rest:
                command = command.commands[rest.pop(0)]
            command.make_context("taskodec", rest, resilient_parsing=False)  # raises for what does not exist


@pytest.mark.parametrize("block", [b for b in RUN if b.language == "yaml"], ids=lambda b: f"{b.page}-{b.number}")
def test_settings_in_pages_are_settings(block, tmp_path):
    values = yaml.safe_load(block.code)
    if set(values) <= set(Settings.model_fields):
        (tmp_path / "mine.yaml").write_text(block.code, encoding="utf-8")
        load_settings([tmp_path / "mine.yaml"])
    elif "phases" in values:
        load_settings(overrides=[f"ttft.phases={json.dumps(values['phases'])}"])
    else:
        assert "baseline" in values  # variants of `bench --ttft`
        from taskodec.evaluation.variants import read_variants

        (tmp_path / "mine.yaml").write_text(block.code, encoding="utf-8")
        read_variants(tmp_path / "mine.yaml")


@pytest.mark.parametrize("block", [b for b in RUN if b.language == "json"], ids=lambda b: b.page)
def test_json_in_pages_is_json(block):
    for line in block.code.splitlines():
        json.loads(line)
