"""One process of its own: the rest of the service's tests have none."""

import asyncio
import os
import signal

import pytest
from picture_files import png

from taskodec.api.compressor import Compressor
from taskodec.service.process import Died, Overdue, Process
from taskodec.service.work import GIVEN, MADE, Done, Start, Work
from taskodec.settings.model import load_settings

PLUGIN = """
import os
from taskodec import TaskSpec, hookimpl

def make():
    from taskodec.contracts import FunctionTask
    return FunctionTask("die", lambda x_hat, x: os.kill(os.getpid(), 9))

@hookimpl
def register_tasks():
    return [TaskSpec("die", make)]
"""


def test_a_process_works_dies_hangs_and_begins_anew(tmp_path, photo):
    (tmp_path / "faulty.py").write_text(PLUGIN)
    (tmp_path / GIVEN).write_bytes(png(photo[..., :32, :32]))
    settings = load_settings(overrides=["ttft.steps=0", "quality=2"])
    deadly = load_settings(overrides=["task={name: die, lmbda: 1}", "ttft.steps=1"])
    process = Process(Start(settings, (tmp_path / "faulty.py",), 1, 2**34), 300)

    async def go():
        never = asyncio.get_running_loop().time() + 300
        with pytest.raises(Died):
            await process.do(Work((tmp_path,), settings), never)
        for _ in range(2):
            assert await process.begin() == ""
            assert process.alive
            (answer,) = await process.do(Work((tmp_path,), settings), never)
            assert isinstance(answer, Done), answer
            with pytest.raises(Died) as caught:
                await process.do(Work((tmp_path,), deadly), never)
            assert caught.value.begun
            assert not process.alive
        assert await process.begin() == ""
        with pytest.raises(Overdue):
            await process.do(Work((tmp_path,), settings), 0)
        assert not process.alive
        assert await process.begin() == ""
        os.kill(process.pid, signal.SIGKILL)
        while process.alive:
            await asyncio.sleep(0.01)
        process.kill()

    asyncio.run(go())
    assert (tmp_path / MADE).read_bytes() == Compressor(settings).compress(tmp_path / GIVEN).stream


def test_what_cannot_be_loaded_is_said(tmp_path):
    settings = load_settings(overrides=["codec={name: lite, checkpoint: none.safetensors}"])
    process = Process(Start(settings, (), 1), 300)
    assert "none.safetensors" in asyncio.run(process.begin())
    process.kill()
