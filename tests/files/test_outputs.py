import os
import subprocess
import sys
from pathlib import Path

import pytest

from taskodec.errors import TaskodecError
from taskodec.files.inputs import STANDARD
from taskodec.files.outputs import results_to

NOISY = """
import os, subprocess, sys
from taskodec.files.inputs import STANDARD
from taskodec.files.outputs import results_to
print("before")
with results_to([STANDARD]) as write:
    print("python")
    os.write(1, b"number\\n")
    subprocess.run(["echo", "program"])
    write(STANDARD, b"\\x00bytes" * 100000)
print("after")
"""

FAILING = """
from taskodec.files.inputs import STANDARD
from taskodec.files.outputs import results_to
with results_to([STANDARD]) as write:
    write(STANDARD, b"result")
"""


def test_files_are_written_as_ever(tmp_path, capsys):
    with results_to([tmp_path / "a"]) as write:
        print("told")
        write(tmp_path / "a", b"content")
    assert (tmp_path / "a").read_bytes() == b"content"
    assert capsys.readouterr() == ("told\n", "")


def test_only_the_result_is_on_standard_output(capsysbinary):
    with results_to([STANDARD]) as write:
        print("told")
        write(STANDARD, b"\xffresult")
    print("after")
    assert capsysbinary.readouterr() == (b"\xffresultafter\n", b"told\n")


def test_what_is_printed_past_python_goes_to_standard_error_too():
    done = subprocess.run([sys.executable, "-c", NOISY], capture_output=True, check=True)
    assert done.stdout == b"before\n" + b"\x00bytes" * 100000 + b"after\n"
    assert sorted(done.stderr.split()) == [b"number", b"program", b"python"]


def test_a_full_disk_is_a_typed_error_and_a_closed_pipe_an_end():
    call = [sys.executable, "-c", FAILING]
    with Path("/dev/full").open("wb") as full:
        done = subprocess.run(call, stdout=full, stderr=subprocess.PIPE, check=False)
    assert b"TaskodecError: cannot write to standard output: No space left on device" in done.stderr
    reader, writer = os.pipe()
    os.close(reader)
    done = subprocess.run(call, stdout=writer, stderr=subprocess.PIPE, check=False)
    os.close(writer)
    assert b"BrokenPipeError" in done.stderr


def test_a_stand_in_that_takes_no_bytes_is_named(monkeypatch):
    class Cell:
        def flush(self):
            pass

        def fileno(self):
            raise OSError("none")

    monkeypatch.setattr(sys, "stdout", Cell())
    with pytest.raises(TaskodecError, match="takes no bytes here"), results_to([STANDARD]):
        pass
