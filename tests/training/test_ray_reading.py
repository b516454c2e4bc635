"""Batches from the workers of a Ray cluster are those of one process."""

import itertools

import numpy as np
import pytest
from PIL import Image

from taskodec.errors import ImageError, UsageError
from taskodec.settings.ray import RaySettings
from taskodec.training.datasets import CropDataset, StepDataset

pytest.importorskip("ray")
pytestmark = pytest.mark.filterwarnings("ignore")

from taskodec.engines.cluster import cluster  # noqa: E402
from taskodec.settings.model import PretrainSettings  # noqa: E402
from taskodec.training.ray_reading import RayReading  # noqa: E402

SETTINGS = RaySettings(workers=2)
TRAIN = PretrainSettings(batch=2, steps=6, stages=({"until": 0.5, "crop": 32}, {"until": 1.0, "crop": 16}))


@pytest.fixture(scope="module", autouse=True)
def local_cluster():
    with cluster(None, SETTINGS):
        yield


@pytest.fixture
def pictures(tmp_path):
    for number in range(5):
        pixels = np.random.default_rng(number).integers(0, 256, (40, 48, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(tmp_path / f"{number}.png")
    return sorted(tmp_path.iterdir())


def reading(train=TRAIN):
    return RayReading(SETTINGS, train, lambda said: None)


def test_batches_are_those_of_one_process_from_any_step_on(pictures):
    steps = StepDataset(CropDataset(pictures, 0), TRAIN, (1.0, 8.0))
    found = list(reading().batches(steps, 2))
    assert len(found) == 4
    for step, (crops, quality, stage) in enumerate(found, 2):
        mine = steps[step]
        assert crops.equal(mine[0])
        assert quality.equal(mine[1])
        assert stage == mine[2]


def test_the_stage_of_a_run_by_the_clock_follows_its_seconds(pictures):
    timed = TRAIN.model_copy(update={"time_budget": 10.0})
    steps = StepDataset(CropDataset(pictures, 0), timed, (1.0, 8.0))
    steps.seconds.fill_(9.0)
    batches = reading(timed).batches(steps, 0)
    assert [stage for _, _, stage in itertools.islice(batches, 2)] == [1, 1]


def test_headers_are_read_there_and_what_cannot_be_read_is_an_error_here(pictures):
    crops, reader = CropDataset(pictures, 0), reading()
    assert reader.sizes(crops, range(0, 5, 2)) == [crops.size(number) for number in range(0, 5, 2)]
    found = crops.sizes(reader)
    crops.check(32, found)
    with pytest.raises(UsageError, match="none of 5 images"):
        crops.check(64, found)
    pictures[3].write_bytes(b"none")
    with pytest.raises(ImageError, match=r"on a worker: .*3\.png.* every machine"):
        reader.sizes(crops, range(5))


def test_pictures_that_are_passed_over_are_told_of_here(pictures):
    pictures[0].write_bytes(pictures[0].read_bytes()[:200])
    steps = StepDataset(CropDataset(pictures, 0), TRAIN, (1.0, 8.0))
    with pytest.warns(UserWarning, match=r"0\.png.* passed over"):
        assert len(list(reading().batches(steps, 0))) == 6
    for picture in pictures:
        picture.write_bytes(b"none")
    with pytest.warns(UserWarning, match="passed over"):
        (error,) = reading().batches(steps, 0)
    assert isinstance(error, UsageError)
