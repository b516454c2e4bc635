import pytest
import torch

from taskodec.errors import ImageError
from taskodec.settings.model import PhaseSettings
from taskodec.tuning.memory import check_tunable


def test_only_tuning_is_limited():
    x = torch.zeros(1, 3, 8, 9)
    check_tunable(x, [PhaseSettings(train=("latents",), steps=0)], 71)
    check_tunable(x, [PhaseSettings(train=("latents",), steps=1)], 72)
    with pytest.raises(ImageError, match=r"max_tuning_pixels.*--steps 0"):
        check_tunable(x, [PhaseSettings(train=("latents",), steps=1)], 71)


def test_of_patches_one_is_limited():
    x, phases = torch.zeros(1, 3, 64, 96), [PhaseSettings(train=("latents",), steps=1)]
    check_tunable(x, phases, 32 * 32, 32)
    with pytest.raises(ImageError, match=r"a patch \(ttft\.patch\).*max_tuning_pixels"):
        check_tunable(x, phases, 32 * 32 - 1, 32)
    with pytest.raises(ImageError, match=r"--set ttft\.patch=256"):
        check_tunable(x, phases, 32 * 32)
