"""What taskodec says of its work to whoever asks: loggers below `taskodec`, shown on standard error. No torch.

Modules log to `logging.getLogger(__name__)`, info for what is done and debug for how. As a library taskodec
sets up nothing, so that the program it is part of decides; the command line calls `show_logs`.
"""

from __future__ import annotations

import logging
import sys

from taskodec.console.terminal import escaped, indented

__all__ = ["LEVELS", "show_logs"]

LEVELS = ("debug", "info", "warning", "error")
"""What can be asked for, the most first."""

_NAME = "taskodec"


def show_logs(level: str) -> None:
    """Show what loggers below `taskodec` say at this level and above, on standard error; the last call counts."""
    logger = logging.getLogger(_NAME)
    for handler in [handler for handler in logger.handlers if isinstance(handler, _Shown)]:
        logger.removeHandler(handler)
    logger.addHandler(_Shown())
    logger.setLevel(level.upper())


class _Shown(logging.Handler):
    """Writes to what `sys.stderr` is at that moment: while a bar is drawn, to what stands above it."""

    def __init__(self) -> None:
        super().__init__()
        self.setFormatter(_Escaping("%(levelname)s %(name)s: %(message)s"))

    def emit(self, record: logging.LogRecord) -> None:
        try:
            print(self.format(record), file=sys.stderr, flush=True)
        except Exception:
            self.handleError(record)


class _Escaping(logging.Formatter):
    """Names in messages reach no terminal as commands; further lines are set in."""

    def format(self, record: logging.LogRecord) -> str:
        record.levelname = record.levelname.lower()
        return indented(escaped(super().format(record), keep_lines=True))
