"""Adapters on a borrowed GPU, all at once, bounded by the clock: after `session.py`, in the same pack.

    python PACK/project/scripts/gpu/adapters.py OUT --seconds 180 \
        --adapter cls=recipes/cls.yaml --adapter det=recipes/det.yaml

OUT is the folder that `session.py` filled: its environment is used, and the weights of its run, as they are shipped
(`scripts/ship_weights.py`): OUT/lite.safetensors. Each recipe is a configuration for `taskodec pretrain`; networks in
it are files in PACK/networks, where the command runs. OUT/NAME is a run folder. A GPU has room for several small runs:
each is a process, and all end together.

`--device cpu --steps 3` rehearses it where there is no GPU.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))

from session import PACK, Session


def main() -> None:
    """Ship the weights, train all adapters; the exit code is 1 if one of them failed."""
    args = _arguments()
    out = args.out.resolve()
    session = Session(out, args.seconds, "adapters.json")
    python = out / "venv" / "bin" / "python"
    weights = args.weights.resolve() if args.weights else out / "lite.safetensors"
    if not args.weights:
        ship = [str(python), str(PACK / "project" / "scripts" / "ship_weights.py")]
        subprocess.run([*ship, str(out / "run" / "weights.safetensors"), str(weights)], check=True)
    with session.part("adapters"):
        codes = train(session, python, weights, args)
    session.done["exit_codes"] = codes
    for name in codes:
        text = (out / f"{name}.txt").read_text(encoding="utf-8", errors="replace")
        session.say(f"{name}: {codes[name]} {text[-300:]}")
    sys.exit(1 if any(codes.values()) else 0)


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("out", type=Path, help="folder of session.py's results")
    parser.add_argument("--adapter", action="append", required=True, metavar="NAME=CONFIG", help="repeatable")
    parser.add_argument("--weights", type=Path, help="of the codec, if not those of the session's run")
    parser.add_argument("--seconds", type=float, default=180, help="that all of it may take")
    parser.add_argument("--reserve", type=float, default=40, help="seconds for starting, calibration and the end")
    parser.add_argument("--device", default="cuda", choices=["cuda", "cpu"])
    parser.add_argument("--steps", type=int, help="train so many steps, not by the clock: for rehearsals")
    return parser.parse_args()


def train(session: Session, python: Path, weights: Path, args: argparse.Namespace) -> dict[str, int]:
    """Run all of them side by side; their exit codes."""
    running, logs = {}, []
    for each in args.adapter:
        name, _, config = each.partition("=")
        command = [str(python), "-m", "taskodec", "pretrain", "--config", str(Path(config).resolve()), "--quiet"]
        command += ["-o", str(session.out / name), "--data", str(PACK / "train"), "--validation"]
        command += [str(PACK / "validation"), "--set", f"codec.checkpoint={weights}", "--set", f"device={args.device}"]
        budget = max(1.0, session.left() - args.reserve)
        command += ["--time-budget", f"{budget:.0f}"] if args.steps is None else ["--steps", str(args.steps)]
        logs.append((session.out / f"{name}.txt").open("wb"))
        running[name] = subprocess.Popen(
            command, stdout=logs[-1], stderr=subprocess.STDOUT, cwd=PACK / ("networks" if _networks() else ".")
        )
    codes = {}
    for name, process in running.items():
        try:
            codes[name] = process.wait(max(1.0, session.left()) if args.steps is None else None)
        except subprocess.TimeoutExpired:
            process.terminate()  # its checkpoint and the adapter as it is
            codes[name] = process.wait()
    for log in logs:
        log.close()
    return codes


def _networks() -> bool:
    return (PACK / "networks").is_dir()


if __name__ == "__main__":
    main()
