"""Curves that others published: drawn beside what is measured and compared with it, and told apart.

`data/kodak.json` has such as go with the 24 images of Kodak, each with where it is from; other files are results as
CompressAI writes them.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from importlib.resources import files
from pathlib import Path
from typing import Annotated

from pydantic import AliasChoices, BaseModel, ConfigDict, Field, ValidationError, model_validator

from taskodec.bench.fidelity import Source
from taskodec.bench.rd import METRICS, BDRate, Curve, bd_rate, decibel
from taskodec.errors import UsageError
from taskodec.files.atomic import read_limited
from taskodec.files.json_text import parse_json
from taskodec.images.tensors import load_image, to_pil

__all__ = ["PublishedCurve", "against_published", "kodak_curves", "read_published"]

MAX_BYTES = 2**22

EXPECTED = (
    'expected JSON as CompressAI writes it: {"name": …, "results": {"bpp": […], "psnr-rgb" or "psnr": […], '
    '"ms-ssim-rgb" or "ms-ssim": […]}}, one of the two figures at least'
)


@dataclass(frozen=True)
class PublishedCurve:
    """Rates in bits per pixel, ascending, and for each metric in the file (as in `rd.METRICS`) its values in dB.

    `source` says where the figures are from.
    """

    name: str
    source: str
    bpp: tuple[float, ...]
    values: Mapping[str, tuple[float, ...]]


Rates = list[Annotated[float, Field(ge=1e-6, le=1e6)]]
Decibels = list[Annotated[float, Field(ge=-1000, le=1000)]]
Shares = list[Annotated[float, Field(ge=0, le=1)]]


class _Results(BaseModel):
    """The figures of a file; others, such as seconds, are ignored."""

    model_config = ConfigDict(strict=True)
    bpp: Annotated[Rates, Field(min_length=1)]
    psnr: Decibels | None = Field(None, validation_alias=AliasChoices("psnr-rgb", "psnr"))
    ms_ssim: Shares | None = Field(None, validation_alias=AliasChoices("ms-ssim-rgb", "ms-ssim"))
    ms_ssim_db: Decibels | None = Field(None, validation_alias=AliasChoices("ms-ssim-db-rgb", "ms-ssim-db"))

    def decibels(self) -> dict[str, Sequence[float]]:
        """The values of each metric that is there."""
        ms_ssim = self.ms_ssim_db if self.ms_ssim is None else [decibel(value) for value in self.ms_ssim]
        found = {"PSNR": self.psnr, "MS-SSIM": ms_ssim}
        return {metric: values for metric, values in found.items() if values is not None}

    @model_validator(mode="after")
    def _fit(self) -> _Results:
        found = self.decibels()
        if not found:
            raise ValueError("there is neither PSNR nor MS-SSIM")
        for metric, values in found.items():
            if len(values) != len(self.bpp):
                raise ValueError(f"{len(values)} values of {metric} for {len(self.bpp)} rates")
        return self


class _ResultFile(BaseModel):
    model_config = ConfigDict(strict=True)
    name: Annotated[str, Field(min_length=1, max_length=200)]
    results: _Results

    def curve(self, source: str) -> PublishedCurve:
        """The curve, ascending in rate."""
        metrics = self.results.decibels()
        rows = sorted(zip(self.results.bpp, *metrics.values(), strict=True))
        bpp, *columns = zip(*rows, strict=True)
        return PublishedCurve(self.name, source, bpp, dict(zip(metrics, columns, strict=True)))


class _Origin(BaseModel):
    """Where a shipped curve is from."""

    model_config = ConfigDict(strict=True, extra="forbid")
    repository: str
    commit: str
    file: str
    licence: str
    note: str = ""

    def __str__(self) -> str:
        where = f"{self.repository.removeprefix('https://github.com/')} {self.commit[:7]}, {self.file}"
        return f"{where}; {self.note}" if self.note else where


class _ShippedCurve(_ResultFile):
    source: _Origin


class _ShippedSet(BaseModel):
    """Curves of one set of images, and what those are: 16 hex digits of each one's `_pixels`."""

    model_config = ConfigDict(strict=True, extra="forbid")
    about: str
    images: dict[str, str]
    curves: list[_ShippedCurve]


def kodak_curves(images: Sequence[Source], max_pixels: int) -> list[PublishedCurve]:
    """The shipped curves, if the images are all those of Kodak, in whatever files; else none."""
    text = (files("taskodec.bench") / "data" / "kodak.json").read_bytes()
    shipped = _ShippedSet.model_validate_json(text)
    if len(images) != len(shipped.images):
        return []
    expected = set(shipped.images.values())
    if any(_pixels(image.path, max_pixels) not in expected for image in images):
        return []
    return [curve.curve(str(curve.source)) for curve in shipped.curves]


def _pixels(path: Path, max_pixels: int) -> str:
    """What tells one picture from another, whatever file it is in."""
    picture = to_pil(load_image(path, max_pixels=max_pixels).x)
    return hashlib.sha256(b"%dx%d" % picture.size + picture.tobytes()).hexdigest()[:16]


def against_published(curve: Curve, other: PublishedCurve) -> dict[str, BDRate]:
    """The BD-rate of a measured mean curve against a published one, by each metric that this has."""
    rates = [point.bpp for point in curve.points]
    return {
        metric: bd_rate(other.bpp, values, rates, [METRICS[metric](point) for point in curve.points])
        for metric, values in other.values.items()
    }


def read_published(paths: Iterable[Path]) -> list[PublishedCurve]:
    """The curves in these files, and in the `.json` files directly in these folders; UsageError for anything else.

    Curves of one name get the names of their files beside it.
    """
    found = {file.resolve(): file for path in paths for file in _files(path)}
    curves = [_read(file) for file in found.values()]
    names = [curve.name for curve in curves]
    return [
        replace(curve, name=f"{curve.name}, {file.stem}") if names.count(curve.name) > 1 else curve
        for curve, file in zip(curves, found.values(), strict=True)
    ]


def _files(path: Path) -> list[Path]:
    if not path.is_dir():
        return [path]
    found = sorted(file for file in path.glob("*.json") if file.is_file())
    if not found:
        raise UsageError(f"folder {path} holds no .json file: give CompressAI's results, such as results/image/kodak")
    return found


def _read(path: Path) -> PublishedCurve:
    try:
        data = read_limited(path, MAX_BYTES)
        parse_json(data, constants=True)  # which is stricter in names that come twice, and in depth
        found = _ResultFile.model_validate_json(data)
    except OSError as error:
        raise UsageError(f"cannot open {path}: {error.strerror or error}") from error
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        where = ".".join(map(str, first["loc"]))
        problem = f"{where}: {first['msg']}" if where else first["msg"]
        raise UsageError(f"{path} holds no published curve ({problem}); {EXPECTED}") from error
    except ValueError as error:
        raise UsageError(f"{path} holds no published curve ({error}); {EXPECTED}") from error
    return found.curve(path.name)
