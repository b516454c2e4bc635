"""Make a file of weights or of an adapter that is shipped out of the one that training wrote.

Matrices and filters are kept in 16 bits, which halves the file, everything else in 32.

    python scripts/ship_weights.py runs/lite/weights.safetensors codecs/weights/lite.safetensors
"""

import argparse
from pathlib import Path

from safetensors import safe_open
from safetensors.torch import save_file


def main() -> None:
    """Convert one file."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("trained", type=Path)
    parser.add_argument("shipped", type=Path)
    arguments = parser.parse_args()
    with safe_open(arguments.trained, "pt") as file:
        card = file.metadata() or {}
        weights = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 - it is no dictionary
    prior = "entropy_bottleneck."
    kept = {n: w.half() if w.dim() >= 2 and not n.startswith(prior) else w for n, w in weights.items()}
    save_file(kept, arguments.shipped, metadata=card)
    arguments.shipped.chmod(0o644)  # safetensors makes private files
    print(f"{arguments.shipped}: {arguments.shipped.stat().st_size / 2**20:.2f} MiB, {card}")


if __name__ == "__main__":
    main()
