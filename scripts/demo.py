"""Assemble the browser demo: the page of docs/demo, the exported decoders that it needs, and some streams to open.

    python scripts/demo.py --out site/demo --serve                  # onnxruntime-web from a CDN
    python scripts/demo.py --out site/demo --ort node_modules/onnxruntime-web/dist

Needs the extra `export`. The folder is static files, for any web server; `docs/demo/README.md` says more.
"""

from __future__ import annotations

import argparse
import base64
import functools
import hashlib
import http.server
import json
import shutil
import sys
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from taskodec.console.frame import threads_sleep
from taskodec.errors import TaskodecError, UsageError

ROOT = Path(__file__).parents[1]
PAGE = ROOT / "docs" / "demo"
CODEC = "lite"
NOT_SERVED = ("README.md", "package.json")

GALLERY = (
    ("parrots-q1", "kodim23.png", None, 1.0, "Parrots, smallest"),
    ("parrots-q3", "kodim23.png", None, 3.0, "Parrots"),
    ("parrots-human-q3", "kodim23.png", "human", 3.0, "Parrots, tuned for the eye (MS-SSIM)"),
    ("parrots-cls-q2", "kodim23.png", "cls", 2.0, "Parrots, tuned for classification"),
    ("plane-q2.5", "kodim20.png", None, 2.5, "Plane, between two qualities"),
    ("plane-cls-q1", "kodim20.png", "cls", 1.0, "Plane, tuned for classification"),
)
"""Name, picture of docs/images, task that it is tuned for, quality, and what the page calls it."""

OPTIONS = {"human": {"task.options.metric": "ms-ssim"}}
"""Of tasks, such as those without which their adapter does not suit."""


