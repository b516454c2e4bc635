"""The light table of torchvision's weights is torchvision's own."""

import pytest
import torchvision

from taskodec.plugins.networks.imagenet import RESNETS
from taskodec.plugins.networks.torchvision_detectors import DETECTORS
from taskodec.plugins.networks.torchvision_semantic import SEMANTIC
from taskodec.plugins.networks.zoo import CLASSIFICATION, DETECTION, TORCHVISION
from taskodec.plugins.networks.zoo import SEMANTIC as FILES


def test_every_network_that_tasks_offer_is_there():
    assert set(TORCHVISION) == {*RESNETS, *DETECTORS, *SEMANTIC}


@pytest.mark.parametrize("name", TORCHVISION)
def test_files_are_the_first_that_torchvision_published(name):
    first = next(iter(torchvision.models.get_model_weights(name)))
    file = TORCHVISION[name]
    assert file.url == first.url
    assert file.url.endswith(f"-{file.sha256}.pth")
    assert file.size == pytest.approx(first.meta["_file_size"] * 2**20, rel=1e-3)


def test_every_file_says_what_it_is_for_and_its_licence():
    for file in (*CLASSIFICATION, *DETECTION, *FILES):
        assert file.description.startswith("task"), file.name
        assert file.licence, file.name
