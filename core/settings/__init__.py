"""Settings in layers, validated: what is set, by whom, and what would be valid."""

from __future__ import annotations

from taskodec.settings.model import Settings, load_settings

__all__ = ["Settings", "load_settings"]
