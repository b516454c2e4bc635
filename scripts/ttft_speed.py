"""Time tuning against the loop that was published for it; prints the figures of docs/ttft_measured.md.

    python scripts/ttft_speed.py step [--codec tic|lite]         seconds of a step
    python scripts/ttft_speed.py cost [--codec lite] IMAGE…      seconds until the cost of `paper` after 40 steps
    python scripts/ttft_speed.py batch [--codec lite] [--images 8]    images together against one by one

What is compared takes turns, round after round, and medians are printed. `--cpu` counts the process's own seconds, for
machines that do something else as well; set OMP_NUM_THREADS=1 OMP_WAIT_POLICY=PASSIVE there. `tic` has random weights
and is tuned for the features of a ResNet-50 with random weights, neither of which changes the time of a step; `lite`
for `cls`, with the weights of both.

The published loop (Park et al., CVPR 2025, and its code): features of the original anew at every step; the adapters'
updates as whole matrices, added to the weights before every forward pass and subtracted after it; explicit attention;
stochastic depth on, everything in 32 bits and in the layout of the framework's default.
"""

from __future__ import annotations

import argparse
import copy
import statistics
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from taskodec.adapters.lora import SVDLoRA, build_svd_lora
from taskodec.api.compressor import Compressor
from taskodec.codecs import swin
from taskodec.codecs.tic.codec import TIC
from taskodec.contracts import Codec, Task
from taskodec.images.tensors import load_image
from taskodec.plugins.networks.imagenet import PAPER_LMBDAS, ResNet
from taskodec.settings.model import load_settings
from taskodec.tasks.classification import Classification
from taskodec.tuning.ttft import Tuned, Tuner

QUALITY = 3.0
PHOTO = Path(__file__).parents[1] / "docs" / "images" / "kodim23.png"
DROP = 0.1
"""Stochastic depth of the last block; the first has none."""
PAPER_STEPS = 40

Clock = Callable[[], float]


class PublishedLoop:
    """Tuning of one image (1, 3, H, W) as it was published; `step` makes one step."""

    def __init__(self, codec: Codec, adapter: SVDLoRA, network: nn.Module, x: Tensor) -> None:
        self.codec, self.adapter, self.network, self.x = codec, copy.deepcopy(adapter), network, x
        for side in ("encoder", "decoder"):
            for name, branch in self.adapter.branches(side).items():  # type: ignore[arg-type]
                branch.requires_grad_(side == "encoder")
                branch.w_lora_S.requires_grad_()  # type: ignore[union-attr]
                layer = codec.get_submodule(name)
                layer.forward = _merging(layer, branch, self.adapter.scaling)
        blocks = [module for module in codec.modules() if isinstance(module, swin.SwinBlock)]
        for i, block in enumerate(blocks):
            for part in (block.attn, block.mlp):
                part.register_forward_hook(_stochastic(DROP * i / max(1, len(blocks) - 1)))
        self.optimizer = torch.optim.Adam([p for p in self.adapter.parameters() if p.requires_grad], lr=5e-3)

    def step(self) -> None:
        """References, forward pass, backward pass, optimiser."""
        with torch.no_grad():
            wanted = self.network.features(self.x)  # type: ignore[operator]
        with _explicit_attention():
            out = self.codec(self.x, QUALITY, "noise")
        bits = sum(-torch.log2(p).sum() for p in out.likelihoods.values())
        found = self.network.features(out.x_hat)  # type: ignore[operator]
        loss = torch.stack([F.mse_loss(a, b) for a, b in zip(found, wanted, strict=True)]).mean()
        self.optimizer.zero_grad()
        (3.3 * loss + bits / self.x[0, 0].numel()).backward()
        self.optimizer.step()


def _merging(layer: Any, branch: Any, scaling: float) -> Callable[[Tensor], Tensor]:
    """The layer's forward pass with the update in its weight, which is put back after it."""
    weight = layer.weight.detach()

    def forward(x: Tensor) -> Tensor:
        update = branch.update(branch.w_lora_S, scaling)
        merged = weight + update
        weight.add_(update.detach())
        if isinstance(layer, nn.Linear):
            out = F.linear(x, merged, layer.bias)
        elif isinstance(layer, nn.Conv2d):
            out = layer._conv_forward(x, merged, layer.bias)
        else:
            places = (layer.stride, layer.padding, layer.output_padding, 1, layer.dilation)
            out = F.conv_transpose2d(x, merged, layer.bias, *places)
        weight.sub_(update.detach())
        return out

    return forward


