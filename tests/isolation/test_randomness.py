import threading

import pytest
import torch

from taskodec.isolation.randomness import Noise, reproducible, seeded, uniform_like


def drawing(x_hat, x):
    """A loss on random pixels, from the process's own generator."""
    return ((x_hat - 0.8 * x).square() * (torch.rand(x.shape[-2:]) < 0.5)).mean()


FAST = "ttft.phases=[{train: [latents], steps: 4, lr_latents: 2, rounding: noise}]"


def test_a_loss_that_draws_is_reproducible_and_leaves_the_callers_numbers_alone(make_compressor, pieces):
    phases = FAST.replace("noise", "ste")
    tuned = make_compressor(phases, task=drawing)
    torch.manual_seed(5)
    expected = torch.rand(3)
    torch.manual_seed(5)
    first = tuned.compress(pieces[0]).stream
    assert torch.equal(torch.rand(3), expected)
    torch.manual_seed(6)
    assert tuned.compress(pieces[0]).stream == first
    assert make_compressor(phases, "ttft.seed=1", task=drawing).compress(pieces[0]).stream != first


def test_another_seed_is_other_noise(make_compressor, pieces):
    streams = [make_compressor(FAST, f"ttft.seed={seed}").compress(pieces[0]).stream for seed in (0, 0, 1, 2**40)]
    assert streams[0] == streams[1]
    assert len(set(streams)) == 3


def test_a_loss_that_seeds_for_itself_is_one_that_draws():
    noise = Noise(0)
    before = torch.get_rng_state()
    with noise.used():
        for _ in range(2):
            with reproducible("loss", torch.device("cpu")):
                torch.manual_seed(0)
    assert noise.draws == {"loss": True}
    assert torch.equal(torch.get_rng_state(), before)


def test_what_never_draws_need_not_wait_for_what_does():
    noise, entered = Noise(3), threading.Event()
    with noise.used(), reproducible("still", torch.device("cpu")):
        pass

    def still():
        with noise.used(), reproducible("still", torch.device("cpu")):
            entered.set()

    with seeded(0):
        thread = threading.Thread(target=still)
        thread.start()
        assert entered.wait(20)
    thread.join()


@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last])
def test_noise_of_a_seed_is_that_of_torch_with_this_seed(layout):
    v = torch.empty(2, 5, 6, 7).contiguous(memory_format=layout)
    with torch.random.fork_rng([]), Noise(11).used():
        torch.manual_seed(11)
        for part in (v, v[:1], v[..., ::2]):
            assert torch.equal(uniform_like(part), torch.rand_like(part))


def test_noise_is_of_its_own_thread_alone():
    v, found, met = torch.empty(1000), {}, threading.Barrier(4)

    def draw(seed):
        with Noise(seed).used():
            met.wait(20)
            found[seed] = torch.cat([uniform_like(v) for _ in range(20)])

    threads = [threading.Thread(target=draw, args=(seed,)) for seed in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for seed, numbers in found.items():
        assert torch.equal(numbers, torch.rand(20000, generator=torch.Generator().manual_seed(seed)))
