"""Training of a variable-rate codec: resumable to the step, on the CPU or a GPU.

Every random number of a step comes from (seed, step), so that a resumed run continues as if it had never
stopped. All quality levels are mixed in each batch.
"""

from __future__ import annotations

import io
import json
import math
import time
from collections.abc import Callable, Iterator, Sequence
from fnmatch import fnmatch
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from taskodec.contracts import Codec, total_bits
from taskodec.datasets import CropDataset, list_images
from taskodec.errors import UsageError, WeightsError
from taskodec.files import write_atomic
from taskodec.images import crop_to, load_image, pad_to
from taskodec.metrics import psnr
from taskodec.weights import fill, lasting_state, save_weights

if TYPE_CHECKING:
    from taskodec.settings import TrainSettings

__all__ = ["rd_loss", "train", "validate"]

Progress = Callable[[int, int, dict[str, float]], None]


def rd_loss(codec: Codec, x: Tensor, quality: Tensor) -> tuple[Tensor, dict[str, Tensor]]:
    """Rate-distortion loss of a batch with one quality per sample, and its parts (B,).

    Each sample's `lmbda * 255**2 * mse + bpp` is divided by sqrt(lmbda), which is about how it grows over
    the rate range, so that no level dominates the gradient.
    """
    output = codec(x, quality, "mixed")
    mse = (output.x_hat.float() - x).square().flatten(1).mean(1)
    bpp = total_bits(output.likelihoods) / (x.shape[2] * x.shape[3])
    lmbda = torch.tensor([codec.lmbda(float(q)) for q in quality], device=x.device)
    middle = codec.lmbda((codec.qualities[0] + codec.qualities[-1]) / 2)
    cost = lmbda * 255**2 * mse + bpp
    return (cost * (middle / lmbda).sqrt()).mean(), {"mse": mse.detach(), "bpp": bpp.detach()}


@torch.no_grad()
def validate(codec: Codec, paths: Sequence[Path], qualities: Sequence[float]) -> list[dict[str, float]]:
    """Estimated rate and PSNR of whole images at each quality, means over the images."""
    device = next(codec.parameters()).device
    points = []
    for quality in qualities:
        bpp, fidelity = [], []
        for path in paths:
            x = load_image(path).x.to(device)
            height, width = x.shape[2:]
            output = codec(pad_to(x, codec.stride), quality, "hard")
            x_hat = crop_to(output.x_hat, height, width).clamp(0, 1)
            bpp.append(float(total_bits(output.likelihoods)) / (height * width))
            fidelity.append(psnr(x_hat, x))
        points.append({"quality": quality, "bpp": sum(bpp) / len(bpp), "psnr": sum(fidelity) / len(fidelity)})
    return points


