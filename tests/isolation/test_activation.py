import asyncio
import threading
from concurrent.futures import ThreadPoolExecutor

import pytest
import torch

from taskodec.adapters.lora import build_svd_lora
from taskodec.errors import UsageError
from taskodec.isolation.activation import active, inactive


def test_an_adapter_acts_in_its_own_thread_alone(tiny_codec, photo):
    adapter = build_svd_lora(tiny_codec).requires_grad_(False)
    with torch.no_grad():
        y_hat = tiny_codec.analysis(photo, 2.0).y
        plain = tiny_codec.synthesis(y_hat, 2.0)

    @torch.no_grad()
    def decoded(delta):
        if delta is None:
            return tiny_codec.synthesis(y_hat, 2.0)
        with adapter.applied(tiny_codec):
            adapter.set_delta(torch.full((sum(adapter.delta_groups),), delta))
            met.wait(20)
            return tiny_codec.synthesis(y_hat, 2.0)

    met = threading.Barrier(2)
    with ThreadPoolExecutor(2) as pool:
        one, other = pool.map(decoded, (0.5, -0.5))
    assert not torch.equal(one, other)
    met = threading.Barrier(1)
    assert torch.equal(decoded(0.5), one)
    assert torch.equal(decoded(-0.5), other)
    assert torch.equal(decoded(None), plain)


def test_tasks_of_a_loop_that_wait_for_each_other_keep_their_adapters(tiny_codec, photo):
    adapter = build_svd_lora(tiny_codec).requires_grad_(False)

    async def decoded(delta):
        with adapter.applied(tiny_codec):
            adapter.set_delta(torch.full((sum(adapter.delta_groups),), delta))
            await asyncio.sleep(0)
            with torch.no_grad():
                return tiny_codec.synthesis(tiny_codec.analysis(photo, 2.0).y, 2.0)

    async def both():
        return await asyncio.gather(decoded(0.5), decoded(-0.5))

    found = asyncio.run(both())
    assert not torch.equal(*found)
    assert all(torch.equal(one, asyncio.run(decoded(d))) for one, d in zip(found, (0.5, -0.5), strict=True))


def test_branches_of_a_layer_act_one_after_the_other_and_one_block_at_a_time():
    layer, x = torch.nn.Linear(2, 2), torch.ones(1, 2)

    def times(factor):
        return lambda layer, args, kwargs, output: factor * output

    plain = layer(x)
    with active([(layer, times(2)), (layer, times(3))]):
        assert torch.equal(layer(x), 6 * plain)
        assert torch.equal(layer(input=x), 6 * plain)
        with pytest.raises(UsageError, match="in use"), active([(layer, times(5))]):
            pass
        with inactive():
            assert torch.equal(layer(x), plain)
    assert torch.equal(layer(x), plain)
