"""What surrounds commands, seen from outside: lines, exit codes, and no traceback."""

import errno
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from taskodec.console.frame import errors_as_lines, framed, reason
from taskodec.console.interrupt import Stopped
from taskodec.errors import ImageError, PluginError, SettingsError, TaskError, TaskodecError, WeightsError

AS_IN_A_TERMINAL = """
import signal
signal.signal(signal.SIGINT, signal.default_int_handler)
signal.signal(signal.SIGHUP, signal.SIG_DFL)
"""

STOPPED = """
import sys
from taskodec.console.frame import framed
with framed():
    try:
        open(sys.argv[1]).read()
    finally:
        print("closed")
"""

PRINTING = """
from taskodec.console.frame import framed
with framed():
    for _ in range(100000):
        print("a line", flush=True)
"""

CAUGHT = """
import contextlib
from taskodec.console.frame import framed
with framed(), contextlib.suppress(Exception):
    print("lost", flush=True)
"""


@pytest.mark.parametrize(
    ("error", "line", "code"),
    [
        (SettingsError("wrong"), "error: wrong\n", 2),
        (PluginError("wrong"), "error: wrong\n", 2),
        (TaskError("wrong"), "error: wrong\n", 2),
        (WeightsError("wrong"), "error: wrong\n", 2),
        (ImageError("bad"), "error: bad\n", 1),
        (TaskodecError("bad"), "error: bad\n", 1),
        (
            OSError(errno.ENOSPC, "No space left on device", "out/a.tkd"),
            "error: out/a.tkd: No space left on device\n",
            1,
        ),
        (OSError(errno.EIO, "Input/output error"), "error: Input/output error\n", 1),
        (OSError("No usable temporary directory"), "error: No usable temporary directory\n", 1),
        (BrokenPipeError(errno.EPIPE, "Broken pipe"), "", 141),
        (KeyboardInterrupt(), "stopped\n", 130),
        (Stopped("stopped after step 1", signal.SIGTERM), "stopped after step 1\n", 143),
        (SystemExit(7), "", 7),
    ],
)
@pytest.mark.parametrize("around", [framed, errors_as_lines])
def test_what_ends_a_command_is_a_line_and_a_code(around, error, line, code, capsys):
    with pytest.raises(SystemExit) as caught, around():
        raise error
    assert (caught.value.code, *capsys.readouterr()) == (code, "", line)


def test_a_fault_of_ours_is_not_hidden():
    with pytest.raises(ZeroDivisionError), framed():
        1 / 0  # noqa: B018


def test_nothing_to_say_is_no_exit(capsys):
    out = sys.stdout
    with framed():
        print("fine")
    assert (capsys.readouterr().out, sys.stdout) == ("fine\n", out)


def test_reasons_name_files():
    assert reason(FileNotFoundError(2, "No such file", Path("a"))) == "a: No such file"


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP, signal.SIGINT])
def test_a_signal_closes_what_is_open_and_says_one_line(tmp_path, number):
    os.mkfifo(tmp_path / "gate")
    call = [sys.executable, "-c", AS_IN_A_TERMINAL + STOPPED, tmp_path / "gate"]
    process = subprocess.Popen(call, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    gate = (tmp_path / "gate").open("w")  # opens when it is read
    process.send_signal(number)
    out, err = process.communicate()
    gate.close()
    assert (out, err, process.returncode) == ("closed\n", "stopped\n", 128 + number)


def test_what_nohup_ignores_stays_ignored(tmp_path):
    code = f"import signal; signal.signal(signal.SIGHUP, signal.SIG_IGN)\n{STOPPED}"
    os.mkfifo(tmp_path / "gate")
    process = subprocess.Popen([sys.executable, "-c", code, tmp_path / "gate"], stdout=subprocess.PIPE, text=True)
    with (tmp_path / "gate").open("w"):
        process.send_signal(signal.SIGHUP)
    assert (process.communicate()[0], process.returncode) == ("closed\n", 0)


def test_a_reader_that_has_enough_ends_it_quietly():
    process = subprocess.Popen([sys.executable, "-c", PRINTING], stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    assert process.stdout.readline() == b"a line\n"
    process.stdout.close()
    assert process.stderr.read() == b""
    process.stderr.close()
    assert process.wait() == 141


@pytest.mark.parametrize("code", [PRINTING, PRINTING.replace("100000", "1").replace(", flush=True", "")])
def test_a_full_disk_is_one_line(code):
    with Path("/dev/full").open("w") as full:
        done = subprocess.run([sys.executable, "-c", code], stdout=full, stderr=subprocess.PIPE, text=True, check=False)
    assert done.stderr == "error: cannot write to standard output: No space left on device\n"
    assert done.returncode == 1


def test_a_failure_that_a_library_has_caught_is_one_all_the_same():
    with Path("/dev/full").open("w") as full:
        done = subprocess.run(
            [sys.executable, "-c", CAUGHT], stdout=full, stderr=subprocess.PIPE, text=True, check=False
        )
    assert done.stderr == "error: cannot write to standard output: No space left on device\n"
    assert done.returncode == 1


@pytest.mark.parametrize(
    ("closed", "out", "err", "code"),
    [
        ("<&-", "fine\n", "", 0),
        (">&-", "", "error: cannot write to standard output: Bad file descriptor\n", 1),
        ("2>&-", "fine\n", "", 0),
        ("<&- >&- 2>&-", "", "", 1),
    ],
)
def test_streams_that_are_closed_give_their_numbers_to_no_file(tmp_path, closed, out, err, code):
    script = (
        "from taskodec.console.frame import framed\n"
        "with framed():\n"
        f"    file = open({str(tmp_path / 'file')!r}, 'w')\n"
        "    assert file.fileno() > 2\n"
        "    print('fine')\n"
    )
    call = ["bash", "-c", f'exec "$0" -c "$1" {closed}', sys.executable, script]
    done = subprocess.run(call, capture_output=True, text=True, check=False)
    assert (done.stdout, done.stderr, done.returncode) == (out, err, code)
    assert (tmp_path / "file").read_text() == ""