def _stochastic(drop: float) -> Callable[..., Tensor]:
    """A hook that leaves a branch out with this probability."""
    return lambda *args: args[2] * ((torch.rand(()) >= drop) / (1 - drop))


@contextmanager
def _explicit_attention() -> Iterator[None]:
    fused = swin._attend
    try:
        swin._attend = _attend
        yield
    finally:
        swin._attend = fused


def _attend(q: Tensor, k: Tensor, v: Tensor, bias: Tensor) -> Tensor:
    logits = (q * q.shape[-1] ** -0.5) @ k.transpose(-2, -1) + bias
    attended: Tensor = logits.softmax(-1) @ v
    return attended


def setting(name: str) -> tuple[Codec, SVDLoRA, Task]:
    """Codec, adapter and task to be tuned."""
    torch.manual_seed(0)
    if name == "tic":
        import torchvision

        network = ResNet(torchvision.models.resnet50(weights=None))
        codec: Codec = TIC(quality=QUALITY).eval()
        return codec, build_svd_lora(codec), Classification(network, "cls", lmbdas=PAPER_LMBDAS)
    made = Compressor(load_settings(overrides=["codec=lite", "task=cls", f"quality={QUALITY}"]))
    assert isinstance(made.adapter, SVDLoRA)
    return made.codec, made.adapter, made.task


def published(codec: Codec, adapter: SVDLoRA, task: Task, x: Tensor) -> PublishedLoop:
    """The published loop on copies of its own, in the default layout."""
    network = copy.deepcopy(task.network).to(memory_format=torch.contiguous_format)  # type: ignore[attr-defined]
    return PublishedLoop(copy.deepcopy(codec).requires_grad_(False), adapter, network, x)


def tuner(codec: Codec, adapter: SVDLoRA, task: Task, preset: str, *overrides: str) -> tuple[Tuner, Any]:
    """A tuner as the preset says, and its phases."""
    settings = load_settings(overrides=[f"ttft.preset={preset}", *overrides]).ttft
    return Tuner(codec, adapter, task, QUALITY, switches=settings), settings.phases


def seconds_a_step(clock: Clock, tuner: Tuner, phases: Any, xs: Sequence[Tensor]) -> float:
    """Seconds of a step for each image, with the looks between steps, without the streams at the ends."""
    times: list[float] = []
    tuner.tune_many(xs, phases, progress=lambda *_: times.append(clock()))
    return (times[-1] - times[len(xs) - 1]) / (len(times) - len(xs))


def take_turns(rounds: int, contestants: dict[str, Callable[[], float]]) -> dict[str, list[float]]:
    """What each measures in every round; the first round is not counted."""
    found: dict[str, list[float]] = {name: [] for name in contestants}
    for number in range(rounds + 1):
        for name, measure in contestants.items():
            value = measure()
            if number:
                found[name].append(value)
    return found


def show(found: dict[str, list[float]]) -> None:
    """Medians, and their ratios to the first one."""
    first = statistics.median(next(iter(found.values())))
    for name, values in found.items():
        median = statistics.median(values)
        print(
            f"{name:34} {median:8.4f} s  {median / first:6.3f}x  ({min(values):.4f} to {max(values):.4f})", flush=True
        )


def compare_steps(options: argparse.Namespace, clock: Clock) -> None:
    """Seconds of a step."""
    codec, adapter, task = setting(options.codec)
    x = photo(options.size)
    loop = published(codec, adapter, task, x)

    def faithful() -> float:
        start = clock()
        for _ in range(options.steps):
            loop.step()
        return (clock() - start) / options.steps

    contestants = {"published loop": faithful}
    steps = f"ttft.steps={options.steps + 1}"
    ways = {
        "paper, 32 bits": ("paper", "ttft.bf16=false"),
        "paper": ("paper",),
        "default, 32 bits": ("default", "ttft.bf16=false"),
        "default": ("default",),
        "default, checkpoint": ("default", "ttft.checkpoint=true"),
    }
    if options.compile:
        ways["default, compile"] = ("default", "ttft.compile=true")
    for name, (preset, *switches) in ways.items():
        if options.only and name not in options.only:
            continue
        own = copy.deepcopy(task) if "compile" in name else task
        made = _short(codec, adapter, own, preset, *switches, steps)
        contestants[name] = partial(seconds_a_step, clock, *made, [x])
    show(take_turns(options.rounds, contestants))


