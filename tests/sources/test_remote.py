import pytest

from taskodec.errors import TaskodecError, UsageError

fsspec = pytest.importorskip("fsspec")
pytest.importorskip("aiohttp")

from fsspec.implementations.memory import MemoryFileSystem  # noqa: E402

from taskodec.sources import remote  # noqa: E402
from taskodec.sources.remote import (  # noqa: E402
    check_url,
    files_in,
    is_url,
    joined,
    names_at,
    open_url,
    put_bytes,
    put_file,
    read_url,
    split_url,
)


class Denied(MemoryFileSystem):
    """A store whose objects nobody has a right to."""

    protocol = "denied"

    def ls(self, path, detail=True, **options):
        raise PermissionError("Access Denied\nrequest 1")

    open = info = pipe_file = ls


class Slow(MemoryFileSystem):
    """A store where an object that is written can be seen before it is whole."""

    protocol = "slow"
    store, pseudo_dirs, failing = {}, [""], False

    def pipe_file(self, path, value, **options):
        super().pipe_file(path, value[:1] if self.failing else value, **options)
        if self.failing:
            raise ConnectionResetError("gone")


@pytest.fixture(autouse=True)
def stores():
    for store in (Denied, Slow):
        fsspec.register_implementation(store.protocol, store, clobber=True)
    MemoryFileSystem.store.clear()
    Slow.store.clear()
    remote._system.cache_clear()
    yield
    MemoryFileSystem.store.clear()


@pytest.mark.parametrize("name", ["s3://b/a.png", "memory://a", "HTTP://host/a", "gs+x://b"])
def test_a_url_is_no_path(name):
    assert is_url(name)


@pytest.mark.parametrize("name", ["a.png", "C://a.png", "/s3://b", "s3:/b", "-", "", "://"])
def test_a_path_is_no_url(name):
    assert not is_url(name)


@pytest.mark.parametrize(
    ("url", "below"),
    [
        ("s3://bucket/a/b.png", "a/b.png"),
        ("memory://a/b.png", "a/b.png"),
        ("file:///data/b.png", "data/b.png"),
        ("https://host/a/b.png?key=1#x", "a/b.png"),
        ("https://host", ""),
    ],
)
def test_what_is_below_the_bucket_or_host(url, below):
    assert split_url(url)[1] == below


def test_objects_are_written_whole_and_read_up_to_a_limit(tmp_path):
    put_bytes("memory://a/b.tkd", b"12345")
    assert read_url("memory://a/b.tkd", 5) == b"12345"
    with pytest.raises(TaskodecError, match="holds more than 4 bytes"):
        read_url("memory://a/b.tkd", 4)
    (tmp_path / "local").write_bytes(b"file")
    put_file("memory://a/c.tkd", str(tmp_path / "local"))
    assert files_in("memory://a") == {"b.tkd": 5, "c.tkd": 4}
    assert files_in("memory://nowhere") == {}


def test_files_of_a_folder_that_machines_share_are_written_as_files_are(tmp_path):
    url = f"file://{tmp_path}/new/a.tkd"
    put_bytes(url, b"whole")
    assert (tmp_path / "new" / "a.tkd").read_bytes() == b"whole"
    assert [path.name for path in (tmp_path / "new").iterdir()] == ["a.tkd"]
    assert read_url(url, 9) == b"whole"


def test_where_objects_are_seen_while_they_are_written_they_are_moved_to_their_place(monkeypatch):
    put_bytes("slow://a/b", b"old")
    monkeypatch.setattr(Slow, "failing", True)
    with pytest.raises(TaskodecError, match="cannot write slow://a/b: gone"):
        put_bytes("slow://a/b", b"new")
    monkeypatch.setattr(Slow, "failing", False)
    assert files_in("slow://a") == {"b": 3}
    put_bytes("slow://a/b", b"newer")
    assert read_url("slow://a/b", 9) == b"newer"
    assert files_in("slow://a") == {"b": 5}


def test_folders_are_listed_one_at_a_time_and_hidden_ones_left_out():
    for name in ("z.png", "a.png", "sub/c.png", "sub/deep/d.png", ".git/e.png"):
        put_bytes(f"memory://tree/{name}", b"x")
    assert list(names_at("memory://tree", False)) == [("", ["a.png", "z.png"])]
    assert list(names_at("memory://tree/", True)) == [
        ("", ["a.png", "z.png"]),
        ("sub", ["c.png"]),
        ("sub/deep", ["d.png"]),
    ]
    assert names_at("memory://tree/a.png", True) is None
    with pytest.raises(TaskodecError, match="there is no such object"):
        names_at("memory://nowhere", True)
    with pytest.raises(TaskodecError, match="there is no such object"):
        list(names_at("memory://nowhere/", True))


