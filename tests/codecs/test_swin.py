"""Window attention: masks, padding, any size, tracing."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from taskodec.codecs.swin import RSTB, SwinBlock


def make_block(shift: int, window: int = 4, seed: int = 0) -> SwinBlock:
    torch.manual_seed(seed)
    block = SwinBlock(8, 2, window, shift).eval()
    nn.init.normal_(block.attn.relative_position_bias_table)
    return block


def attention_by_hand(block: SwinBlock, x: Tensor) -> Tensor:
    """Attention of every position over those that share its window and its stripe, one position at a time."""
    _, height, width, dim = x.shape
    w, s, heads = block.window, block.shift, block.attn.heads
    q, k, v = block.attn.qkv(x[0]).reshape(height, width, 3, heads, dim // heads).unbind(2)
    out = torch.zeros(height, width, dim)
    padded = (height + -height % w, width + -width % w)

    def window_and_region(i: int, size: int, n: int) -> tuple[int, int]:
        j = (i - s) % n  # where the shift puts this position
        return j // w, (j >= n - w) + (j >= n - s)

    def key(i: int, j: int) -> tuple[tuple[int, int], tuple[int, int]]:
        return window_and_region(i, height, padded[0]), window_and_region(j, width, padded[1])

    for i in range(height):
        for j in range(width):
            near = [(a, b) for a in range(height) for b in range(width) if key(a, b) == key(i, j)]
            rows = [
                ((i - a) + w - 1) * (2 * w - 1) + ((j - b) + w - 1) for a, b in near
            ]  # no window wraps round inside one region, so plain differences are right
            bias = block.attn.relative_position_bias_table[rows]  # (n, heads)
            logits = torch.stack([(q[i, j] * k[a, b]).sum(-1) for a, b in near]) * (dim // heads) ** -0.5 + bias
            weights = logits.softmax(0)  # (n, heads)
            values = torch.stack([v[a, b] for a, b in near])  # (n, heads, d)
            out[i, j] = (weights.unsqueeze(-1) * values).sum(0).flatten()
    return block.attn.proj(out).unsqueeze(0)


@pytest.mark.parametrize("shift", [0, 2, 1])
@pytest.mark.parametrize("size", [(8, 8), (4, 4), (7, 9), (3, 5), (1, 1)])
@torch.no_grad()
def test_attention_is_that_of_every_positions_own_window(shift: int, size: tuple[int, int]) -> None:
    block = make_block(shift)
    x = torch.randn(1, *size, 8)
    torch.testing.assert_close(block._attention(x), attention_by_hand(block, x), atol=1e-5, rtol=1e-5)


@torch.no_grad()
def test_padding_reaches_no_real_position() -> None:
    block = make_block(shift=2)
    x = torch.randn(1, 8, 6, 10)
    before = block(x)

    def fill_padding(module: nn.Module, args: tuple[Tensor]) -> tuple[Tensor]:
        empty = (args[0] == 0).all(-1, keepdim=True)
        assert empty.any()
        return (torch.where(empty, 5.0, args[0]),)

    block.attn.qkv.register_forward_pre_hook(fill_padding)
    torch.testing.assert_close(block(x), before)


def test_samples_of_a_batch_do_not_mix() -> None:
    block = make_block(shift=2)
    x = torch.randn(3, 8, 8, 12)
    with torch.no_grad():
        alone = torch.cat([block(sample[None]) for sample in x])
        torch.testing.assert_close(block(x), alone)


def test_fused_and_explicit_attention_agree() -> None:
    block = make_block(shift=2)
    x = torch.randn(2, 8, 8, 8)
    with torch.no_grad():
        fused = block(x)
    torch.testing.assert_close(block(x), fused, atol=1e-5, rtol=1e-5)


def test_every_parameter_gets_a_gradient() -> None:
    group = RSTB(8, 2, 2, 4)
    group(torch.randn(1, 8, 7, 9)).square().sum().backward()
    assert all(p.grad is not None and p.grad.abs().sum() > 0 for n, p in group.named_parameters() if "norm1" not in n)


def test_only_odd_blocks_shift_and_only_if_asked() -> None:
    assert [block.shift for block in RSTB(8, 4, 2, 8).blocks] == [0, 4, 0, 4]
    assert [block.shift for block in RSTB(8, 4, 2, 8, shift=False).blocks] == [0, 0, 0, 0]


def test_group_is_its_input_plus_its_blocks() -> None:
    group = RSTB(8, 2, 2, 4).eval()
    x = torch.randn(1, 8, 8, 8)
    with torch.no_grad():
        torch.testing.assert_close(group(x), x + group.blocks[1](group.blocks[0](x)))


def test_projections_are_called_as_modules() -> None:
    block = make_block(shift=2)
    called: list[nn.Module] = []
    for module in (block.attn.qkv, block.attn.proj):
        module.register_forward_hook(lambda m, args, out: called.append(m))
    block(torch.randn(1, 8, 4, 4))
    assert called == [block.attn.qkv, block.attn.proj]


def test_output_keeps_channels_last() -> None:
    x = torch.randn(1, 8, 8, 8).to(memory_format=torch.channels_last)
    assert RSTB(8, 2, 2, 4)(x).is_contiguous(memory_format=torch.channels_last)


class Wrapper(nn.Module):
    def __init__(self, group: RSTB) -> None:
        super().__init__()
        self.group = group

    def forward(self, x: Tensor) -> Tensor:
        return F.relu(self.group(x))


def test_a_graph_traced_at_one_size_is_right_at_others() -> None:
    net = Wrapper(RSTB(8, 2, 2, 4)).eval()
    sizes = {2: torch.export.Dim("h", min=1, max=512), 3: torch.export.Dim("w", min=1, max=512)}
    program = torch.export.export(
        net, (torch.randn(1, 8, 12, 10),), dynamic_shapes=(sizes,), prefer_deferred_runtime_asserts_over_guards=True
    )
    graph = program.module(check_guards=False)
    # ONNX has no assertions, and the tracer's ones also refuse sizes that the graph serves well.
    for node in graph.graph.find_nodes(op="call_function", target=torch.ops.aten._assert_scalar.default):
        graph.graph.erase_node(node)
    graph.recompile()
    with torch.no_grad():
        for size in [(12, 10), (8, 8), (5, 17), (4, 4), (1, 3)]:
            x = torch.randn(1, 8, *size)
            torch.testing.assert_close(graph(x), net(x), atol=1e-5, rtol=1e-5)


def test_impossible_arguments_are_refused() -> None:
    with pytest.raises(ValueError, match="multiple of the number of heads"):
        SwinBlock(10, 3)
    with pytest.raises(ValueError, match="shift 8"):
        SwinBlock(8, 2, window=8, shift=8)


@torch.no_grad()
def test_norms_are_given_rows_whatever_the_layout_is() -> None:
    """A norm copies what does not lie in rows, and what is added to that does not either: half of a block's copies."""
    torch.manual_seed(0)
    group, seen = RSTB(8, 2, 2, 4), []
    for module in group.modules():
        if isinstance(module, nn.LayerNorm):
            module.register_forward_pre_hook(lambda _, given: seen.append(given[0].is_contiguous()))
    x = torch.randn(2, 8, 8, 12)
    out = group(x)
    assert seen == [True] * 4
    assert torch.equal(group(x.contiguous(memory_format=torch.channels_last)), out)