def _short(codec: Codec, adapter: SVDLoRA, task: Task, preset: str, *overrides: str) -> tuple[Tuner, Any]:
    """As `tuner`, for as many steps as `ttft.steps` says, without any search at the end."""
    from taskodec.tuning.phases import steps_of

    made, phases = tuner(codec, adapter, task, preset, "ttft.search=[]", *overrides)
    return made, steps_of(phases, made.switches.steps)


def compare_batches(options: argparse.Namespace, clock: Clock) -> None:
    """Seconds of a step for each image, one by one and together."""
    codec, adapter, task = setting(options.codec)
    x = photo(options.size)
    xs = [x.roll(16 * i, 3) for i in range(options.images)]
    contestants = {}
    for way, switch in (("32 bits", "ttft.bf16=false"), ("bf16", "ttft.bf16=true")):
        made = _short(codec, adapter, task, "default", switch, f"ttft.steps={options.steps + 1}")
        contestants[f"one by one, {way}"] = partial(seconds_a_step, clock, *made, [x])
        contestants[f"{options.images} together, {way}"] = partial(seconds_a_step, clock, *made, xs)
    show(take_turns(options.rounds, contestants))


def compare_costs(options: argparse.Namespace, clock: Clock) -> None:
    """For each image, the seconds of `default` in the fewest steps with which it is no dearer than `paper`."""
    codec, adapter, task = setting(options.codec)
    shares = []
    for path in options.inputs or [PHOTO]:
        x = photo(options.size, path)
        loop = published(codec, adapter, task, x)
        loop.step()
        start = clock()
        for _ in range(PAPER_STEPS):
            loop.step()
        spent = clock() - start
        made, phases = tuner(codec, adapter, task, "paper")
        wanted = made.tune(x, phases).best
        share, steps, tuned = _until(wanted.cost, codec, adapter, task, x, clock)
        shares.append(share / spent)
        print(
            f"{path.name}: paper {wanted.cost:.4f} in {spent:.2f} s (untuned {tuned.untuned.cost:.4f}); default "
            f"{tuned.best.cost:.4f} after {steps} steps, {share:.2f} s with its streams: {share / spent:.3f}x",
            flush=True,
        )
    print(f"median over {len(shares)} images: {statistics.median(shares):.3f}x")


def _until(
    cost: float, codec: Codec, adapter: SVDLoRA, task: Task, x: Tensor, clock: Clock
) -> tuple[float, int, Tuned]:
    for steps in (1, 2, 3, 4, 6, 8, 12, 16, 24, 32, 48, 64):
        made, phases = _short(codec, adapter, task, "default", f"ttft.steps={steps}")
        start = clock()
        tuned = made.tune(x, phases)
        spent = clock() - start
        if tuned.best.cost <= cost:
            break
    return spent, steps, tuned


def photo(size: int, path: Path = PHOTO) -> Tensor:
    """The middle of a picture, (1, 3, size, size)."""
    x = load_image(path).x
    top, left = (x.shape[2] - size) // 2, (x.shape[3] - size) // 2
    return x[:, :, top : top + size, left : left + size].clone()


def main() -> None:
    """As the arguments say."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=["step", "cost", "batch"])
    parser.add_argument("inputs", nargs="*", type=Path, metavar="IMAGE")
    parser.add_argument("--codec", choices=["tic", "lite"], default="lite")
    parser.add_argument("--size", type=int, default=256)
    parser.add_argument("--steps", type=int, default=5, help="in a round")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--images", type=int, default=8)
    parser.add_argument("--only", action="append", metavar="NAME", help="of step: a line to time; repeatable")
    parser.add_argument("--compile", action="store_true", help="time torch.compile too")
    parser.add_argument("--cpu", action="store_true")
    options = parser.parse_intermixed_args()
    clock = time.process_time if options.cpu else time.perf_counter
    {"step": compare_steps, "cost": compare_costs, "batch": compare_batches}[options.what](options, clock)


if __name__ == "__main__":
    main()