def test_urls_without_rights_are_one_line():
    for call in (
        lambda: read_url("denied://a/b", 9),
        lambda: put_bytes("denied://a/b", b""),
        lambda: list(names_at("denied://a/", True)),
        lambda: files_in("denied://a"),
    ):
        with pytest.raises(TaskodecError, match=r"denied://a.*no right to \(Access Denied\)$"):
            call()


@pytest.mark.parametrize(
    ("url", "written", "message"),
    [
        ("nosuch://a", False, "nosuch:// is unknown; valid are those of fsspec"),
        ("http://host/a", True, "http is for reading only"),
        ("simplecache::memory://a", False, None),
        ("zip://a::memory://b", False, "chains of URLs are not supported"),
    ],
)
def test_urls_that_cannot_be_used(url, written, message):
    if message is None:
        assert not is_url(url)
        return
    with pytest.raises(UsageError, match=message):
        check_url(url, written)


def test_what_a_protocol_needs_is_named(monkeypatch):
    def missing(protocol, **options):
        raise ImportError("Install s3fs to access S3")

    monkeypatch.setattr(fsspec, "filesystem", missing)
    with pytest.raises(UsageError, match=r"Install s3fs to access S3; `pip install 'taskodec\[s3\]'`"):
        check_url("s3://b/a")


def test_without_fsspec_the_extra_is_named(without):
    without("fsspec")
    with pytest.raises(UsageError, match=r"fsspec is not installed: `pip install 'taskodec\[remote\]'`"):
        check_url("s3://b/a")


def test_http_is_read(server):
    server.files["/a%20b.png"] = server.files["/a b.png"] = b"picture"
    assert read_url(f"{server.url}/a%20b.png", 10) == b"picture"
    with pytest.raises(TaskodecError, match="there is no such object"):
        read_url(f"{server.url}/none.png", 10)
    server.faults = [503]
    with pytest.raises(TaskodecError, match="503"):
        read_url(f"{server.url}/a%20b.png", 10)
    server.faults = ["cut"]
    with pytest.raises(TaskodecError, match="cannot read"):
        read_url(f"{server.url}/a%20b.png", 10)
    server.faults = []
    with pytest.raises(TaskodecError, match="holds more than 3 bytes"):
        read_url(f"{server.url}/a%20b.png", 3)


def test_what_arrives_in_pieces_over_http_is_read_whole(server):
    """More than a client keeps ready, cut or not."""
    data = bytes(range(256)) * 4096
    server.files["/a.png"] = data
    assert read_url(f"{server.url}/a.png", len(data)) == data
    with pytest.raises(TaskodecError, match=f"holds more than {len(data) - 1} bytes"):
        read_url(f"{server.url}/a.png", len(data) - 1)
    server.faults = ["cut"]
    with pytest.raises(TaskodecError, match="cannot read"):
        read_url(f"{server.url}/a.png", len(data))


@pytest.mark.parametrize("protocol", ["http", "memory", "file"])
def test_lines_and_places_in_files_at_urls(server, tmp_path, protocol):
    server.files["/names.txt"] = text = b"a.png\nb.png\n"
    (tmp_path / "names.txt").write_bytes(text)
    put_bytes("memory://lines/names.txt", text)
    folder = {"http": server.url, "memory": "memory://lines", "file": f"file://{tmp_path}"}[protocol]
    with open_url(f"{folder}/names.txt") as file:
        assert [file.readline(100) for _ in range(3)] == [b"a.png\n", b"b.png\n", b""]
        if protocol == "http":
            with pytest.raises(OSError, match="not seekable"):
                file.seek(0)
        else:
            assert file.seek(0) == 0
            assert file.read() == text


def test_joining_keeps_one_slash():
    assert joined("s3://b/", "a") == joined("s3://b", "a") == "s3://b/a"


def test_what_cannot_be_written_is_said_before_and_leaves_nothing():
    """A store without rights; one whose writing fails; one that takes what it is given."""
    from taskodec.sources.trials import check_folder, check_target

    with pytest.raises(TaskodecError, match=r"cannot write denied://b/x: no right to \(Access Denied\)"):
        check_folder("denied://b/x")
    check_folder("slow://b/x")
    check_target("slow://b/x/a.tkd")
    assert not Slow.store
    with pytest.raises(UsageError, match="http is for reading only"):
        check_folder("https://host/x")
