"""Hostile YAML: presets changed, lines put into them, aliases of aliases, and tokens in any order."""

from __future__ import annotations

import itertools
import random
from collections.abc import Sequence
from importlib import resources
from typing import Any

import yaml
from hostile_text import DEEP, bad_bytes, changed

__all__ = ["settings", "variants"]

SNIPPETS = (
    *("a: &a [*a]", "<<: *x", "x: &x {b: 1}", "quality: yes", "quality: !!int ''", "quality: !!python/name:os.system"),
    *("quality: 1e9999", "quality: 1:30", "quality: 010", "task: on", "task: !!binary aGk=", "codec: 2020-01-01"),
    *(
        "? [a]\n: b",
        "null: 1",
        "---",
        "...",
        "%YAML 9.9",
        "\t- a",
        "quality: .inf",
        "quality: *nope",
        "'",
        '"',
        "[",
        "{",
    ),
    *(
        "ttft: {seed: 0x_}",
        "ttft: {steps: 9999999999999999999}",
        "a: !!set {x}",
        "a: !!omap [x: 1]",
        "=: 1",
        "a: >-\n x",
    ),
    *(
        "task: {lmbdas: {1: 1, 1.0: 2}}",
        "ttft: {preset: [[1]]}",
        "train: {stages: [{until: 1}]}",
        "quality: !!float ._",
    ),
)


def settings(rng: random.Random) -> bytes:
    """Settings."""
    return _yaml(rng, PRESETS)


def variants(rng: random.Random) -> bytes:
    """Variants of settings, or settings where they belong."""
    return _yaml(rng, VARIANTS if rng.random() < 0.9 else PRESETS)


def _yaml(rng: random.Random, texts: Sequence[str]) -> bytes:
    """YAML: a preset changed, lines put into one, or built from tokens."""
    kind = rng.random()
    if kind < 0.45:
        tree = yaml.safe_load(rng.choice(texts))
        text = yaml.safe_dump(_for_yaml(changed(rng, tree)), default_flow_style=rng.choice((None, True, False)))
    elif kind < 0.75:
        lines = rng.choice(texts).splitlines()
        for _ in range(rng.choice((1, 2, 6))):
            indent = " " * rng.choice((0, 0, 2, 4))
            lines.insert(rng.randrange(len(lines) + 1), indent + rng.choice(SNIPPETS))
        text = "\n".join(lines)
    elif kind < 0.85:
        names = [f"n{i}" for i in range(rng.choice((3, 10, 40)))]
        width = rng.choice((2, 9))
        text = f"{names[0]}: &{names[0]} [x]\n" + "\n".join(
            f"{name}: &{name} [{', '.join([f'*{before}'] * width)}]" for before, name in itertools.pairwise(names)
        )
    else:
        tokens = (
            "a",
            ": ",
            "- ",
            "\n",
            "  ",
            "[",
            "]",
            "{",
            "}",
            ",",
            "&a ",
            "*a ",
            "!!int ",
            "!x ",
            "'",
            '"',
            "|\n",
            "? ",
            "#",
        )
        text = "".join(rng.choice(tokens) * rng.choice((1, 1, 1, 300)) for _ in range(rng.choice((5, 40, 300))))
    return bad_bytes(rng, text.encode("utf-8", "surrogatepass"))


def _for_yaml(tree: Any) -> Any:
    """Without what PyYAML cannot write."""
    if isinstance(tree, dict):
        return {str(key): _for_yaml(value) for key, value in tree.items()}
    if tree is DEEP or (isinstance(tree, list) and _depth(tree) > 50):
        return "[" * 60
    if isinstance(tree, int) and abs(tree) > 10**300:
        return 10**300
    return [_for_yaml(item) for item in tree] if isinstance(tree, list) else tree


def _depth(tree: Any) -> int:
    depth = 0
    while isinstance(tree, list) and tree:
        tree, depth = tree[0], depth + 1
    return depth


def _packaged(*names: str) -> list[str]:
    folder = resources.files("taskodec.configs")
    return [folder.joinpath(f"{name}.yaml").read_text(encoding="utf-8") for name in names]


PRESETS = [
    "quality: 2\ntask: {name: cls, lmbdas: {1: 0.5, 2.5: 1e-2}}\nttft: {steps: 3, phases: []}\ncodec: lite\n",
    *_packaged("default", "paper/det-closed", "paper/cls-closed", "pretrain/default"),
]
VARIANTS = _packaged("bench/ttft")
