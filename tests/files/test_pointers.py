"""Files that a repository without its large files has in their place are named by all that read them."""

import pytest

from taskodec.adapters.files import load_adapter, load_adapter_state, read_card
from taskodec.adapters.lora import build_svd_lora
from taskodec.codecs.checkpoints import read_checkpoint
from taskodec.errors import DamagedStreamError, ImageError, WeightsError
from taskodec.files.atomic import pointer_to
from taskodec.files.weights import WeightsFile
from taskodec.images.tensors import load_image
from taskodec.plugins.networks.onnx_modules import read_graph
from taskodec.plugins.networks.state_dicts import read_pickle, read_weights
from taskodec.runtime.exported import DECODER, Exported, Manifest, read_exported, write_exported
from taskodec.settings.model import TrainSettings
from taskodec.stream.bitstream import Stream
from taskodec.training.state import TrainingState

LFS = b"version https://git-lfs.github.com/spec/v1\noid sha256:4d7a214614ab2935c943f9e0ff69d22e\nsize 12345\n"
TINY = ("--codec", "tiny", "--preset", "latents", "--steps", "1")


def test_pointers_are_known_by_what_they_begin_with(tmp_path):
    path = tmp_path / "a"
    path.write_bytes(LFS)
    said = "a Git LFS pointer, not the weights: run `git lfs pull`"
    assert pointer_to("the weights", path) == pointer_to("the weights", LFS) == said
    assert "git-annex" in pointer_to("it", b"/annex/objects/SHA256E-s1--4d7a.png\n")
    for other in (b"", LFS[1:], b"version https://example.org\n", b"\x89PNG\r\n\x1a\n"):
        path.write_bytes(other)
        assert pointer_to("the weights", path) == pointer_to("the weights", other) == ""
    assert pointer_to("the weights", tmp_path / "missing") == pointer_to("the weights", tmp_path) == ""


@pytest.mark.parametrize(
    ("name", "read"),
    [
        ("a.safetensors", read_card),
        ("a.safetensors", read_checkpoint),
        ("a.pt", read_checkpoint),
        ("a.safetensors", read_weights),
        ("a.pth", read_weights),
        ("a.pkl", read_pickle),
        ("a.onnx", read_graph),
        ("a.pth", lambda path: WeightsFile("net").find(path)),
    ],
)
def test_readers_of_weights(name, read, tmp_path):
    path = tmp_path / name
    path.write_bytes(LFS)
    with pytest.raises(WeightsError, match=r"a\.\w+ is a Git LFS pointer, not the \w+: run `git lfs pull`"):
        read(path)


def test_adapters(tiny_codec, tmp_path):
    path = tmp_path / "adapter.safetensors"
    path.write_bytes(LFS)
    for read in (lambda: load_adapter(path, tiny_codec), lambda: load_adapter_state(path, build_svd_lora(tiny_codec))):
        with pytest.raises(WeightsError, match=r"adapter\.safetensors is a Git LFS pointer, not the adapter"):
            read()


def test_checkpoints_of_runs(tiny_codec, tmp_path):
    (tmp_path / "checkpoint.pt").write_bytes(LFS)
    with pytest.raises(WeightsError, match=r"checkpoint\.pt is a Git LFS pointer, not the checkpoint"):
        TrainingState(tiny_codec, TrainSettings(steps=1), tmp_path).load()


@pytest.mark.parametrize("name", ["manifest.json", "synthesis.onnx", "tables.npz"])
def test_exported_codecs(name, tmp_path):
    manifest = Manifest("tiny", "00000000", "recipe", 16, (1.0,), False, "BSD")
    write_exported(tmp_path, Exported(manifest, {"synthesis": b"graph"}, {}, {}))
    assert read_exported(tmp_path, DECODER).graphs == {"synthesis": b"graph"}
    (tmp_path / name).write_bytes(LFS)
    with pytest.raises(WeightsError, match=rf"{name} is a Git LFS pointer, not the exported codec"):
        read_exported(tmp_path, DECODER)


def test_streams_and_pictures():
    with pytest.raises(DamagedStreamError, match="a Git LFS pointer, not the stream"):
        Stream.from_bytes(LFS)
    with pytest.raises(ImageError, match="a Git LFS pointer, not the picture"):
        load_image(LFS)


def test_the_command_line_says_so(run, tmp_path):
    for name, command in (("a.png", "compress"), ("b.tkd", "decompress"), ("b.tkd", "info")):
        (tmp_path / name).write_bytes(LFS)
        code, _, err = run(command, tmp_path / name, *(TINY if command == "compress" else ()))
        assert code == 1, err
        assert "run `git lfs pull`" in err
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.png", "b.tkd"]
