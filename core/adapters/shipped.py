"""Adapters that lie in a package, as `AdapterSpec.build` wants them. Light to import."""

from __future__ import annotations

from collections.abc import Callable
from importlib.resources import as_file, files
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from taskodec.contracts import Adapter, Codec

__all__ = ["shipped_adapter"]


def shipped_adapter(package: str, file: str) -> Callable[[Codec], Adapter]:
    """What builds the adapter from `file`, a path inside `package`, that `taskodec pretrain` wrote."""

    def build(codec: Codec) -> Adapter:
        from taskodec.adapters.files import adapter_from

        with as_file(files(package).joinpath(file)) as path:
            return adapter_from(codec, path=path)

    return build
