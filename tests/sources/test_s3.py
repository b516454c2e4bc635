"""A store that is a server, on loopback: `pip install 'moto[server]' s3fs`; 100 MB, which is why `dev` is without."""

import io
import os
import urllib.request

import pytest
from PIL import Image

from taskodec.errors import TaskodecError

pytest.importorskip("s3fs")
moto = pytest.importorskip("moto.server")

from taskodec.sources import remote  # noqa: E402
from taskodec.sources.archives import ArchiveWriter  # noqa: E402
from taskodec.sources.remote import files_in, names_at, open_url, put_bytes, put_file, read_url  # noqa: E402

pytestmark = pytest.mark.filterwarnings("ignore")


@pytest.fixture(scope="module")
def server():
    made = moto.ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    made.start()
    yield "http://{}:{}".format(*made.get_host_and_port())
    made.stop()


@pytest.fixture
def s3(server, monkeypatch):
    """The store with a bucket, `bkt`, as the environment names it."""
    values = {"ENDPOINT_URL": server, "ACCESS_KEY_ID": "a", "SECRET_ACCESS_KEY": "b", "DEFAULT_REGION": "us-east-1"}
    for name in [name for name in os.environ if name.startswith("AWS_")]:
        monkeypatch.delenv(name)
    for name, value in values.items():
        monkeypatch.setenv(f"AWS_{name}", value)
    import s3fs

    remote._system.cache_clear()
    s3fs.S3FileSystem.clear_instance_cache()
    system = s3fs.S3FileSystem(use_listings_cache=False)
    if not system.exists("bkt"):
        system.mkdir("bkt")
    yield system
    remote._system.cache_clear()
    s3fs.S3FileSystem.clear_instance_cache()
    urllib.request.urlopen(urllib.request.Request(f"{server}/moto-api/reset", method="POST")).close()


def test_objects_and_folders_of_a_bucket(s3, tmp_path):
    put_bytes("s3://bkt/t/a.png", b"1" * 300_000)
    put_bytes("s3://bkt/t/s p/ü.png", b"2")
    assert read_url("s3://bkt/t/a.png", 10**6) == b"1" * 300_000
    assert list(names_at("s3://bkt/t", True)) == [("", ["a.png"]), ("s p", ["ü.png"])]
    assert names_at("s3://bkt/t/a.png", True) is None
    assert files_in("s3://bkt/t") == {"a.png": 300_000}
    assert files_in("s3://bkt/none") == {}
    (tmp_path / "x").write_bytes(b"3")
    put_file("s3://bkt/x", str(tmp_path / "x"))
    with open_url("s3://bkt/x") as file:
        assert file.read() == b"3"
    with pytest.raises(TaskodecError, match="more than 5 bytes"):
        read_url("s3://bkt/t/a.png", 5)


def test_what_is_not_there_and_what_nobody_may(s3, monkeypatch):
    for url in ("s3://bkt/none.png", "s3://nobody/a.png"):
        with pytest.raises(TaskodecError, match="no such object, bucket or host"):
            read_url(url, 10)
    with pytest.raises(TaskodecError, match="cannot write s3://nobody/a"):
        put_bytes("s3://nobody/a", b"1")
    from moto.core.responses import ActionAuthenticatorMixin

    monkeypatch.setattr("moto.core.responses.settings.INITIAL_NO_AUTH_ACTION_COUNT", 0)
    monkeypatch.setattr(ActionAuthenticatorMixin, "request_count", 0)
    for act in (
        lambda: read_url("s3://bkt/t/a.png", 10),
        lambda: put_bytes("s3://bkt/y", b"1"),
        lambda: files_in("s3://bkt"),
    ):
        with pytest.raises(TaskodecError, match=r"s3://bkt.*no right to .* AWS_PROFILE"):
            act()
    assert list(names_at_or_error("s3://bkt/")) == ["no right"]


def names_at_or_error(url):
    try:
        yield from names_at(url, True)
    except TaskodecError as error:
        yield "no right" if "no right" in str(error) else str(error)


def test_without_credentials_it_is_said_where_they_come_from(s3, monkeypatch):
    for name in ("ACCESS_KEY_ID", "SECRET_ACCESS_KEY"):
        monkeypatch.delenv(f"AWS_{name}")
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", "/nowhere")
    remote._system.cache_clear()
    type(s3).clear_instance_cache()
    with pytest.raises(TaskodecError, match=r"credentials.* AWS_PROFILE"):
        read_url("s3://bkt/t/a.png", 10)


def test_pictures_and_shards_of_a_bucket_are_compressed_to_it(s3, run, tmp_path):
    file, shard = io.BytesIO(), io.BytesIO()
    Image.effect_noise((32, 32), 40).convert("RGB").save(file, "PNG")
    writer = ArchiveWriter(shard)
    writer.add("0.png", file.getvalue())
    writer.close()
    s3.pipe({"bkt/in/s/0.png": file.getvalue(), "bkt/t/0.tar": shard.getvalue(), "bkt/t/1.tar": shard.getvalue()[:700]})
    untuned = ("--codec", "tiny", "--steps", "0", "--quiet")
    assert run("compress", "s3://bkt/in", "-r", "-o", "s3://bkt/out", *untuned) == (0, "", "")
    code, _, said = run("compress", "s3://bkt/t/0.tar", "s3://bkt/t/1.tar", "--shards", "-o", "s3://bkt/made", *untuned)
    assert (code, "s3://bkt/t/1.tar cannot be read on" in said, "Traceback" in said) == (1, True, False)
    assert sorted(s3.find("bkt/made") + s3.find("bkt/out")) == ["bkt/made/0.tar", "bkt/out/s/0.tkd"]
    assert s3.cat("bkt/out/s/0.tkd") in s3.cat("bkt/made/0.tar")


def test_whether_a_bucket_takes_objects_is_asked_without_leaving_one(s3):
    from taskodec.sources.trials import check_folder, check_target

    s3.pipe_file("bkt/there.tkd", b"1")
    check_folder("s3://bkt/new/folder")
    check_target("s3://bkt/there.tkd")
    assert s3.find("bkt") == ["bkt/there.tkd"]
    assert s3.cat_file("bkt/there.tkd") == b"1"
    assert not s3.list_multipart_uploads("bkt")
    with pytest.raises(TaskodecError, match="cannot write s3://none/x: there is no such object, bucket or host"):
        check_folder("s3://none/x")
