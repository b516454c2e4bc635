"""Inputs from folders at any depth, lists, URLs and archives, and outputs to them."""

import gc
import io
import json
import sys
import tarfile

import pytest

from taskodec.errors import TaskodecError
from taskodec.images.tensors import to_pil

UNTUNED = ("--codec", "tiny", "--steps", "0", "--quiet")


@pytest.fixture
def tree(tmp_path, photo, monkeypatch):
    """Three pictures in folders of different depths."""
    monkeypatch.chdir(tmp_path)
    for name, x in (("t/a", photo), ("t/s/a", photo.flip(3)), ("t/s/u/b", photo.flip(2)[..., :32])):
        path = tmp_path / f"{name}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        to_pil(x).save(path)
    return tmp_path


@pytest.fixture
def memory():
    """A store at `memory://` that is empty."""
    fsspec = pytest.importorskip("fsspec")
    pytest.importorskip("aiohttp")
    system = fsspec.filesystem("memory")
    system.store.clear()
    yield system
    system.store.clear()


def content(folder):
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def members(path):
    with tarfile.open(path) as archive:
        return {member.name: archive.extractfile(member).read() for member in archive}


def test_the_tree_is_kept_and_goes_on(run, tree):
    out = tree / "out"
    assert run("compress", "t", "-r", "-o", "out", *UNTUNED) == (0, "", "")
    streams = content(out)
    assert sorted(streams) == ["a.tkd", "s/a.tkd", "s/u/b.tkd"]
    assert run("compress", "t", "-r", "-o", "out", *UNTUNED)[0] == 2
    (out / "s" / "a.tkd").unlink()
    (out / "s" / f".{'0' * 32}.tmp").write_bytes(b"left")
    assert run("compress", "t", "-r", "-o", "out", *UNTUNED, "--skip-existing") == (0, "", "")
    assert content(out) == streams
    assert run("decompress", "out", "--recursive", "-o", "png", "--quiet")[0] == 0
    assert sorted(content(tree / "png")) == ["a.png", "s/a.png", "s/u/b.png"]
    code, said, _ = run("info", "out", "-r", "--json")
    assert (code, len(said.splitlines())) == (0, 3)
    beside = run("compress", "t", "-r", *UNTUNED)
    assert beside[0] == 0
    assert (tree / "t" / "s" / "u" / "b.tkd").read_bytes() == streams["s/u/b.tkd"]


def test_names_from_a_list_and_from_standard_input(run, tree, monkeypatch):
    (tree / "list.txt").write_text("t/a.png\nt/none.png\nt/s/u/b.png\n")
    code, _, err = run("compress", "@list.txt", "-o", "one", *UNTUNED, "--report", "failed.jsonl")
    assert code == 1
    assert sorted(content(tree / "one")) == ["a.tkd", "b.tkd"]
    (failed,) = [json.loads(line) for line in (tree / "failed.jsonl").read_text().splitlines()]
    assert (failed["input"], failed["type"]) == ("t/none.png", "ImageError")
    assert err.count("\n") == 2
    assert run("compress", "--from-file", "list.txt", "-r", "-o", "two", *UNTUNED)[0] == 1
    assert sorted(content(tree / "two")) == ["t/a.tkd", "t/s/u/b.tkd"]
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(b"t/a.png\nt/s/a.png\n")))
    code, _, err = run("compress", "--from-file", "-", "-o", "three", *UNTUNED)
    assert (code, sorted(content(tree / "three"))) == (1, ["a.tkd"])
    assert "t/a.png and t/s/a.png would both be written to three/a.tkd: rename one" in err


def test_objects_at_urls_in_and_out(run, tree, memory):
    assert run("compress", "t", "-r", "-o", "memory://out/x", *UNTUNED) == (0, "", "")
    streams = {name: memory.cat_file(name) for name in memory.find("/out")}
    assert sorted(streams) == ["/out/x/a.tkd", "/out/x/s/a.tkd", "/out/x/s/u/b.tkd"]
    code, _, err = run("compress", "t", "-r", "-o", "memory://out/x", *UNTUNED)
    assert (code, "already there" in err) == (2, True)
    memory.rm("/out/x/a.tkd")
    code, said, _ = run("compress", "t", "-r", "-o", "memory://out/x", *UNTUNED[:-1], "--skip-existing", "--json")
    assert (code, said.count('"skipped": true')) == (0, 2)
    assert {name: memory.cat_file(name) for name in memory.find("/out")} == streams
    code, said, _ = run("decompress", "memory://out/x/", "-r", "-o", "png", "--json")
    assert code == 0
    assert {json.loads(line)["input"] for line in said.splitlines()} == {f"memory:/{name}" for name in streams}
    assert sorted(content(tree / "png")) == ["a.png", "s/a.png", "s/u/b.png"]
    assert run("decompress", "memory://out/x/a.tkd", "--quiet") == (0, "", "")
    assert memory.cat_file("/out/x/a.png") == (tree / "png" / "a.png").read_bytes()
    assert run("info", "memory://out/x/a.tkd", "--json")[0] == 0
    code, out, err = run("decompress", "memory://none/a.tkd", "-o", "x.png")
    assert (code, out, err.count("\n")) == (1, "", 1)
    assert "there is no such object" in err


