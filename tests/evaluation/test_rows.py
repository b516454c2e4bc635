"""Rows of an evaluation, with the tiny codec."""

import json
from dataclasses import asdict, replace

import pytest
import torch
from brightness import Dark

from taskodec.adapters.files import load_adapter, save_adapter
from taskodec.adapters.lora import build_svd_lora
from taskodec.api.compressor import Compressor
from taskodec.api.decompressor import Decompressor
from taskodec.bench.fidelity import sources
from taskodec.codecs.anchors import jpeg
from taskodec.coding.streams import codec_fingerprint
from taskodec.errors import TaskError, UsageError
from taskodec.evaluation.lab import EvaluationPlan, Lab
from taskodec.evaluation.methods import method_settings, parse_methods, parse_qualities
from taskodec.evaluation.rows import row_file
from taskodec.hooks.registry import Registry
from taskodec.hooks.specs import AdapterSpec, CodecSpec, TaskSpec, hookimpl
from taskodec.images.tensors import load_image, to_pil
from taskodec.settings.model import load_settings
from taskodec.stream.bitstream import Stream


def trained(codec, path):
    """A file with an adapter that changes the decoder."""
    adapter = build_svd_lora(codec, rank=2)
    with torch.no_grad():
        for name, parameter in adapter.named_parameters():
            if name.endswith("w_lora_S"):
                parameter.fill_(0.3)
    save_adapter(path, adapter, {"codec": "tiny", "codec_fingerprint": codec_fingerprint(codec).hex(), "task": "dark"})
    return path


@pytest.fixture
def loads():
    """At which qualities the codec was loaded."""
    return []


@pytest.fixture
def registry(tiny_codec, loads, tmp_path):
    """The tiny codec, the task `dark`, and `tiny-dark`, an adapter that was trained for both."""
    file = trained(tiny_codec, tmp_path / "dark.safetensors")

    class Plugin:
        @hookimpl
        def register_codecs(self):
            def load(quality=3.0, checkpoint=None):
                loads.append((quality, checkpoint and str(checkpoint)))
                return tiny_codec

            return [CodecSpec("tiny", load)]

        @hookimpl
        def register_tasks(self):
            return [TaskSpec("dark", Dark)]

        @hookimpl
        def register_adapters(self):
            return [AdapterSpec("tiny-dark", lambda codec: load_adapter(file, codec), codec="tiny", task="dark")]

    found = Registry()
    found.load_builtins()
    found.register(Plugin(), "tests")
    return found


def lab_of(registry, methods, *overrides, qualities=("2",), labels=None):
    def resolve(more):
        return load_settings(overrides=["codec.name=tiny", "task.name=dark", *overrides, *more])

    chosen = parse_methods(methods, registry)
    pairs = tuple((m, method_settings(m, resolve) if m.learned else None) for m in chosen)
    return Lab(EvaluationPlan(resolve(()), pairs, parse_qualities(qualities, chosen), labels), registry)


def rows_of(lab, path):
    return {job.method: lab.measure(job) for job in lab.jobs(sources([path]))}


def test_a_row_of_every_kind(registry, picture):
    methods = "original,plain,pretrained,ttft,jpeg"
    lab = lab_of(registry, methods, "ttft.steps=3", qualities=("2", "jpeg=20"))
    rows = rows_of(lab, picture)
    assert list(rows) == methods.split(",")
    for row in rows.values():
        assert (row.image, row.width, row.height, row.record["pair"]) == ("photo.png", 96, 64, [1, 2])
    assert rows["original"].bpp is None
    assert rows["jpeg"].quality == 20
    for name in ("plain", "pretrained", "ttft"):
        row = rows[name]
        assert row.quality == 2
        assert row.bpp == 8 * row.bytes / (96 * 64)
        assert row.bpp == pytest.approx(row.bpp_latent + row.bpp_adapter + row.bpp_header)
        assert row.cost == pytest.approx(row.lmbda * row.task_loss + row.bpp)
    assert (rows["plain"].steps, rows["plain"].chosen, rows["plain"].bpp_adapter) == (0, "untuned", 0)
    assert (rows["pretrained"].steps, rows["pretrained"].chosen) == (0, "untuned")
    assert rows["pretrained"].bpp_adapter > 0
    assert rows["ttft"].steps == 3
    assert 0 < rows["ttft"].step_seconds < rows["ttft"].cpu_seconds
    assert rows["plain"].step_seconds is None
    assert rows["ttft"].cost_untuned == rows["pretrained"].cost == rows["pretrained"].cost_untuned
    assert {(row.task, row.codec) for row in (rows["plain"], rows["ttft"])} == {(lab.task.name, "tiny")}
    assert rows["ttft"].cost <= rows["pretrained"].cost
    assert json.loads(json.dumps(asdict(rows["ttft"])))["record"] == rows["ttft"].record


