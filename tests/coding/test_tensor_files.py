import io
import json
import zipfile

import pytest
import torch
from safetensors.torch import save_file
from torch import nn

from taskodec.codecs.checkpoints import load_state, read_checkpoint
from taskodec.coding.tensor_files import load_torch, read_tensors, tensor_problem
from taskodec.errors import WeightsError
from taskodec.plugins.networks.state_dicts import put_weights, read_weights

STATE = {"weight": torch.ones(2, 3), "bias": torch.zeros(2)}
REAL = torch.ones(2, 3)


def saved(tmp_path, content, name="a.pth"):
    torch.save(content, tmp_path / name)
    return tmp_path / name


def quantised():
    return torch.quantize_per_tensor(REAL, 0.1, 0, torch.qint8)


def test_both_kinds_of_files_are_read(tmp_path):
    save_file(STATE, tmp_path / "a.safetensors")
    for path in (
        tmp_path / "a.safetensors",
        saved(tmp_path, STATE),
        saved(tmp_path, {"state_dict": STATE, "epoch": 7}, "b.pth"),
        saved(tmp_path, {name: nn.Parameter(value) for name, value in STATE.items()}, "c.pth"),
    ):
        found = read_tensors(path)
        assert found.keys() == STATE.keys()
        assert all(torch.equal(found[name], STATE[name]) for name in STATE)


def test_a_stream_of_bytes_is_read_too(tmp_path):
    data = io.BytesIO(saved(tmp_path, STATE).read_bytes())
    assert torch.equal(read_tensors(data)["weight"], STATE["weight"])


@pytest.mark.filterwarnings("ignore")  # torch's own, of quantised tensors
@pytest.mark.parametrize(
    ("content", "words"),
    [
        ([1, 2], r"it holds \[1, 2\]"),
        ({}, "it holds {}"),
        (None, "it holds None"),
        ({"a": REAL, "b": 5}, "it holds 5 as 'b'"),
        ({"a": {"b": REAL}}, "as 'a'"),
        ({5: REAL}, "as 5"),
        ({"a": REAL.to_sparse()}, "'a' is sparse, quantised"),
        ({"a": "quantised"}, "'a' is sparse, quantised"),
        ({"a": torch.zeros(1).expand(2**30, 2**10)}, "'a' has 1099511627776 values, which are not in the file"),
        ({"a": torch.zeros(2, 2, device="meta")}, "not in the file"),
    ],
)
def test_what_is_no_dictionary_of_tensors(tmp_path, content, words):
    if content == {"a": "quantised"}:
        content = {"a": quantised()}
    path = saved(tmp_path, content)
    with pytest.raises(ValueError, match=words):
        read_tensors(path)
    for read in (read_checkpoint, read_weights):
        with pytest.raises(WeightsError, match=rf"a\.pth holds no .*{words}"):
            read(path)


def test_an_archive_that_expands_to_far_more_is_not_unpacked(tmp_path):
    path = saved(tmp_path, STATE)
    with zipfile.ZipFile(path) as old, zipfile.ZipFile(tmp_path / "bomb.pth", "w", zipfile.ZIP_DEFLATED) as new:
        for info in old.infolist():
            new.writestr(info.filename, b"\0" * 10**8 if info.filename.endswith("data/0") else old.read(info))
    with pytest.raises(ValueError, match="expand to far more"):
        load_torch(tmp_path / "bomb.pth")
    with pytest.raises(WeightsError, match="expand to far more"):
        read_checkpoint(tmp_path / "bomb.pth")


def test_a_head_that_claims_more_than_the_file_has(tmp_path):
    save_file(STATE, tmp_path / "a.safetensors")
    data = (tmp_path / "a.safetensors").read_bytes()
    length = int.from_bytes(data[:8], "little")
    head = json.loads(data[8 : 8 + length])
    head["weight"] = {"dtype": "F32", "shape": [2**40, 2**40], "data_offsets": [0, 2**60]}
    text = json.dumps(head).encode()
    for claimed in (len(text), 2**63 - 1):
        (tmp_path / "b.safetensors").write_bytes(claimed.to_bytes(8, "little") + text + data[8 + length :])
        for read in (read_checkpoint, read_weights):
            with pytest.raises(WeightsError, match=r"b\.safetensors cannot be read"):
                read(tmp_path / "b.safetensors")


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize(
    ("value", "problem"),
    [
        (REAL, None),
        (REAL.double(), None),
        (REAL.bfloat16(), None),
        (REAL.to(torch.float8_e4m3fn), "found torch.float8_e4m3fn, expected torch.float32"),
        (REAL.to(torch.complex64), "found torch.complex64, expected torch.float32"),
        (REAL.int(), "found torch.int32, expected torch.float32"),
        (REAL.bool(), "found torch.bool, expected torch.float32"),
        (REAL[:1], "found shape (1, 3), expected (2, 3)"),
        (REAL.to_sparse(), "is not a plain tensor"),
        ("quantised", "is not a plain tensor"),
        (torch.zeros(2, 3, device="meta"), "is not a plain tensor"),
        (REAL * float("nan"), "holds values that are not finite"),
        (5, "found 5, expected a tensor"),
        ([REAL], "expected a tensor"),
    ],
)
def test_what_can_become_a_weight(value, problem):
    found = tensor_problem(quantised() if isinstance(value, str) else value, torch.zeros(2, 3))
    assert found == problem or (problem is not None and problem in found)


def test_whole_numbers_stay_whole():
    assert tensor_problem(torch.ones(2, dtype=torch.int32), torch.zeros(2, dtype=torch.int64)) is None
    assert "expected torch.int64" in tensor_problem(torch.ones(2), torch.zeros(2, dtype=torch.int64))


@pytest.mark.parametrize("change", [torch.Tensor.int, lambda v: v.to(torch.complex64), lambda v: v * float("inf")])
def test_networks_are_left_as_they_were(tmp_path, change):
    path = saved(tmp_path, {**STATE, "weight": change(STATE["weight"])})
    model = nn.Linear(3, 2)
    before = model.weight.clone()
    with pytest.raises(WeightsError, match=r"a\.pth does not fit Linear: weight"):
        put_weights(model, read_weights(path), path)
    with pytest.raises(WeightsError, match=r"a\.pth does not fit Linear: weight"):
        load_state(model, path)
    assert torch.equal(model.weight, before)