class _Run:
    """The state of a run: what a checkpoint holds."""

    def __init__(self, codec: Codec, settings: TrainSettings, out: Path) -> None:
        self.codec, self.settings, self.out = codec, settings, out
        aux = [p for n, p in codec.named_parameters() if n.endswith("quantiles")]
        rest = [p for n, p in codec.named_parameters() if p.requires_grad and not n.endswith("quantiles")]
        self.parameters = rest
        self.optimizer = torch.optim.Adam(parameter_groups(codec, settings), lr=settings.lr)
        self.aux_optimizer = torch.optim.Adam(aux, lr=1e-3) if aux else None
        self.ema: dict[str, Tensor] = {}
        self.start_average()
        self.step = 0
        self.seconds = 0.0

    def start_average(self) -> None:
        """Let the moving average begin at the weights as they are."""
        lasting = lasting_state(self.codec)
        self.ema = {n: v.detach().clone() for n, v in lasting.items() if v.is_floating_point()}

    def save(self) -> None:
        state = {
            "step": self.step,
            "seconds": self.seconds,
            "codec": self.codec.state_dict(),
            "ema": self.ema,
            "optimizer": self.optimizer.state_dict(),
            "aux_optimizer": self.aux_optimizer.state_dict() if self.aux_optimizer else {},
        }
        content = io.BytesIO()
        torch.save(state, content)
        write_atomic(self.out / "checkpoint.pt", content.getvalue())
        save_weights(self.codec, self.ema, self.out / "weights.safetensors", {"step": str(self.step)})

    def load(self) -> None:
        path = self.out / "checkpoint.pt"
        if not path.exists():
            raise WeightsError(f"nothing to resume: {path} does not exist; start without --resume")
        try:
            state = torch.load(path, map_location="cpu", weights_only=True)
            fill(self.codec, state["codec"], str(path))
            averaged = state["ema"]
            self.ema = {n: averaged[n].to(v.device) for n, v in self.ema.items() if n in averaged}
            self.optimizer.load_state_dict(state["optimizer"])
            if self.aux_optimizer:
                self.aux_optimizer.load_state_dict(state["aux_optimizer"])
            self.step, self.seconds = state["step"], state["seconds"]
        except WeightsError:
            raise
        except Exception as error:  # a damaged or foreign file can raise nearly anything
            raise WeightsError(
                f"{path} is no checkpoint of a run like this one ({type(error).__name__}: "
                f"{str(error).partition(chr(10))[0]}); resume with the codec and the train.lr_scales it began with, "
                "or start anew in another folder"
            ) from error

    def advance(self, x: Tensor, quality: Tensor) -> dict[str, float]:
        """One optimiser step."""
        settings = self.settings
        for group in self.optimizer.param_groups:
            group["lr"] = learning_rate(self.step, settings) * group["scale"]
        bf16 = settings.bf16 and not is_late(self.step, settings)
        with torch.autocast(x.device.type, dtype=torch.bfloat16, enabled=bf16):
            loss, parts = rd_loss(self.codec, x, quality)
        self.optimizer.zero_grad(set_to_none=True)
        loss.backward()  # type: ignore[no-untyped-call]
        norm = nn.utils.clip_grad_norm_(self.parameters, settings.clip)
        if torch.isfinite(norm):  # one bad batch must not end a run of hours
            self.optimizer.step()
        if self.aux_optimizer:
            self.aux_optimizer.zero_grad(set_to_none=True)
            self.codec.aux_loss().backward()  # type: ignore[no-untyped-call]
            self.aux_optimizer.step()
        self._average()
        self.step += 1
        psnr = float((-10 * parts["mse"].clamp_min(1e-10).log10()).mean())
        return {"loss": float(loss.detach()), "bpp": float(parts["bpp"].mean()), "psnr": psnr, "norm": float(norm)}

    @torch.no_grad()
    def _average(self) -> None:
        decay = min(self.settings.ema, (1 + self.step) / (10 + self.step))
        for name, value in self.codec.state_dict().items():
            if name in self.ema:
                self.ema[name].lerp_(value, 1 - decay)


def parameter_groups(codec: Codec, settings: TrainSettings) -> list[dict[str, Any]]:
    """Parameters by learning-rate factor: `lr_scales` maps glob patterns of names to factors, the first match wins."""
    groups: dict[float, list[nn.Parameter]] = {}
    for name, parameter in codec.named_parameters():
        if parameter.requires_grad and not name.endswith("quantiles"):
            scale = next((f for pattern, f in settings.lr_scales.items() if fnmatch(name, pattern)), 1.0)
            groups.setdefault(scale, []).append(parameter)
    return [{"params": parameters, "scale": scale} for scale, parameters in groups.items()]


def is_late(step: int, settings: TrainSettings) -> bool:
    """Whether this step belongs to the last part: larger crops, full precision."""
    return step >= settings.steps * (1 - settings.late_share)


