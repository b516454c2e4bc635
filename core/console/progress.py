"""How long work says how far it is. Light to import."""

from __future__ import annotations

from collections.abc import Callable

__all__ = ["Progress"]

Progress = Callable[[int, int, dict[str, float]], None]
"""Told the steps done, the steps in all, and figures of the last one."""
