import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file
from torch import nn

from taskodec.codecs.lite.codec import Lite
from taskodec.errors import SettingsError
from taskodec.settings.model import TrainSettings
from taskodec.training import parallel
from taskodec.training.codec import train

SETTINGS = TrainSettings(
    stages=[{"until": 1, "crop": 64, "rounding": "ste"}],
    batch=3,  # two processes have unlike shares
    steps=4,
    lr=1e-4,
    validate_every=4,
    checkpoint_minutes=60,
)

SCRIPT = """
import os
import signal
import sys
from pathlib import Path
sys.path.insert(0, {tests!r})
from test_parallel import SETTINGS, run
from taskodec.errors import UsageError
from taskodec.training.parallel import process_group, rank, training_device

def ask_one_to_stop(step, total, info):
    if step == 2 and rank() == 1:
        os.kill(os.getpid(), signal.SIGTERM)

def fail(step, total, info):
    if rank() == 1:
        raise UsageError("no luck")

images, out = [Path(p) for p in {images!r}], Path({out!r})
with process_group(training_device("cpu")):
    run(images, out / "two", rank())
    try:
        run(images, out / "two_then_one", rank(), progress=ask_one_to_stop)
    except KeyboardInterrupt as stop:
        print(stop)
    run(images, out / "one_then_two", rank(), resume=True)
    run(images, out / "failing", rank(), progress=fail)
"""


def run(images, out, seed, **options):
    """A small Lite with first weights of this seed."""
    torch.manual_seed(seed)
    return train(Lite(M=48, N=24, D=20, stem=12, Z=12, depth=1), images, out, SETTINGS, validation=images, **options)


def stop_at_two(step, total, info):
    if step == 2:
        os.kill(os.getpid(), signal.SIGINT)


def last(out):
    return json.loads((out / "log.jsonl").read_text().splitlines()[-1])["validation"]


def test_two_processes_train_as_one_does(pictures, tmp_path):
    images = [pictures / "one.png"] * 2
    script = tmp_path / "script.py"
    script.write_text(
        SCRIPT.format(tests=str(Path(__file__).parent), images=[str(p) for p in images], out=str(tmp_path))
    )
    one = run(images, tmp_path / "one", 0)
    with pytest.raises(KeyboardInterrupt):
        run(images, tmp_path / "one_then_two", 0, progress=stop_at_two)
    launch = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2", str(script)]
    done = subprocess.run(
        launch, check=False, env={**os.environ, "OMP_NUM_THREADS": "1"}, capture_output=True, text=True
    )
    assert done.stdout.count("stopped after step 2 of 4") == 2, done.stderr
    assert done.returncode != 0
    assert "no luck" in done.stderr
    assert not (tmp_path / "failing" / "checkpoint.pt").exists()
    run(images, tmp_path / "two_then_one", 5, resume=True)
    expected = load_file(one)
    for other in ("two", "two_then_one", "one_then_two"):
        weights = load_file(tmp_path / other / "weights.safetensors")
        assert all(torch.allclose(weights[n], expected[n], atol=2e-5, rtol=1e-3) for n in expected), other
        for point, reference in zip(last(tmp_path / other), last(tmp_path / "one"), strict=True):
            assert point == pytest.approx(reference, rel=1e-3)


def test_alone_nothing_is_shared(tiny_codec):
    with parallel.process_group(torch.device("cpu")):
        assert (parallel.rank(), parallel.world_size(), parallel.share_of(5)) == (0, 1, range(5))
    figures = torch.ones(2)
    assert parallel.sum_gradients([nn.Parameter(torch.zeros(1))], figures) is figures
    assert parallel.any_rank(True, torch.device("cpu"))
    assert not parallel.any_rank(False, torch.device("cpu"))


@pytest.mark.parametrize("count", [2, 3, 7])
def test_shares_are_all_of_it_and_none_is_empty(monkeypatch, count):
    monkeypatch.setattr(parallel, "world_size", lambda: 2)
    shares = []
    for rank in range(2):
        monkeypatch.setattr(parallel, "rank", lambda rank=rank: rank)
        shares.append(parallel.share_of(count))
    assert [i for share in shares for i in share] == list(range(count))
    assert all(shares)


def test_each_process_has_a_gpu_of_its_own(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    assert parallel.training_device("cuda:1") == torch.device("cuda", 1)
    monkeypatch.setenv("WORLD_SIZE", "2")
    monkeypatch.setenv("LOCAL_RANK", "1")
    assert parallel.training_device("auto") == torch.device("cuda", 1)
    assert parallel.training_device("cpu") == torch.device("cpu")
    with pytest.raises(SettingsError, match="several processes need device auto, cuda or cpu"):
        parallel.training_device("cuda:1")
    monkeypatch.setenv("LOCAL_RANK", "2")
    with pytest.raises(SettingsError, match="no such device"):
        parallel.training_device("cuda")