def test_a_url_that_is_not_there_does_not_end_the_others(run, tree, memory, tmp_path):
    memory.pipe_file("/in/a.png", (tree / "t/a.png").read_bytes())
    given = ("memory://in/a.png", "memory://in/no.png", "memory://none/", "t/s/u/b.png")
    code, _, said = run("compress", *given, "-o", "out", *UNTUNED, "--report", "failed.jsonl")
    assert code == 1
    assert said.endswith("2 of 4 inputs failed: memory://in/no.png, memory://none/\n")
    assert sorted(content(tree / "out")) == ["a.tkd", "b.tkd"]
    failed = [json.loads(line) for line in (tree / "failed.jsonl").read_text().splitlines()]
    assert [(row["input"], row["type"]) for row in failed] == [(name, "TaskodecError") for name in given[1:3]]


def archive(path, *files):
    with tarfile.open(path, "w") as made:
        for name, data in files:
            about = tarfile.TarInfo(name)
            about.size = len(data)
            made.addfile(about, io.BytesIO(data))


@pytest.fixture
def shards(tree):
    """Two shards of pictures with labels, the second with a picture that is none and a name that leads elsewhere."""
    a, b = ((tree / name).read_bytes() for name in ("t/a.png", "t/s/u/b.png"))
    archive(tree / "s0.tar", ("0001.png", a), ("0001.cls", b"7"), ("0002.png", b), ("0002.cls", b"8"))
    archive(tree / "s1.tar", ("0003.png", b"none"), ("../0004.png", a), ("d/0005.png", b))
    return tree


@pytest.mark.parametrize("batch", ["1", "2"])
def test_shards_become_shards_with_the_same_keys(run, shards, batch):
    code, _, err = run("compress", "s0.tar", "s1.tar", "--shards", "-o", "out", *UNTUNED, "--batch", batch)
    assert code == 1
    assert "../0004.png: names in archives must be relative" in err
    assert err.endswith("2 of 5 inputs failed: s1.tar/0003.png, s1.tar/../0004.png\n")
    first = members(shards / "out" / "s0.tar")
    assert list(first) == ["0001.tkd", "0001.cls", "0002.tkd", "0002.cls"]
    assert first["0002.cls"] == b"8"
    assert list(members(shards / "out" / "s1.tar")) == ["d/0005.tkd"]
    assert run("compress", "t/a.png", "-o", "a.tkd", *UNTUNED)[0] == 0
    assert first["0001.tkd"] == (shards / "a.tkd").read_bytes()
    assert not (shards.parent / "0004.tkd").exists()
    again = ("compress", "s0.tar", "s1.tar", "--shards", "-o", "out", *UNTUNED)
    assert "already there" in run(*again)[2]
    before = content(shards / "out")
    assert run(*again, "--skip-existing") == (0, "", "")
    assert content(shards / "out") == before


def test_archives_become_files_and_files_an_archive(run, shards):
    assert run("compress", "s0.tar", "-o", "loose", *UNTUNED)[0] == 0
    assert sorted(content(shards / "loose")) == ["0001.tkd", "0002.tkd"]
    assert run("compress", "t", "-r", "-o", "all.tar", *UNTUNED) == (0, "", "")
    assert list(members(shards / "all.tar")) == ["a.tkd", "s/a.tkd", "s/u/b.tkd"]
    assert run("decompress", "all.tar", "-o", "all-png.tar", "--quiet")[0] == 0
    assert list(members(shards / "all-png.tar")) == ["a.png", "s/a.png", "s/u/b.png"]
    _, out, _ = run("info", "all.tar", "--json")
    assert [json.loads(line)["input"] for line in out.splitlines()] == [f"all.tar/{n}" for n in members("all.tar")]
    assert run("compress", "t", "-r", "-o", "all.tar", *UNTUNED)[0] == 2
    assert run("compress", "t", "-r", "-o", "all.tar", *UNTUNED, "--skip-existing") == (0, "", "")