def main(arguments: Sequence[str] | None = None) -> None:
    """The command; errors become one line."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--out", type=Path, required=True, metavar="DIR", help="folder of the site")
    parser.add_argument("--ort", type=Path, metavar="DIR", help="dist of npm's onnxruntime-web, to be part of the site")
    parser.add_argument("--adapter", action="append", metavar="NAME", help="only these; may be repeated")
    parser.add_argument("--steps", type=int, default=20, help="of tuning, for some streams of the gallery")
    parser.add_argument("--streams", type=Path, metavar="DIR", help="a gallery made before, instead of a new one")
    parser.add_argument("--serve", type=int, nargs="?", const=8000, metavar="PORT", help="on loopback, when it is made")
    chosen = parser.parse_args(arguments)
    threads_sleep()
    try:
        add_page(chosen.out, chosen.ort)
        add_models(chosen.out / "models", chosen.adapter)
        add_gallery(chosen.out / "streams", chosen.steps, chosen.streams)
    except TaskodecError as error:
        sys.exit(f"error: {error}")
    if chosen.serve is not None:
        serve(chosen.out, chosen.serve)


def add_page(out: Path, ort: Path | None) -> None:
    """The page, and onnxruntime-web from `ort` if it is not to come from the CDN that `runtime.json` names."""
    out.mkdir(parents=True, exist_ok=True)
    shutil.copytree(PAGE, out, dirs_exist_ok=True, ignore=shutil.ignore_patterns(*NOT_SERVED))
    if ort is None:
        return
    about = json.loads((PAGE / "runtime.json").read_text(encoding="utf-8"))
    if missing := [name for name in about["files"] if not (ort / name).is_file()]:
        raise UsageError(f"{ort} has no {missing[0]}: give the folder `dist` of npm's onnxruntime-web")
    found = {name: (ort / name).read_bytes() for name in about["files"]}
    (out / "ort").mkdir(exist_ok=True)
    for name, data in found.items():
        (out / "ort" / name).write_bytes(data)
    package = json.loads((ort.parent / "package.json").read_text(encoding="utf-8"))
    files = {name: integrity(data) for name, data in found.items()}
    size = sum(map(len, found.values()))
    write_json(out / "runtime.json", {"version": package["version"], "base": "ort/", "bytes": size, "files": files})


def integrity(data: bytes) -> str:
    """As browsers check it."""
    return f"sha384-{base64.b64encode(hashlib.sha384(data).digest()).decode()}"


def add_models(out: Path, names: Sequence[str] | None) -> None:
    """Export the codec with each adapter; files that several share, named by their content, are there once."""
    import torch

    from taskodec.api.loading import build_adapter, load_codec
    from taskodec.export.folder import export_codec
    from taskodec.hooks.registry import default_registry
    from taskodec.settings.model import AdapterSettings, CodecSettings

    torch.set_num_threads(1)
    out.mkdir(parents=True, exist_ok=True)
    registry = default_registry()
    codec = load_codec(registry, CodecSettings(name=CODEC), 3.0)
    listed = []
    for name in names or ["svd-lora", *(name for name, spec in registry.adapters.items() if spec.codec == CODEC)]:
        adapter = build_adapter(registry, AdapterSettings(name=name), codec)
        with tempfile.TemporaryDirectory() as folder:
            export_codec(codec, adapter, Path(folder))
            listed.append(lay_out(Path(folder), out, name, registry.adapters[name].description))
        print(f"{out / name}.json: adapter {adapter.fingerprint().hex()}", flush=True)
    write_index(out, listed)


def lay_out(folder: Path, out: Path, name: str, about: str) -> dict[str, Any]:
    """Copy an exported codec's folder, files named by their content; what the page's list says of it."""
    manifest = json.loads((folder / "manifest.json").read_text(encoding="utf-8"))
    for file, content in manifest["files"].items():
        stem, _, suffix = file.rpartition(".")
        shutil.copyfile(folder / file, out / f"{stem}-{content['sha256'][:16]}.{suffix}")
    shutil.copyfile(folder / "manifest.json", out / f"{name}.json")
    told = {key: manifest[key] for key in ("codec", "codec_fingerprint", "adapter_fingerprint")}
    return {"name": name, **told, "about": about}


def write_index(out: Path, listed: Sequence[dict[str, Any]]) -> None:
    """The list of models, and the tables that all share."""
    shutil.copyfile(ROOT / "core" / "stream" / "data" / "gaussian_tables.npz", out / "gaussian_tables.npz")
    write_json(out / "index.json", listed)


def add_gallery(out: Path, steps: int, ready: Path | None) -> None:
    """The streams that the page offers; those tuned for a task whose network is not to be had are left out."""
    out.mkdir(parents=True, exist_ok=True)
    if ready is not None:
        shutil.copytree(ready, out, dirs_exist_ok=True)
        return
    listed = list(gallery(out, steps))
    write_json(out / "index.json", listed)


def gallery(out: Path, steps: int) -> Iterator[dict[str, Any]]:
    """Write them; yields what the page is told of each."""
    import taskodec
    from taskodec.stream.bitstream import Stream

    for name, image, task, quality, title in GALLERY:
        if task and not steps:
            continue
        path = ROOT / "docs" / "images" / image
        try:
            flags = {"ttft.steps": steps, "task.name": task, **OPTIONS.get(task, {})} if task else {"ttft.steps": 0}
            settings = taskodec.load_settings(flags={"quality": quality, **flags})
            data = taskodec.compress(path, settings=settings)
            if task and data == taskodec.compress(path, quality=quality, steps=0):
                raise TaskodecError(f"{steps} steps of tuning for {task} found nothing better than the untuned stream")
        except TaskodecError as error:
            print(f"note: {name} is left out: {error}", file=sys.stderr)
            continue
        (out / f"{name}.tkd").write_bytes(data)
        header = Stream.from_bytes(data).header
        about = {"bytes": len(data), "quality": quality, "pixels": header.width * header.height}
        print(f"{out / name}.tkd: {len(data)} bytes", flush=True)
        yield {"file": f"{name}.tkd", "title": title, **about}


class Handler(http.server.SimpleHTTPRequestHandler):
    """Files of a folder, fresh at every visit; types do not depend on what the machine thinks they are."""

    extensions_map = {  # noqa: RUF012 - of the base class
        **http.server.SimpleHTTPRequestHandler.extensions_map,
        ".js": "text/javascript",
        ".mjs": "text/javascript",
        ".wasm": "application/wasm",
    }

    def end_headers(self) -> None:
        self.send_header("Cache-Control", "no-cache")
        super().end_headers()

    def log_message(self, *args: object) -> None:
        pass


def serve(out: Path, port: int) -> None:
    """Serve the folder on loopback until interrupted."""
    with http.server.ThreadingHTTPServer(("127.0.0.1", port), functools.partial(Handler, directory=str(out))) as server:
        print(f"http://127.0.0.1:{server.server_address[1]}/ (Ctrl-C ends it)", flush=True)
        try:
            server.serve_forever()
        except KeyboardInterrupt:
            print()


def write_json(path: Path, content: Any) -> None:
    """For the page, and for people."""
    path.write_text(json.dumps(content, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