def test_the_task_sees_what_a_decoder_makes_of_the_bytes(registry, picture):
    lab = lab_of(registry, "plain,pretrained,jpeg", qualities=("3", "jpeg=20"))
    rows = rows_of(lab, picture)
    x = load_image(picture).x
    for name, adapter in (("plain", "svd-lora"), ("pretrained", "tiny-dark")):
        settings = load_settings(
            overrides=["codec.name=tiny", "task.name=dark", "ttft.steps=0", f"adapter.name={adapter}"]
        )
        stream = Compressor(settings, registry).compress(picture).stream
        decoded = load_image(Decompressor(settings, registry).decompress(stream)).x
        shown = next(s for s in lab.evaluator.shown if torch.equal(s[1], decoded))
        assert shown[0] == "photo.png"
        assert torch.equal(shown[2], x)
        assert rows[name].bytes == len(stream)
        assert rows[name].task_loss == pytest.approx(float((decoded - 0.5 * x).square().mean()))
        header = Stream.from_bytes(stream).header
        assert (header.adapter_fingerprint is None) == (name == "plain")
    data = jpeg().encode(to_pil(x), 20)
    assert rows["jpeg"].bytes == len(data)
    assert torch.equal(lab.evaluator.shown[-1][1], load_image(jpeg().decode(data)).x)


def test_qualities_of_all_of_one_and_of_the_codec(registry, picture):
    def found(*qualities, methods="plain,ttft,jpeg"):
        jobs = lab_of(registry, methods, qualities=qualities).jobs(sources([picture]))
        return {m: [job.quality for job in jobs if job.method == m] for m in dict.fromkeys(job.method for job in jobs)}

    assert found("1,2.51", "plain=1,2,3,4", "jpeg=20") == {"plain": [1, 2, 3, 4], "ttft": [1, 2.5], "jpeg": [20]}
    assert found(methods="plain,original") == {"plain": [1, 2, 3, 4], "original": [None]}
    assert found("1", methods="plain,jpeg")["jpeg"] == list(jpeg().qualities)
    with pytest.raises(UsageError, match="quality 9 does not exist"):
        found("1,9")


def test_a_codec_is_loaded_once_for_each_side(registry, picture, loads):
    rows_of(lab_of(registry, "plain,ttft,pretrained", "ttft.steps=1", qualities=("1,2,3",)), picture)
    assert len(loads) == 3  # one to code with, and two to decode with: plain knows of no adapter
    loads.clear()
    lab = lab_of(registry, "plain", "codec.checkpoint=w{quality}.pth", qualities=("1,2",))
    lab.jobs(sources([picture]))
    assert [file for _, file in loads] == ["w1.pth", "w2.pth"]


def digests(lab):
    return {(m.name, q): lab.digest(m.name, q) for m, s in lab.plan.methods for q in lab.qualities(m, s)}


@pytest.mark.parametrize(
    ("overrides", "changed"),
    [
        (["ttft.steps=4"], {"ttft"}),
        (["ttft.preset=encoder"], {"ttft"}),
        (["ttft.seed=1"], {"plain", "pretrained", "ttft"}),
        (["task.lmbda=7"], {"plain", "pretrained", "ttft"}),
        (["adapter.name=svd-lora"], {"ttft"}),
        (["limits.max_pixels=999999"], set()),
        (["ttft.time_budget=9"], {"ttft"}),
        (["ttft.adapter_rate=false"], {"ttft"}),
        (["ttft.search=[gates]", "ttft.keep=last"], {"ttft"}),
    ],
)
def test_a_row_holds_as_long_as_all_that_it_depends_on(registry, overrides, changed):
    methods = "original,plain,pretrained@tiny-dark,ttft,jpeg"
    one = digests(lab_of(registry, methods, "ttft.steps=3", qualities=("2", "jpeg=20")))
    other = digests(lab_of(registry, methods, "ttft.steps=3", *overrides, qualities=("2", "jpeg=20")))
    assert {
        name.partition("@")[0] for name, _ in one if any(one[k] != other[k] for k in one if k[0] == name)
    } == changed