def test_an_archive_that_was_cut_makes_no_archive(run, shards, monkeypatch):
    ignored = []
    monkeypatch.setattr(sys, "unraisablehook", ignored.append)
    with (shards / "s0.tar").open("r+b") as file:
        file.truncate((shards / "s0.tar").stat().st_size // 3)
    code, _, err = run("compress", "s0.tar", "s1.tar", "--shards", "-o", "out", *UNTUNED)
    assert code == 1
    assert "error: s0.tar cannot be read on after" in err
    assert sorted(content(shards / "out")) == ["s1.tar"]
    gc.collect()
    assert not ignored  # of an archive that tarfile would end when it is forgotten
    assert run("compress", "s0.tar", "-o", "loose", *UNTUNED)[0] == 1
    assert sorted(content(shards / "loose")) in ([], ["0001.tkd"])
    assert run("compress", "s0.tar", "s1.tar", "-o", "all.tar", *UNTUNED)[0] == 1
    assert not (shards / "all.tar").exists()
    assert not list(shards.glob(".*.tmp"))


def test_shards_at_urls(run, shards, memory):
    memory.pipe_file("/in/s0.tar", (shards / "s0.tar").read_bytes())
    assert run("compress", "memory://in/s0.tar", "--shards", "-o", "memory://out", *UNTUNED) == (0, "", "")
    assert run("compress", "s0.tar", "--shards", "-o", "out", *UNTUNED)[0] == 0
    assert memory.cat_file("/out/s0.tar") == (shards / "out" / "s0.tar").read_bytes()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "Missing argument"),
        (["a.tar"], "say with -o where its members go"),
        (["t", "--shards", "-o", "x"], "--shards makes an archive of each archive"),
        (["t/a.png", "-o", "http://host/a.tkd"], "http is for reading only"),
        (["nosuch://a/b.png", "-o", "x/"], "nosuch:// is unknown"),
        (["@none.txt", "-o", "x"], "cannot read the list none.txt"),
        (["@t/a.png", "-o", "-"], "takes the result of one file"),
        (["-", "@-", "-o", "x"], "can be read once"),
        (["t/a.png", "--report", "t/a.png"], "expected a name that ends in .jsonl"),
        (["t/a.png", "--engine", "spark"], "valid are local and ray"),
        (["t/a.png", "--address", "auto"], "give --engine ray as well"),
    ],
)
def test_calls_that_are_wrong(run, tree, arguments, message):
    if any("://" in argument for argument in arguments):
        pytest.importorskip("fsspec")
    code, out, err = run("compress", *arguments, *UNTUNED)
    assert (code, out, err.count("\n")) == (2, "", 1)
    assert message in err
    assert (tree / "t" / "a.png").stat().st_size > 100


def test_a_stopped_run_leaves_no_archive(run, tree, monkeypatch, tiny_codec):
    def stop(*given):
        raise KeyboardInterrupt

    monkeypatch.setattr("taskodec.api.compressor.Compressor.compress_batch", stop)
    code, _, err = run("compress", "t", "-r", "-o", "all.tar", *UNTUNED)
    assert (code, err) == (130, "stopped; 0 inputs done; the same call with --skip-existing makes the rest\n")
    assert [path.name for path in tree.iterdir()] == ["t"]


@pytest.mark.parametrize("command", ["compress", "decompress"])
@pytest.mark.parametrize("output", ["t/a.png/out", "t/a.png/all.tar", "t/a.png/out --shards", "denied://b/x"])
def test_where_nothing_can_be_written_nothing_is_loaded(run, shards, monkeypatch, command, output):
    pytest.importorskip("fsspec")
    pytest.importorskip("aiohttp")
    from fsspec import register_implementation
    from fsspec.implementations.memory import MemoryFileSystem

    class Denied(MemoryFileSystem):
        def pipe_file(self, path, value, **options):
            raise PermissionError("Access Denied")

    register_implementation("denied", Denied, clobber=True)
    monkeypatch.setattr("taskodec.api.compressor.Compressor.__init__", lambda *given: pytest.fail("it was loaded"))
    monkeypatch.setattr("taskodec.api.decompressor.Decompressor.__init__", lambda *given: pytest.fail("it was loaded"))
    before = content(shards)
    code, out, err = run(command, "s0.tar", "-o", *output.split(), "--quiet")
    assert (code, out, err.count("\n")) == (1, "", 1)
    assert err.startswith("error: cannot ")
    assert content(shards) == before


def test_a_run_that_goes_on_where_nothing_is_to_be_written_asks_nothing(run, tree, memory, monkeypatch):
    """And where something is, it is asked before that is made."""
    assert run("compress", "t", "-r", "-o", "memory://out", *UNTUNED)[0] == 0

    def refuse(target, called=""):
        raise TaskodecError(f"cannot write {target}")

    for room in ("sinks", "archive_sinks"):
        monkeypatch.setattr(f"taskodec.sources.{room}.check_target", refuse)
    again = ("compress", "t", "-r", "-o", "memory://out", *UNTUNED, "--skip-existing")
    assert run(*again) == (0, "", "")
    memory.rm("/out/a.tkd")
    monkeypatch.setattr("taskodec.api.compressor.Compressor.compress_batch", lambda *given: pytest.fail("made"))
    code, _, err = run(*again)
    assert (code, "error: t/a.png: cannot write memory://out/a.tkd" in err) == (1, True)
    code, _, err = run("compress", "t", "-r", "-o", "all.tar", *UNTUNED, "--skip-existing")
    assert (code, err) == (1, "error: cannot write all.tar\n")


def test_an_input_whose_output_can_have_no_name_does_not_end_the_others(run, tree):
    long = tree / ("n" * 255)
    long.write_bytes((tree / "t/a.png").read_bytes())
    code, _, err = run("compress", "t/a.png", long.name, "-o", "out", *UNTUNED)
    assert (code, "File name too long" in err, err.count("\n")) == (1, True, 2)
    assert list(content(tree / "out")) == ["a.tkd"]