def learning_rate(step: int, settings: TrainSettings) -> float:
    """Linear warm-up over the first hundredth, then a cosine down to `final_lr`."""
    warmup = max(1, settings.steps // 100)
    if step < warmup:
        return settings.lr * (step + 1) / warmup
    share = min(1.0, (step - warmup) / max(1, settings.steps - warmup))
    return settings.final_lr + (settings.lr - settings.final_lr) * 0.5 * (1 + math.cos(math.pi * share))


def largest_crop(settings: TrainSettings) -> int:
    """Side of the largest crop of a run; smaller images cannot be trained on."""
    return max(settings.crop, settings.late_crop) if settings.late_share else settings.crop


def batch_at(dataset: CropDataset, step: int, settings: TrainSettings, codec: Codec) -> tuple[Tensor, Tensor]:
    """The crops of this step (B, 3, S, S) and a quality for each; larger and fewer crops in the last part."""
    size = settings.late_crop if is_late(step, settings) else settings.crop
    count = max(2, settings.batch * settings.crop**2 // size**2)
    generator = torch.Generator().manual_seed(settings.seed * 1_000_003 + step)
    x = torch.stack([dataset.crop(size, generator) for _ in range(count)])
    first, last = codec.qualities[0], codec.qualities[-1]
    # stratified: every batch covers the range of rates
    spread = (torch.randperm(count, generator=generator) + torch.rand(count, generator=generator)) / count
    return x, first + (last - first) * spread


def batches(dataset: CropDataset, start: int, settings: TrainSettings, codec: Codec) -> Iterator[tuple[Tensor, Tensor]]:
    """The batches from this step on."""
    for step in range(start, settings.steps):
        yield batch_at(dataset, step, settings, codec)


def train(
    codec: Codec,
    data: Sequence[Path],
    out: Path,
    settings: TrainSettings,
    *,
    validation: Sequence[Path] = (),
    resume: bool = False,
    fresh: bool = True,
    progress: Progress | None = None,
    resolved: dict[str, Any] | None = None,
) -> Path:
    """Train `codec` on the images below `data`; returns the file of the averaged weights.

    `out` receives `checkpoint.pt` (everything needed to resume), `weights.safetensors` (the moving average),
    `log.jsonl` (one line per report) and `settings.json`. `validation` names held-out images. Only a `fresh` codec gets
    data-dependent initial values; one that starts from trained weights keeps them. The codec trains where it lies;
    resuming a run that has done all its steps only writes its weights again.
    """
    if not codec.continuous:
        raise UsageError(f"codec {codec.name!r} has one fixed rate; training needs a variable one, such as 'lite'")
    out.mkdir(parents=True, exist_ok=True)
    if (out / "checkpoint.pt").exists() and not resume:
        raise UsageError(f"{out} already holds a run; continue it with --resume or choose another folder")
    images = list_images(data)
    dataset = CropDataset(images, largest_crop(settings))
    device = next(codec.parameters()).device
    codec.train().to(memory_format=torch.channels_last)
    run = _Run(codec, settings, out)
    if resume:
        run.load()
    else:
        torch.manual_seed(settings.seed)
        if fresh:
            codec.calibrate(torch.cat([batch_at(dataset, -1 - i, settings, codec)[0] for i in range(4)]).to(device))
        run.start_average()
        (out / "log.jsonl").unlink(missing_ok=True)  # of a run that never came to a checkpoint
    used = json.dumps(resolved or settings.model_dump(mode="json"), indent=1)
    write_atomic(out / "settings.json", used.encode())
    _loop(run, dataset, list_images(validation) if validation else [], device, progress)
    run.save()
    return _finish(run, dataset, device)


def _loop(
    run: _Run, dataset: CropDataset, validation: Sequence[Path], device: torch.device, progress: Progress | None
) -> None:
    settings = run.settings
    saved = ticked = time.monotonic()
    with (run.out / "log.jsonl").open("a") as log:
        for crops, quality in batches(dataset, run.step, settings, run.codec):
            torch.manual_seed(settings.seed * 1_000_003 + run.step)
            x = crops.to(device, memory_format=torch.channels_last)
            report = run.advance(x, quality.to(device))
            now = time.monotonic()
            run.seconds += now - ticked
            ticked = now
            if progress:
                progress(run.step, settings.steps, report)
            if run.step % 50 == 0:
                log.write(json.dumps({"step": run.step, "seconds": round(run.seconds), **report}) + "\n")
                log.flush()
            if validation and run.step % settings.validate_every == 0:
                points = _validate_average(run, validation)
                log.write(json.dumps({"step": run.step, "seconds": round(run.seconds), "validation": points}) + "\n")
                log.flush()
            if now - saved > settings.checkpoint_minutes * 60:
                run.save()
                saved = time.monotonic()


def _finish(run: _Run, dataset: CropDataset, device: torch.device) -> Path:
    """The averaged weights as they are shipped: prepared by `Codec.finish` on crops of the training images."""
    codec, settings = run.codec, run.settings
    codec.load_state_dict({**codec.state_dict(), **run.ema})
    codec.eval()
    generator = torch.Generator().manual_seed(settings.seed)
    codec.finish(torch.stack([dataset.crop(largest_crop(settings), generator) for _ in range(16)]).to(device))
    path = run.out / "weights.safetensors"
    save_weights(codec, codec.state_dict(), path, {"step": str(run.step)})
    return path


def _validate_average(run: _Run, paths: Sequence[Path]) -> list[dict[str, float]]:
    """Validate the averaged weights, then put the trained ones back."""
    current = {n: v.detach().clone() for n, v in run.codec.state_dict().items()}
    run.codec.load_state_dict({**current, **run.ema})
    run.codec.eval()
    try:
        return validate(run.codec, paths, run.codec.qualities)
    finally:
        run.codec.load_state_dict(current)
        run.codec.train()
