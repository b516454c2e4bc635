"""The state of a training run, which its checkpoint holds, and one step of optimisation on it."""

from __future__ import annotations

import io
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Generic, TypeVar, cast

import torch
from torch import Tensor, nn
from torch.optim.swa_utils import get_ema_multi_avg_fn

from taskodec.coding.tensor_files import load_torch, tensor_problem
from taskodec.coding.weights import fill, lasting_state, save_weights
from taskodec.console.terminal import shown
from taskodec.errors import WeightsError
from taskodec.files.atomic import pointer_to, write_atomic
from taskodec.training.optimizers import load_optimizer, make_optimizer, parameter_groups
from taskodec.training.parallel import sum_gradients
from taskodec.training.schedule import learning_rate, position

if TYPE_CHECKING:
    from taskodec.contracts import Codec
    from taskodec.settings.model import TrainSettings

__all__ = ["TrainedT", "TrainingState"]

TrainedT = TypeVar("TrainedT", bound=nn.Module)
CountT = TypeVar("CountT", int, float)


class TrainingState(Generic[TrainedT]):
    """Weights of what is trained, their moving average, optimisers, and the steps done.

    `checkpoint.pt` in the folder `out` holds all of it; it does not depend on the device or the number of processes.
    What is trained is a codec; a subclass for something else says how that is saved (`save_average`).
    """

    def __init__(self, model: TrainedT, settings: TrainSettings, out: Path) -> None:
        self.model, self.settings, self.out = model, settings, out
        self.quantiles = [p for n, p in model.named_parameters() if n.endswith("quantiles")]
        self.parameters = [p for n, p in model.named_parameters() if p.requires_grad and not n.endswith("quantiles")]
        self.optimizer = make_optimizer(parameter_groups(model, settings), settings)
        self.aux_optimizer = torch.optim.Adam(self.quantiles, lr=1e-3) if self.quantiles else None
        self.stage = settings.stages[0]
        self.ema: dict[str, Tensor] = {}
        self._averaged: list[tuple[Tensor, Tensor]] = []
        self.start_average()
        self.step = 0
        self.seconds = 0.0

    @property
    def position(self) -> float:
        """Where the run stands, see `taskodec.training.schedule`."""
        return position(self.step, self.seconds, self.settings)

    @property
    def rate(self) -> float:
        """The learning rate of the next step."""
        return learning_rate(self.position, self.settings)

    @property
    def ended(self) -> bool:
        """Whether all steps are done or the seconds spent, or more of them would be in vain."""
        return self.position >= self.settings.steps

    def start_average(self) -> None:
        """Let the moving average begin at the weights as they are."""
        lasting = lasting_state(self.model)
        self.ema = {n: v.detach().clone() for n, v in lasting.items() if v.is_floating_point()}
        self._averaged = []

    def save(self) -> None:
        """Write `checkpoint.pt`, and the weights as they would be used now."""
        state = {
            **self.extras(),
            "step": self.step,
            "seconds": self.seconds,
            "codec": self.model.state_dict(),
            "ema": self.ema,
            "optimizer": self.optimizer.state_dict(),
            "aux_optimizer": self.aux_optimizer.state_dict() if self.aux_optimizer else {},
        }
        content = io.BytesIO()
        torch.save(state, content)
        write_atomic(self.out / "checkpoint.pt", content.getvalue())
        self.save_average()

    def save_average(self) -> None:
        """Write the moving average as `weights.safetensors`."""
        codec = cast("Codec", self.model)
        save_weights(codec, self.ema, self.out / "weights.safetensors", {"step": str(self.step)})

    def extras(self) -> dict[str, Any]:
        """What else a checkpoint holds; nothing by default."""
        return {}

    def take_extras(self, state: dict[str, Any]) -> None:
        """Go on with what `extras` gave; a WeightsError if that is of another run."""

    def load(self) -> None:
        """Go on from `checkpoint.pt`; a WeightsError when it is missing or of another run."""
        path = self.out / "checkpoint.pt"
        if not path.exists():
            raise WeightsError(f"nothing to resume: {path} does not exist; start without --resume")
        if found := pointer_to("the checkpoint", path):
            raise WeightsError(f"{path} is {found}")
        try:
            state = load_torch(path)
            self.take_extras(state)
            fill(self.model, state["codec"], str(path))
            ema = {name: state["ema"][name] for name in self.ema if name in state["ema"]}
            self.check_average(ema, str(path))
            self.ema = {name: value.to(self.ema[name].device) for name, value in ema.items()}
            self._averaged = []
            load_optimizer(self.optimizer, state["optimizer"])
            if self.aux_optimizer:
                load_optimizer(self.aux_optimizer, state["aux_optimizer"])
            self.step, self.seconds = _counted(state["step"], int), _counted(state["seconds"], float)
        except WeightsError:
            raise
        except Exception as error:  # a damaged or foreign file can raise nearly anything
            raise WeightsError(
                f"{path} is no checkpoint of a run like this one ({type(error).__name__}: "
                f"{str(error).partition(chr(10))[0]}); resume with the codec and the lr_scales it began with, "
                "or start anew in another folder"
            ) from error

    def check_average(self, average: Mapping[str, Tensor], source: str) -> None:
        """WeightsError unless these are values for the moving average."""
        for name, value in average.items():
            if problem := tensor_problem(value, self.ema[name]):
                raise WeightsError(f"{source}: the average of {name} {problem}")

    def advance(self, forward: Callable[[], tuple[Tensor, Tensor]], share: float) -> tuple[Tensor, Tensor]:
        """One optimiser step, over all processes.

        `forward` gives the loss of this process's `share` of the batch, and figures (K,) to be averaged over the whole
        batch; returned are those, and the norm of the gradient before it was clipped.
        """
        for group in self.optimizer.param_groups:
            group["lr"] = self.rate * group["scale"]
        loss, figures = forward()
        self.optimizer.zero_grad(set_to_none=True)
        (loss * share).backward()  # type: ignore[no-untyped-call]
        if self.aux_optimizer:
            self.aux_optimizer.zero_grad(set_to_none=True)
            torch.autograd.backward(cast("Codec", self.model).aux_loss() * share, inputs=self.quantiles)
        figures = sum_gradients([*self.parameters, *self.quantiles], figures.detach() * share)
        norm = nn.utils.clip_grad_norm_(self.parameters, self.settings.clip)
        self._step_unless_bad(norm)
        if self.aux_optimizer:
            self.aux_optimizer.step()
        self._average()
        self.step += 1
        return figures, norm

    def _step_unless_bad(self, norm: Tensor) -> None:
        """One bad batch must not end a run of hours: where the norm is not finite, the weights stay."""
        bad = ~torch.isfinite(norm)
        if all(group.get("fused") for group in self.optimizer.param_groups):
            self.optimizer.found_inf = bad.float()  # type: ignore[attr-defined]  # decided on the GPU: nothing waits
            self.optimizer.step()
        elif not bad:
            self.optimizer.step()

    @torch.no_grad()
    def _average(self) -> None:
        decay = min(self.settings.ema, (1 + self.step) / (10 + self.step))
        if not self._averaged:  # weights are changed in place, so one look at them is enough
            now = self.model.state_dict(keep_vars=True)
            self._averaged = [(self.ema[name], now[name]) for name in now if name in self.ema]
        averages, values = zip(*self._averaged, strict=True)
        towards = get_ema_multi_avg_fn(decay)  # type: ignore[no-untyped-call]
        towards(list(averages), [value.detach() for value in values], self.step)


def _counted(value: object, kind: type[CountT]) -> CountT:
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value < float("inf"):
        raise ValueError(f"found {shown(value)}, expected a number of steps or seconds")
    return kind(value)
