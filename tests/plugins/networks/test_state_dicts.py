import pickle
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from torch import nn

from taskodec.errors import WeightsError
from taskodec.plugins.networks.state_dicts import put_weights, read_pickle, read_weights

STATE = {"weight": torch.ones(2, 3), "bias": torch.zeros(2)}


def test_a_file_may_be_of_torch_or_of_safetensors(tmp_path):
    torch.save({"state_dict": {f"module.{name}": value for name, value in STATE.items()}}, tmp_path / "a.pth")
    save_file(STATE, tmp_path / "a.safetensors")
    for name in ("a.pth", "a.safetensors"):
        model = nn.Linear(3, 2)
        put_weights(model, read_weights(tmp_path / name), tmp_path / name)
        assert torch.equal(model.weight, STATE["weight"])


def test_weights_that_cannot_be_used_name_the_file(tmp_path):
    (tmp_path / "noise.pth").write_bytes(b"not weights at all")
    torch.save([1, 2], tmp_path / "list.pth")
    for name, message in (
        ("noise.pth", "cannot be read"),
        ("list.pth", "holds no state dict"),
        ("none.pth", "no such"),
    ):
        with pytest.raises(WeightsError, match=message) as caught:
            read_weights(tmp_path / name)
        assert name in str(caught.value)
    with pytest.raises(WeightsError, match=r"(?s)a\.pth does not fit Linear: .*size mismatch"):
        put_weights(nn.Linear(4, 2), STATE, tmp_path / "a.pth")


@pytest.mark.parametrize("protocol", [2, pickle.HIGHEST_PROTOCOL])
def test_a_pickle_of_arrays_is_read(tmp_path, protocol):
    content = {"model": {"a": np.arange(6, dtype=np.float32).reshape(2, 3)}, "count": np.int64(3), "name": "x"}
    (tmp_path / "a.pkl").write_bytes(pickle.dumps(content, protocol))
    found = read_pickle(tmp_path / "a.pkl")
    assert np.array_equal(found["model"]["a"], content["model"]["a"])
    assert (found["count"], found["name"]) == (3, "x")


def test_a_pickle_that_runs_something_does_not(tmp_path):
    class Touch:
        def __reduce__(self):
            return Path.touch, (tmp_path / "touched",)

    (tmp_path / "bad.pkl").write_bytes(pickle.dumps({"model": Touch()}))
    with pytest.raises(WeightsError, match=r"bad\.pkl cannot be read as arrays: .*Path\.touch, which is no data"):
        read_pickle(tmp_path / "bad.pkl")
    assert not (tmp_path / "touched").exists()
    (tmp_path / "noise.pkl").write_bytes(b"no pickle")
    for name, message in (("noise.pkl", "cannot be read as arrays"), ("none.pkl", "no such weights file")):
        with pytest.raises(WeightsError, match=message):
            read_pickle(tmp_path / name)
