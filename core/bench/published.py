"""Curves that others published, in the result files of CompressAI: drawn beside what is measured, and told apart."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated

from pydantic import AliasChoices, BaseModel, ConfigDict, Field, ValidationError, model_validator

from taskodec.bench.rd import decibel
from taskodec.errors import UsageError
from taskodec.files.atomic import read_limited
from taskodec.files.json_text import parse_json

__all__ = ["PublishedCurve", "read_published"]

MAX_BYTES = 2**22

EXPECTED = (
    'expected JSON as CompressAI writes it: {"name": …, "results": {"bpp": […], "psnr-rgb" or "psnr": […], '
    '"ms-ssim-rgb" or "ms-ssim": […]}}, one of the two figures at least'
)


@dataclass(frozen=True)
class PublishedCurve:
    """Rates in bits per pixel, ascending, and for each metric in the file (as in `rd.METRICS`) its values in dB."""

    name: str
    file: Path
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


def read_published(paths: Iterable[Path]) -> list[PublishedCurve]:
    """The curves in these files, and in the `.json` files directly in these folders; UsageError for anything else.

    Curves of one name get the names of their files beside it.
    """
    files = {file.resolve(): file for path in paths for file in _files(path)}
    curves = [_read(file) for file in files.values()]
    names = [curve.name for curve in curves]
    return [
        replace(curve, name=f"{curve.name}, {curve.file.stem}") if names.count(curve.name) > 1 else curve
        for curve in curves
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
    metrics = found.results.decibels()
    rows = sorted(zip(found.results.bpp, *metrics.values(), strict=True))
    bpp, *columns = zip(*rows, strict=True)
    return PublishedCurve(found.name, path, bpp, dict(zip(metrics, columns, strict=True)))
