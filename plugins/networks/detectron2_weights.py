"""Weights for detectron2's models, in its formats. Needs detectron2.

Pickles, which most of its published files are, can run code when detectron2 reads them; here they are data.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from detectron2.checkpoint import DetectionCheckpointer
from fvcore.common.checkpoint import _filter_reused_missing_keys

from taskodec.errors import WeightsError
from taskodec.plugins.networks.state_dicts import read_pickle

__all__ = ["put_detectron2_weights"]


def put_detectron2_weights(model: Any, file: Path) -> None:
    """Load a file into a model of detectron2; WeightsError if it cannot be read, or leaves a part without weights."""
    log, checkpointer = logging.getLogger("detectron2"), _Checkpointer(model)
    level = log.level
    try:
        log.setLevel(logging.ERROR)  # it tells of conversions from older formats
        checkpointer.load(str(file))
    except WeightsError:
        raise
    except Exception as error:  # detectron2 has no errors of its own
        raise WeightsError(f"{file} cannot be read as weights: {type(error).__name__}: {error}") from error
    finally:
        log.setLevel(level)
    if missing := checkpointer.missing:
        raise WeightsError(
            f"{file} does not fit the network: it lacks {len(missing)} of {len(model.state_dict())} tensors, or has "
            f"them in another shape, such as {', '.join(missing[:3])}"
        )


class _Checkpointer(DetectionCheckpointer):  # type: ignore[misc]
    """detectron2's own runs pickles, and goes on with random values for what a file lacks."""

    missing: Sequence[str] = ()

    def _load_file(self, filename: str) -> Any:
        if not filename.endswith(".pkl"):
            return super()._load_file(filename)  # by torch.load, which reads tensors alone
        content = read_pickle(Path(filename))
        if "model" in content and "__author__" in content:
            return content
        blobs = content.get("blobs", content)  # Detectron's and Caffe2's
        state = {name: value for name, value in blobs.items() if not name.endswith("_momentum")}
        return {"model": state, "__author__": "Caffe2", "matching_heuristics": True}

    def _log_incompatible_keys(self, incompatible: Any) -> None:
        self.missing = sorted(_filter_reused_missing_keys(self.model, incompatible.missing_keys))
