"""The option `input` of tasks with a network: how it is shown pictures, where that is not as its owner does."""

from __future__ import annotations

from dataclasses import replace
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from taskodec.errors import UsageError
from taskodec.tasks.features import FeatureNetwork
from taskodec.tasks.views import AS_IS, Pixels, View

__all__ = ["InputOptions", "put_input"]

Side = Annotated[int, Field(ge=1, le=2**14)]
Sides = Side | tuple[Side, Side]
Triple = tuple[float, float, float]
Positive = Annotated[float, Field(gt=0)]

PICTURE = "picture"
WAYS = ("short", "size", "letterbox", "scale")
GEOMETRY = (*WAYS, "longest", "crop")
VALUES = ("channels", "white", "mean", "std")


class InputOptions(BaseModel):
    """Keys of `input`. Sides are pixels, one number for squares or `[height, width]`."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    short: Side | None = None
    longest: Side | None = None
    size: Sides | None = None
    letterbox: Sides | None = None
    scale: Annotated[float, Field(gt=0, le=4)] | None = None
    crop: Sides | None = None
    align: Literal["corner", "centre"] | None = None
    grey: Annotated[float, Field(ge=0, le=255)] | None = None
    interpolation: Literal["bilinear", "bicubic"] | None = None
    antialias: bool | None = None
    channels: Literal["rgb", "bgr"] | None = None
    white: Positive | None = None
    mean: Triple | None = None
    std: tuple[Positive, Positive, Positive] | None = None


def put_input(network: FeatureNetwork, name: str, given: Any, loss: str = "") -> None:
    """Have a network shown pictures as `task.options.input` says, or as its owner does where that is None.

    Keys of geometry replace all of the owner's, other keys change one thing each. Where `loss` is `features`, a network
    may be shown sizes that only its features can be had of. UsageError for what is not valid, or what the network
    cannot be shown.
    """
    if given is None:
        return
    if given == PICTURE:
        view = replace(AS_IS, grey=network.view.grey)
        network.unscaled()
        options = InputOptions()
    else:
        options = _read(given)
        view = _view(network, name, options)
        network.pixels = _pixels(network, name, options)
    bound = network.fixed is not None and view.seen != network.fixed
    if network.fixed is not None and bound and not (loss == "features" and network.free_features()):
        found = "pictures at their own size" if given == PICTURE else f"{dict(given)}"
        height, width = network.fixed
        raise UsageError(
            f"task.options.input = {found}, but network {name!r} takes {height}x{width} pixels only; let it end there, "
            f"with crop, size or letterbox: [{height}, {width}], or leave it out"
        )
    network.view = view


def _read(given: Any) -> InputOptions:
    """Checked keys; UsageError names the wrong one and says what is valid."""
    valid = f"valid: {PICTURE}, or keys {', '.join(InputOptions.model_fields)}"
    if not isinstance(given, dict) or not given:
        raise UsageError(f"task.options.input = {given!r}: {valid}")
    try:
        options = InputOptions.model_validate(given)
    except ValidationError as error:
        first = error.errors()[0]
        key = str(first["loc"][0])
        raise UsageError(f"task.options.input.{key} = {given.get(key)!r}: {first['msg']}; {valid}") from error
    ways = [way for way in WAYS if getattr(options, way) is not None]
    if len(ways) > 1:
        raise UsageError(f"task.options.input scales pictures in two ways, {' and '.join(ways)}; keep one of them")
    if options.longest is not None and (options.short is None or options.longest < options.short):
        raise UsageError(
            f"task.options.input.longest = {options.longest} is the most that the longer side may have when `short` is "
            f"what the shorter one is scaled to, found {options.short}; give short, and no more than longest"
        )
    _check_crop(options)
    return options


def _check_crop(options: InputOptions) -> None:
    if options.crop is None:
        return
    if options.letterbox is not None:
        raise UsageError("task.options.input: a letterbox has its size already; leave out crop, or letterbox")
    crop = _sides(options.crop)
    have = _sides(options.size) if options.size is not None else (options.short,) * 2
    if have[0] is not None and have[1] is not None and (crop[0] > have[0] or crop[1] > have[1]):
        raise UsageError(
            f"task.options.input.crop = {options.crop!r} is more than pictures are scaled to, "
            f"{options.size or options.short!r}; cut out less, or scale to more"
        )


def _view(network: FeatureNetwork, name: str, options: InputOptions) -> View:
    given = options.model_dump(exclude_none=True)
    looks: dict[str, Any] = {key: given[key] for key in ("interpolation", "antialias") if key in given}
    if "grey" in given:
        looks["grey"] = given["grey"] / 255
    if "align" in given:
        looks["centred"] = given["align"] == "centre"
    if not any(key in given for key in GEOMETRY):
        if looks and network.scales_itself:
            raise UsageError(
                f"network {name!r} scales pictures itself; with task.options.input.{next(iter(given))}, say how they "
                "are to be scaled instead: short, size, letterbox or scale"
            )
        return replace(network.view, **looks)
    network.unscaled()
    sizes: dict[str, Any] = {key: _sides(given[key]) for key in ("size", "letterbox", "crop") if key in given}
    plain: dict[str, Any] = {key: given[key] for key in ("short", "longest", "scale") if key in given}
    cleared: dict[str, Any] = dict.fromkeys(GEOMETRY)
    nearest = network.view.nearest or "scale" in plain
    changed: dict[str, Any] = {**cleared, **plain, **sizes, **looks, "nearest": nearest}
    return replace(network.view, **changed)


def _pixels(network: FeatureNetwork, name: str, options: InputOptions) -> Pixels | None:
    given = {key: getattr(options, key) for key in VALUES if getattr(options, key) is not None}
    if not given:
        return network.pixels
    if network.pixels is None:
        raise UsageError(
            f"network {name!r} normalises pictures itself; leave out task.options.input.{next(iter(given))}"
        )
    if "channels" in given:
        given["bgr"] = given.pop("channels") == "bgr"
    return replace(network.pixels, **given)


def _sides(value: Sides) -> tuple[int, int]:
    return (value, value) if isinstance(value, int) else value
