"""What surrounds every command: errors become a line and an exit code, and signals a clean end. No torch.

Exit codes: 0 fine, 1 an input or its output failed, 2 the call was wrong, what it names included, 130 and 143 stopped
by Ctrl-C and SIGTERM, 141 nobody reads what is printed.
"""

from __future__ import annotations

import contextlib
import io
import os
import sys
from collections.abc import Iterator
from typing import Any, NoReturn, TextIO

from taskodec.console.interrupt import exit_code, stops_raised
from taskodec.console.terminal import guarded, indented
from taskodec.errors import PluginError, TaskError, TaskodecError, UsageError, WeightsError

__all__ = ["errors_as_lines", "framed", "large_pages", "reason", "threads_sleep"]

WRONG_CALL = (PluginError, TaskError, UsageError, WeightsError)
"""Errors that end a command before its first input: batches show those of an input themselves."""

UNREAD = 141
"""As of a program that SIGPIPE has ended."""


def threads_sleep() -> None:
    """Have OpenMP's threads sleep while they wait for each other, unless the user has said otherwise.

    By default they spin. Where anything else runs, that takes the core from the very thread that is waited for. To
    be called before torch is loaded.
    """
    if "GOMP_SPINCOUNT" not in os.environ:
        os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")


def large_pages() -> None:
    """Have large tensors lie in large pages, unless the user has said otherwise.

    On small ones, a photograph of 12 megapixels takes half more of the time of the system. To be called before torch
    is loaded.
    """
    os.environ.setdefault("THP_MEM_ALLOC_ENABLE", "1")


@contextlib.contextmanager
def framed() -> Iterator[None]:
    """All of a command, from its arguments to its exit code."""
    _stand_in_for_closed_streams()
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")  # a terminal without some letter must not end a batch
    with guarded(), stops_raised(), errors_as_lines():
        printed: Any = _Printed(sys.stdout)
        with contextlib.redirect_stdout(printed):
            try:
                yield
            except SystemExit:
                printed.end()
                raise
            printed.end()


@contextlib.contextmanager
def errors_as_lines() -> Iterator[None]:
    """Whatever is raised on purpose within, by the system or by a signal becomes one line, and a SystemExit."""
    try:
        yield
    except TaskodecError as error:
        _leave(f"error: {indented(str(error))}", 2 if isinstance(error, WRONG_CALL) else 1)
    except BrokenPipeError:
        _leave("", UNREAD)
    except OSError as error:
        _leave(f"error: {reason(error)}", 1)
    except KeyboardInterrupt as stop:
        _leave(str(stop) or "stopped", exit_code(stop))


class _Printed:
    """Standard output, whose failures say that they are its own, and cannot be overlooked."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream
        self._failure: Exception | None = None

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)

    def write(self, text: str) -> int:
        with self._told():
            return self._stream.write(text)

    def flush(self) -> None:
        with self._told():
            self._stream.flush()

    def end(self) -> None:
        """Write out what is left; raises what was raised before, if a library has caught it."""
        self.flush()
        if self._failure is not None:
            raise self._failure

    @contextlib.contextmanager
    def _told(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            _silence(self._stream)
            said = TaskodecError(f"cannot write to standard output: {reason(error)}")
            self._failure = error if isinstance(error, BrokenPipeError) else said
            raise self._failure from None


def reason(error: OSError) -> str:
    """What the system says, and of which file."""
    said = error.strerror or str(error)
    return f"{error.filename}: {said}" if error.filename is not None else said


def _leave(line: str, code: int) -> NoReturn:
    if line:
        with contextlib.suppress(OSError):  # the exit code says it too
            print(line, file=sys.stderr, flush=True)
    raise SystemExit(code)


def _silence(stream: TextIO) -> None:
    """Let Python's own end, which writes out what is left, meet no error again."""
    with contextlib.suppress(OSError, ValueError):
        unread = os.open(os.devnull, os.O_WRONLY)
        os.dup2(unread, stream.fileno())
        os.close(unread)


def _stand_in_for_closed_streams() -> None:
    """Open again what the caller has closed: a file that is opened next must not get its number.

    Reading and writing fail as before, but on standard error, where nobody is told.
    """
    for number, name in enumerate(("stdin", "stdout", "stderr")):
        if getattr(sys, name) is not None:
            continue
        opened = os.open(os.devnull, os.O_RDONLY if name == "stdout" else os.O_WRONLY)
        if opened != number:
            os.dup2(opened, number)
            os.close(opened)
        stream = open(number, "r" if name == "stdin" else "w", closefd=False)  # noqa: SIM115
        setattr(sys, name, stream)
