"""Draw the rooms of the core from the contracts of import-linter in pyproject.toml, for CONTRIBUTING.md.

python scripts/rooms.py            # prints the picture
python scripts/rooms.py --write    # puts it into CONTRIBUTING.md, where a test compares it
"""

from __future__ import annotations

import ast
import sys
import textwrap
import tomllib
from pathlib import Path

ROOT = Path(__file__).parents[1]
PAGE = ROOT / "CONTRIBUTING.md"
BEGIN, END = "<!-- rooms: python scripts/rooms.py --write -->\n", "<!-- end of rooms -->\n"
SIBLINGS = ("codecs", "plugins", "tasks")
"""Packages whose folders lie beside core/."""

WIDTH = 96


def draw(root: Path = ROOT) -> str:
    """The picture as a block of Markdown: a storey for each layer, the command line at the top."""
    project = tomllib.loads((root / "pyproject.toml").read_text(encoding="utf-8"))
    contracts = project["tool"]["importlinter"]["contracts"]
    (layers,) = [contract["layers"] for contract in contracts if contract["type"] == "layers"]
    names = [[name.strip() for name in layer.split("|")] for layer in layers]
    width = max(len(name) for storey in names for name in storey)
    storeys = ["\n".join(_line(root, name, width) for name in storey) for storey in names if storey != ["__main__"]]
    rule = "\n" + "─" * WIDTH + "\n"
    walls = "\n".join(f"- {contract['name']}." for contract in contracts)
    return f"```text\n{rule.join(storeys)}\n```\n\n{walls}\n"


def _line(root: Path, name: str, width: int) -> str:
    """A room's name and the first line of what it says of itself."""
    folder = root / (name if name in SIBLINGS else f"core/{name}")
    path = folder / "__init__.py" if folder.is_dir() else folder.with_suffix(".py")
    says = (ast.get_docstring(ast.parse(path.read_text(encoding="utf-8"))) or "").partition("\n\n")[0]
    lines = textwrap.wrap(says, WIDTH - width - 2)
    return f"{name:{width}}  " + f"\n{'':{width}}  ".join(lines)


def main() -> None:
    """Print the picture, or write it into the page."""
    picture = draw()
    if "--write" not in sys.argv[1:]:
        print(picture, end="")
        return
    before, _, rest = PAGE.read_text(encoding="utf-8").partition(BEGIN)
    PAGE.write_text(before + BEGIN + picture + END + rest.partition(END)[2], encoding="utf-8")


if __name__ == "__main__":
    main()
