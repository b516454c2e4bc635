import io
import os
import sys
import threading
from pathlib import Path

import pytest

from taskodec.errors import UsageError
from taskodec.files import inputs
from taskodec.files.inputs import STANDARD, argument, expand_home, open_input, read_input, read_text

DATA = bytes(range(256)) * 1000


@pytest.fixture
def pipe(tmp_path):
    path = tmp_path / "pipe"
    os.mkfifo(path)
    return path


@pytest.fixture
def standard_input(monkeypatch):
    """Sets what standard input holds."""

    def give(data):
        monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(data)))

    return give


def test_a_dash_is_standard_input_and_a_file_of_that_name_is_not(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert argument("-") == STANDARD
    assert argument("./-") == tmp_path / "-"
    assert argument("a/b.png") == Path("a/b.png")


def test_files_and_standard_input_are_read_whole(tmp_path, standard_input):
    (tmp_path / "file").write_bytes(DATA)
    standard_input(DATA)
    assert read_input(tmp_path / "file", len(DATA)) == read_input(STANDARD, len(DATA)) == DATA
    with open_input(tmp_path / "file", 1) as file:  # whose reader decides how much it wants
        assert file.read() == DATA


def test_more_than_the_limit_is_refused_before_it_is_read(tmp_path, standard_input):
    (tmp_path / "file").write_bytes(DATA)
    standard_input(DATA)
    for path in (tmp_path / "file", STANDARD):
        with pytest.raises(OSError, match=f"holds more than {len(DATA) - 1} bytes"):
            read_input(path, len(DATA) - 1)


@pytest.mark.parametrize("size", [1, len(DATA)])  # fits into a pipe, and does not
def test_a_pipe_is_read_until_its_writer_ends(pipe, size):
    writer = threading.Thread(target=pipe.write_bytes, args=(DATA[:size],))
    writer.start()
    with open_input(pipe, len(DATA)) as file:
        assert file.read() == DATA[:size]
    writer.join()


def test_a_writer_that_has_not_written_yet_is_waited_for(pipe, monkeypatch):
    monkeypatch.setattr(inputs, "WRITER_WAIT", 0)
    reader = os.open(pipe, os.O_RDONLY | os.O_NONBLOCK)
    writer = os.open(pipe, os.O_WRONLY)
    os.close(reader)
    asked = threading.Event()
    blocking = os.set_blocking
    monkeypatch.setattr(os, "set_blocking", lambda *given: (blocking(*given), asked.set()))

    def write():
        asked.wait()
        os.write(writer, b"late")
        os.close(writer)

    thread = threading.Thread(target=write)
    thread.start()
    assert read_input(pipe, 10) == b"late"
    thread.join()


def test_a_pipe_that_nobody_writes_to_blocks_nobody(pipe, monkeypatch):
    monkeypatch.setattr(inputs, "WRITER_WAIT", 0)
    for read in (read_input, open_input):
        with pytest.raises(OSError, match="nobody writes to this pipe"):
            read(pipe, 10)


def test_a_pipe_by_its_number_is_one(tmp_path):
    reader, writer = os.pipe()
    os.write(writer, b"text: 1")
    os.close(writer)
    assert read_text(Path(f"/dev/fd/{reader}")) == "text: 1"
    os.close(reader)


@pytest.mark.parametrize(
    ("path", "message"),
    [("/dev/zero", "device"), ("/dev/null", "device"), ("/", "Is a directory"), ("/nowhere/file", "No such file")],
)
def test_what_is_neither_a_file_nor_a_pipe_is_refused(path, message):
    with pytest.raises(OSError, match=message):
        read_input(Path(path), 10)
    with pytest.raises(OSError, match=message):
        open_input(Path(path), 10)


def test_standard_input_that_gives_nothing_says_why(monkeypatch, standard_input):
    standard_input(b"")
    with pytest.raises(OSError, match="it is empty"):
        read_input(STANDARD, 10)
    monkeypatch.setattr(sys, "stdin", None)
    with pytest.raises(OSError, match="it is closed"):
        read_input(STANDARD, 10)
    standard_input(b"typed")
    monkeypatch.setattr(sys.stdin, "isatty", lambda: True, raising=False)
    with pytest.raises(OSError, match="it is a terminal"):
        read_input(STANDARD, 10)


def test_a_home_that_does_not_exist_is_a_typed_error(monkeypatch, tmp_path):
    monkeypatch.setenv("HOME", str(tmp_path))
    assert expand_home("~/x") == tmp_path / "x"
    with pytest.raises(UsageError, match="~nobody-of-this-name/x: there is no home directory"):
        expand_home("~nobody-of-this-name/x")
