"""Checkpoints of any origin are read as data, fit exactly, or are refused with the reason."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file
from torch import nn

from taskodec.codecs.checkpoints import load_state, load_tensors, read_checkpoint
from taskodec.coding.bottleneck import EntropyBottleneck
from taskodec.errors import WeightsError


class Small(nn.Module):
    def __init__(self, channels: int = 2) -> None:
        super().__init__()
        self.first = nn.Linear(3, channels)
        self.entropy_bottleneck = EntropyBottleneck(channels)


def small(seed: int) -> Small:
    torch.manual_seed(seed)
    return Small()


def equal(a: nn.Module, b: nn.Module) -> bool:
    return all(torch.equal(p, q) for p, q in zip(a.parameters(), b.parameters(), strict=True))


def old_names(module: Small, style: str) -> dict[str, torch.Tensor]:
    """The state dict in the names that CompressAI once had."""
    flat = {"matrices.": "_matrix", "biases.": "_bias", "factors.": "_factor"}

    def old_name(name: str) -> str:
        for new, old in flat.items():
            name = name.replace(new, old if style == "flat" else f"_{new}")
        return name

    return {old_name(name): value for name, value in module.state_dict().items()}


@pytest.mark.parametrize("style", ["flat", "lists"])
def test_old_names_of_the_prior_are_known(style: str) -> None:
    source, target = small(1), small(2)
    state = old_names(source, style)
    assert state.keys() != source.state_dict().keys()
    load_tensors(target, state, "old")
    assert equal(source, target)


@pytest.mark.compressai
def test_new_names_are_turned_into_old_ones_where_these_are_in_use() -> None:
    from compressai.entropy_models import EntropyBottleneckVbr

    new, old = (
        nn.ModuleDict({"entropy_bottleneck": EntropyBottleneck(2)}),
        nn.ModuleDict({"entropy_bottleneck": EntropyBottleneckVbr(2)}),
    )
    load_tensors(old, {n: v for n, v in new.state_dict().items() if "bound" not in n}, "new")
    assert torch.equal(old["entropy_bottleneck"]._bias0, new["entropy_bottleneck"].biases[0])


@pytest.mark.parametrize("wrapped", [True, False])
def test_wrapping_and_prefixes_are_taken_off(wrapped: bool, tmp_path: Path) -> None:
    source, target = small(1), small(2)
    state = {f"module.{name}": value for name, value in source.state_dict().items()}
    torch.save({"state_dict": state, "epoch": 7} if wrapped else state, tmp_path / "c.pth.tar")
    load_state(target, tmp_path / "c.pth.tar")
    assert equal(source, target)


def test_a_version_that_is_not_known_is_refused(tmp_path: Path) -> None:
    state = dict(small(1).named_parameters())
    for version, newest, known in (("pt", 1, True), ("1", 1, True), ("2", 1, False), ("2", 2, True), ("3", 2, False)):
        save_file(
            {name: value.detach() for name, value in state.items()},
            path := tmp_path / "w.safetensors",
            {"format": version},
        )
        module = small(2)
        module.weights_format = newest
        if known:
            load_state(module, path)
            continue
        with pytest.raises(WeightsError, match=f"format '{version}', this version of taskodec reads up to {newest}"):
            load_state(module, path)
        assert equal(module, small(2))


def test_safetensors_with_parameters_alone_are_enough(tmp_path: Path) -> None:
    source, target = small(1), small(2)
    save_file({n: p.detach() for n, p in source.named_parameters()}, tmp_path / "c.safetensors")
    load_state(target, tmp_path / "c.safetensors")
    assert equal(source, target)


def test_coding_tables_of_any_size_are_ignored() -> None:
    source, target = small(1), small(2)
    caches = {"_quantized_cdf": torch.ones(2, 40), "_offset": torch.ones(2), "_cdf_length": torch.ones(2)}
    caches |= {"target": torch.ones(3), "likelihood_lower_bound.bound": torch.ones(1)}
    state = source.state_dict() | {f"entropy_bottleneck.{name}": value for name, value in caches.items()}
    load_tensors(target, state | {"gaussian_conditional.scale_table": torch.ones(64)}, "updated")
    assert equal(source, target)


def test_leftovers_are_dropped_and_adapters_split_off(tmp_path: Path) -> None:
    factors = {"U": torch.ones(2, 1), "S": torch.ones(1), "V": torch.ones(3, 1)}
    state = small(1).state_dict()
    state |= {f"module.first.w_lora_{part}": value for part, value in factors.items()}
    state["first.prompt_embeddings"] = torch.zeros(3)
    state["blocks.0.attn.relative_position_index"] = torch.zeros(3)
    torch.save(state, tmp_path / "c.pth")
    checkpoint = load_state(small(2), tmp_path / "c.pth")
    assert checkpoint.adapter.keys() == {"first"}
    assert all(torch.equal(checkpoint.adapter["first"][part], value) for part, value in factors.items())
    assert not any("lora" in name or "prompt" in name or "index" in name for name in checkpoint.state)


def test_names_are_translated_after_the_prefix(tmp_path: Path) -> None:
    torch.save({"module.old": torch.ones(1)}, tmp_path / "c.pth")
    assert read_checkpoint(tmp_path / "c.pth", {"old": "new"}.__getitem__).state.keys() == {"new"}


def test_what_does_not_fit_is_named_and_nothing_changes() -> None:
    target, before = small(2), small(2)
    state = small(1).state_dict()
    del state["first.weight"]
    state["second.weight"] = torch.zeros(1)
    state["first.bias"] = torch.zeros(5)
    with pytest.raises(
        WeightsError,
        match=r"here does not fit Small: missing first\.weight; unexpected second\.weight; "
        r"first\.bias: found shape \(5,\), expected \(2,\)",
    ):
        load_tensors(target, state, "here")
    assert equal(target, before)


def test_values_that_are_not_finite_are_refused() -> None:
    state = small(1).state_dict()
    state["first.bias"] = torch.tensor([0.0, float("nan")])
    with pytest.raises(WeightsError, match=r"first\.bias: holds values that are not finite"):
        load_tensors(small(2), state, "here")


class Trap:
    def __reduce__(self) -> tuple[object, tuple[str]]:
        return os.mkdir, ("trap",)


def test_a_pickle_that_runs_code_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    torch.save({"weight": Trap()}, tmp_path / "c.pth")
    with pytest.raises(WeightsError, match="cannot be read as a checkpoint"):
        read_checkpoint(tmp_path / "c.pth")
    assert not (tmp_path / "trap").exists()


@pytest.mark.parametrize("name", ["c.pth", "c.safetensors"])
@pytest.mark.parametrize("content", [b"", b"no checkpoint at all", b"PK\x03\x04 cut off"])
def test_other_files_are_refused(name: str, content: bytes, tmp_path: Path) -> None:
    (tmp_path / name).write_bytes(content)
    with pytest.raises(WeightsError, match=f"{name} cannot be read as a checkpoint"):
        read_checkpoint(tmp_path / name)


def test_missing_files_are_named(tmp_path: Path) -> None:
    with pytest.raises(WeightsError, match=r"no checkpoint file .*absent\.pth"):
        read_checkpoint(tmp_path / "absent.pth")


@pytest.mark.parametrize("content", [{}, {"epoch": 3}, [torch.zeros(1)], torch.zeros(1)])
def test_files_without_weights_are_refused(content: object, tmp_path: Path) -> None:
    torch.save(content, tmp_path / "c.pth")
    with pytest.raises(WeightsError, match="holds no dictionary of tensors"):
        read_checkpoint(tmp_path / "c.pth")
