"""Profiles that are made of numbers say what the published ones say."""

import io

import numpy as np
import pytest
from PIL import ImageCms

from taskodec.pixels.icc import BT709, gray_profile, matrix_profile


def opened(profile):
    return ImageCms.ImageCmsProfile(io.BytesIO(profile)).profile


def test_the_colorants_of_srgb():
    """IEC 61966-2-1 adapted to D50, as the ICC publishes it."""
    made = opened(matrix_profile(BT709, None, "of numbers"))
    published = {"red": (0.4361, 0.2225, 0.0139), "green": (0.3851, 0.7169, 0.0971), "blue": (0.1431, 0.0606, 0.7141)}
    for name, xyz in published.items():
        assert getattr(made, f"{name}_colorant")[0] == pytest.approx(xyz, abs=2e-4)
    assert (made.xcolor_space, made.connection_space, made.device_class) == ("RGB ", "XYZ ", "mntr")
    assert made.profile_description == "of numbers"


def test_the_white_is_that_of_profiles_whatever_the_primaries():
    for places in (BT709, (0.314, 0.351, 0.68, 0.32, 0.265, 0.69, 0.15, 0.06)):
        made = opened(matrix_profile(places, 2.2))
        white = np.sum([made.red_colorant[0], made.green_colorant[0], made.blue_colorant[0]], axis=0)
        assert white == pytest.approx([0.9642, 1, 0.8249], abs=2e-4)


def test_profiles_of_greys():
    made = opened(gray_profile(1.8, "grey"))
    assert (made.xcolor_space, made.profile_description) == ("GRAY", "grey")


@pytest.mark.parametrize(
    "places",
    [
        (0,) * 8,
        (0.3127, 0.329) * 4,
        (0.3127, 0.329, 0.64, 0.33, 0.3, 0, 0.15, 0.06),
        (0.3127, 0.329, 0.64, 0.33, 0.64, 0.3300001, 0.15, 0.06),
        (float("nan"),) * 8,
    ],
)
def test_primaries_that_span_no_space(places):
    with pytest.raises(ValueError, match="these are no primaries"):
        matrix_profile(places, None)


def test_names_and_exponents_of_any_kind_make_a_profile():
    for gamma in (0.0, 1e-9, 1e9):
        assert opened(gray_profile(gamma, "naïve ☃")).xcolor_space == "GRAY"
