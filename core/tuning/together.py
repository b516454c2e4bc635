"""Several tunings in one pass: each asks for what it needs of the networks, and what they ask for is computed at once.

A tuning of one image is a generator. It yields a `Slope` or a `Look`, is sent the `Estimate`, and returns its outcome.
Tunings of one size and preset ask for the same things in turn; one that ends early, or fails, leaves the others alone.
"""

from __future__ import annotations

from collections.abc import Generator, Sequence
from dataclasses import dataclass
from typing import TypeVar

import torch

from taskodec.contracts import Rounding
from taskodec.errors import TaskError
from taskodec.isolation.randomness import Noise
from taskodec.tuning.objective import Estimate, Objective, estimate
from taskodec.tuning.phases import Point, Variables, points

__all__ = ["Look", "Request", "Slope", "Tuning", "run_together"]

Outcome = TypeVar("Outcome")


@dataclass(frozen=True)
class Slope:
    """The cost of the variables as they are, and its gradient in them; `step` counts all of the image's steps.

    `objectives` are those of the image's patches, or the image's own alone.
    """

    objectives: Sequence[Objective]
    variables: Variables
    rounding: Rounding
    step: int

    @property
    def kind(self) -> object:
        return type(self.rounding), self.step


@dataclass(frozen=True)
class Look:
    """The cost of a state as it would be sent."""

    objective: Objective
    point: Point

    @property
    def kind(self) -> object:
        return "look"


Request = Slope | Look
Tuning = Generator[Request, Estimate, Outcome]
"""Is thrown a FloatingPointError instead of the estimate where it has diverged, and whatever else goes wrong."""


def run_together(
    tunings: Sequence[Tuning[Outcome]], seed: int, draws: dict[str, bool] | None = None
) -> list[Outcome | Exception]:
    """Run all to their ends: what each returned or raised.

    Noise is of the seed, and begins anew for each step; `draws` is that of `taskodec.isolation.randomness.Noise`.
    """
    noise = Noise(seed, draws)
    with noise.used():
        return _run(tunings, noise)


def _run(tunings: Sequence[Tuning[Outcome]], noise: Noise) -> list[Outcome | Exception]:
    outcomes: dict[int, Outcome | Exception] = {}
    waiting: dict[int, Request] = {}

    def go_on(number: int, answer: Estimate | Exception | None) -> None:
        waiting.pop(number, None)
        tuning = tunings[number]
        try:
            if isinstance(answer, Exception):
                waiting[number] = tuning.throw(answer)
            else:
                waiting[number] = next(tuning) if answer is None else tuning.send(answer)
        except StopIteration as end:
            outcomes[number] = end.value
        except Exception as error:  # of one image, whatever it is
            outcomes[number] = error

    for number in range(len(tunings)):
        go_on(number, None)
    while waiting:
        looks = (request for request in waiting.values() if isinstance(request, Look))
        kind = next(looks, next(iter(waiting.values()))).kind  # so that one that looks once more is not left behind
        group = [number for number, request in waiting.items() if request.kind == kind]
        answers = _answers([waiting[number] for number in group], noise)
        for number, answer in zip(group, answers, strict=True):
            go_on(number, answer)
    return [outcomes[number] for number in range(len(tunings))]


def _answers(requests: Sequence[Request], noise: Noise) -> list[Estimate | Exception]:
    """One by one if that fails for all at once, so that the error goes where it belongs."""
    try:
        found = _slopes(requests, noise) if isinstance(requests[0], Slope) else _looks(requests)
    except TaskError as error:
        if len(requests) == 1:
            return [error]
        return [_answers([request], noise)[0] for request in requests]
    return [FloatingPointError("tuning diverged") if one is None else one for one in found]


def _slopes(requests: Sequence[Request], noise: Noise) -> list[Estimate | None]:
    asked = [request for request in requests if isinstance(request, Slope)]
    noise.at_step(asked[0].step)
    for request in asked:
        request.variables.optimizer.zero_grad(set_to_none=True)
    patches = list(zip(*(request.objectives for request in asked), strict=True))
    found = [_slope(objectives, asked, noise.seed) for objectives in patches]
    shares = [objectives[0].subject.share for objectives in patches]
    return [Estimate.mean(own, shares) for own in zip(*found, strict=True)]


def _slope(objectives: Sequence[Objective], asked: Sequence[Slope], seed: int) -> list[Estimate | None]:
    """Of one patch of each image, seen as this seed says; its graph is gone afterwards: memory holds one at a time."""
    subject = objectives[0].subject
    states = points([request.variables for request in asked], subject.area)
    found = estimate(objectives, states, asked[0].rounding, view=objectives[0].view(seed))
    if costs := [one.cost for one in found if one is not None]:
        (subject.share * torch.stack(costs).sum()).backward()  # type: ignore[no-untyped-call]
    return [None if one is None else one.detach() for one in found]


@torch.no_grad()
def _looks(requests: Sequence[Request]) -> list[Estimate | None]:
    asked = [request for request in requests if isinstance(request, Look)]
    return estimate([request.objective for request in asked], [request.point for request in asked], "hard")
