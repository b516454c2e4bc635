import pytest
import torch
from safetensors.torch import save_file
from torch import nn

from taskodec.errors import WeightsError
from taskodec.plugins.state_dicts import put_weights, read_weights

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
    for name, message in (("noise.pth", "cannot be read"), ("list.pth", "holds a list"), ("none.pth", "no such")):
        with pytest.raises(WeightsError, match=message) as caught:
            read_weights(tmp_path / name)
        assert name in str(caught.value)
    with pytest.raises(WeightsError, match=r"(?s)a\.pth does not fit Linear: .*size mismatch"):
        put_weights(nn.Linear(4, 2), STATE, tmp_path / "a.pth")
