import asyncio
import json

from taskodec.demo.events import events
from taskodec.demo.runs import Run
from taskodec.demo.told import Trail
from taskodec.service.pool import Job
from taskodec.settings.model import load_settings


def test_the_end_is_told_if_it_comes_while_something_is_sent(tmp_path):
    async def told():
        run = Run("one", Job(tmp_path, load_settings(), 0.0), "a picture", 0.0, Trail(tmp_path / "told"))
        found = []
        async for text in events(run, lambda: False):
            found.append(json.loads(text.removeprefix("data: "))["state"])
            if run.active:
                run.end("done")
        return found

    assert asyncio.run(told()) == ["waiting", "done"]