def test_weights_adapters_labels_and_tasks_count_as_well(registry, tiny_codec, tmp_path):
    task = tmp_path / "task.py"
    task.write_text("def loss(x_hat, x):\n    return (x_hat - x).abs().mean()\n")

    def found(labels=None, *overrides):
        return digests(lab_of(registry, "original,plain,pretrained", *overrides, labels=labels))

    before = found()
    (tmp_path / "labels").mkdir()
    (tmp_path / "labels" / "a.txt").write_text("1")
    labelled = found(tmp_path / "labels")
    assert not set(before.values()) & set(labelled.values())
    (tmp_path / "labels" / "a.txt").write_text("2")
    assert not set(labelled.values()) & set(found(tmp_path / "labels").values())

    of_file = f"task.name={task}:loss"
    written = digests(lab_of(registry, "original", of_file))
    task.write_text("def loss(x_hat, x):\n    return (x_hat - x).square().mean()\n")
    assert digests(lab_of(registry, "original", of_file)) != written

    path = tmp_path / "dark.safetensors"
    adapter = load_adapter(path, tiny_codec)
    with torch.no_grad():  # the encoder's side, of which the fingerprint knows nothing
        next(p for n, p in adapter.named_parameters() if n in adapter.adapter_params("encoder")).add_(0.5)
    card = {"codec": "tiny", "task": "dark"}
    save_adapter(path, adapter, card)
    after = found()
    assert {key for key in before if before[key] != after[key]} == {("pretrained", 2.0)}
    with torch.no_grad():
        tiny_codec.h_a.bias.add_(1)
    assert {key for key in after if after[key] != found()[key]} == {("plain", 2.0), ("pretrained", 2.0)}


@pytest.mark.filterwarnings("ignore:LPIPS is left out")
def test_pretrained_needs_an_adapter_that_was_trained(registry):
    for override in ("adapter.name=svd-lora", "task.name=human", "adapter.options.rank=2"):
        with pytest.raises(UsageError, match=r"no adapter that was trained for codec 'tiny'.*taskodec pretrain"):
            lab_of(registry, "pretrained", override).jobs([])


def test_several_starting_adapters_in_one_run(registry, tiny_codec, picture, tmp_path):
    file = trained(tiny_codec, tmp_path / "other.safetensors")
    lab = lab_of(registry, f"pretrained,pretrained@{file},ttft@{file}", "ttft.steps=2")
    rows = rows_of(lab, picture)
    assert rows["pretrained"].task_loss == rows[f"pretrained@{file}"].task_loss
    assert rows[f"ttft@{file}"].steps == 2
    assert lab.about()[f"ttft@{file}"]["adapter"] == str(file)
    assert lab.about()["pretrained"]["adapter"] == "tiny-dark"


def test_a_failure_names_image_method_and_quality(registry, picture, monkeypatch):
    lab = lab_of(registry, "plain")
    (job,) = lab.jobs(sources([picture]))

    def broken(name, x_hat, x):
        raise ValueError("no such thing")

    monkeypatch.setattr(lab.evaluator, "observe", broken)
    with pytest.raises(TaskError, match=r"^plain, quality 2, .*photo.png: ValueError: no such thing"):
        lab.measure(job)
    monkeypatch.setattr(lab.evaluator, "observe", lambda *_: {"a": torch.ones(2)})
    with pytest.raises(TaskError, match="not JSON serializable"):
        lab.measure(job)

    def unlabelled(name, x_hat, x):
        raise UsageError(f"the labels do not know {name}")

    monkeypatch.setattr(lab.evaluator, "observe", unlabelled)
    with pytest.raises(UsageError, match=r"^plain, quality 2, .*: the labels do not know photo.png"):
        lab.measure(job)


@pytest.mark.compressai
def test_anchors_for_timing_only_are_refused(registry):
    with pytest.raises(UsageError, match="for timing only"):
        lab_of(registry, "compressai-mbt2018-mean").jobs([])


def test_missing_labels_are_refused(registry, tmp_path):
    with pytest.raises(UsageError, match=r"cannot open .*nowhere"):
        lab_of(registry, "original", labels=tmp_path / "nowhere.tsv")


def test_rows_are_found_by_image_name_and_settings(registry, picture, tmp_path):
    lab = lab_of(registry, "plain")
    (job,) = lab.jobs(sources([picture]))
    file = row_file(tmp_path)
    row = lab.measure(job)
    file.add(row)
    assert row_file(tmp_path).find(job.key) == row
    renamed = replace(job, source=replace(job.source, path=picture.with_name("other.png")))
    assert file.find(renamed.key) is None
