"""Clients that come at once, and clients that go away; nothing here waits by the clock."""

import asyncio
import json

import httpx2
import pytest
from picture_files import png

from taskodec.api.compressor import Compressor
from taskodec.service.app import make_app
from taskodec.settings.model import load_settings


async def until(condition):
    """Let others run until it holds."""
    while not condition():
        await asyncio.sleep(0)


@pytest.fixture
def held(make_service):
    """A service whose process answers once its `hold` is set, and the process."""

    async def make(*overrides):
        service = make_service(*overrides)
        (process,) = service.pool.processes
        process.hold = asyncio.Event()
        await service.pool.begin()
        return service, process

    return make


def test_pictures_of_one_size_that_wait_are_tuned_together(held, photo, tiny_registry):
    pictures = [png(photo), png(photo.flip(3))]
    others = [("/v1/compress?steps=3", pictures[0]), ("/v1/compress?steps=2", png(photo[..., :48]))]
    asked = [("/v1/compress?steps=2", pictures[0]), *others, ("/v1/compress?steps=2", pictures[1])]

    async def go():
        service, process = await held()
        app = httpx2.ASGITransport(make_app(service))
        async with httpx2.AsyncClient(transport=app, base_url="http://localhost") as client:
            first = asyncio.create_task(client.post("/v1/compress", content=pictures[0]))
            await until(lambda: process.works)
            rest = []
            for number, (path, body) in enumerate(asked, 1):
                rest.append(asyncio.create_task(client.post(path, content=body)))
                await until(lambda number=number: service.pool.waiting == number)
            process.hold.set()
            answers = await asyncio.gather(*rest)
            assert (await first).status_code == 200
        await service.pool.close()
        return answers, [len(work.folders) for work in process.works]

    answers, sizes = asyncio.run(go())
    assert sizes == [1, 2, 1, 1]
    reports = [json.loads(answer.headers["X-Taskodec-Report"]) for answer in answers]
    assert [report["together"] for report in reports] == [2, 1, 1, 2]
    overrides = ["codec=tiny", "quality=2", "ttft.steps=2", "task.lmbda=300"]
    expected = Compressor(load_settings(overrides=overrides), tiny_registry).compress_batch(pictures)
    assert [answers[0].content, answers[3].content] == [one.stream for one in expected]


@pytest.mark.parametrize("begun", [True, False])
def test_a_client_that_goes_away_leaves_nothing(held, photo, begun):
    async def go():
        service, process = await held()
        app, gone, sent = make_app(service), asyncio.Event(), []

        async def call(body, leaves):
            messages = [{"type": "http.request", "body": body}]

            async def receive():
                if messages:
                    return messages.pop()
                await leaves.wait()
                return {"type": "http.disconnect"}

            async def send(message):
                sent.append(message)

            scope = {"type": "http", "method": "POST", "path": "/v1/compress", "headers": [], "query_string": b""}
            await app(
                {**scope, "scheme": "http", "server": ("localhost", 80), "client": ("localhost", 1)}, receive, send
            )

        stays = asyncio.create_task(call(png(photo), gone if begun else asyncio.Event()))
        await until(lambda: process.works)
        leaves = asyncio.create_task(call(png(photo), gone)) if not begun else stays
        await until(lambda: begun or service.pool.waiting == 1)
        gone.set()
        await leaves
        assert sent[0]["status"] == 499
        assert len(list(service.folder.iterdir())) == (0 if begun else 1)
        process.hold.set()
        await stays
        await until(lambda: not service.pool.running)
        assert len(process.works) == 1
        assert not list(service.folder.iterdir())
        await service.pool.close()

    asyncio.run(go())


def test_a_full_queue_is_told_before_the_body_is_read(held, photo):
    async def go():
        service, process = await held("serve.queue=0")
        app = httpx2.ASGITransport(make_app(service))
        async with httpx2.AsyncClient(transport=app, base_url="http://localhost") as client:
            first = asyncio.create_task(client.post("/v1/compress", content=png(photo)))
            await until(lambda: process.works)

            async def body():
                raise AssertionError("read")
                yield b""

            answer = await client.post("/v1/compress", content=body())
            process.hold.set()
            assert (await first).status_code == 200
        await service.pool.close()
        return answer

    answer = asyncio.run(go())
    assert (answer.status_code, answer.json()["error"]["type"]) == (429, "BusyError")
    assert int(answer.headers["Retry-After"]) >= 1
