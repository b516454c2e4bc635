"""The requests of `scripts/serve_load.py`: good ones, whose answers are known, and hostile ones."""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import io
import json
import random
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import httpx2
import numpy as np
from PIL import Image

from taskodec.api.compressor import Compressor
from taskodec.api.decompressor import Decompressor
from taskodec.settings.model import load_settings
from taskodec.stream.about import about_stream

__all__ = ["HOSTILE", "PLUGIN", "Client", "Good", "Seen", "known_answers"]

PLUGIN = '''"""Tasks that do what no task should."""

import os
import signal
import time

from taskodec import TaskSpec, hookimpl


def hang(x_hat, x):
    while True:
        time.sleep(60)


def die(x_hat, x):
    os.kill(os.getpid(), signal.SIGKILL)


def task(loss):
    from taskodec.contracts import FunctionTask  # which imports PyTorch: the server itself needs none

    return FunctionTask(loss.__name__, loss)


@hookimpl
def register_tasks():
    return [
        TaskSpec("hang", lambda: task(hang), "hangs"),
        TaskSpec("die", lambda: task(die), "kills its process"),
    ]
'''

SIZES = ((32, 32), (48, 80), (64, 64), (1, 1), (96, 128), (160, 160))
QUALITIES = (1.0, 3.0, 5.5)
FORMATS = {"png": "PNG", "webp": "WEBP", "ppm": "PPM"}


@dataclass(frozen=True)
class Seen:
    """What became of a request: `problem` says what is wrong with the answer, if anything is."""

    kind: str
    status: int
    seconds: float
    problem: str = ""


@dataclass(frozen=True)
class Good:
    """A request, and the SHA-256 of what must come back."""

    kind: str
    path: str
    body: bytes
    expected: str
    form: bool = False


def known_answers(picture: Path, steps: int) -> list[Good]:
    """Requests with answers that are computed here, one after the other, by the library alone."""
    with Image.open(picture) as opened:
        whole = opened.convert("RGB")
    decompressor, found = Decompressor(), []
    for number, (height, width) in enumerate(SIZES):
        piece = whole.crop((40 * number, 30 * number, 40 * number + width, 30 * number + height))
        for quality in QUALITIES:
            tuned = steps if (height, width) in SIZES[:2] and quality == QUALITIES[1] else 0
            compressor = Compressor(load_settings(flags={"quality": quality, "ttft.steps": tuned}))
            sent = _encoded(piece, "PNG" if number % 2 else "JPEG")
            stream = compressor.compress(sent).stream
            options = f"quality={quality:g}&steps={tuned}"
            name = "compress, tuned" if tuned else "compress"
            found.append(Good(name, f"/v1/compress?{options}", sent, _digest(stream)))
            found.append(Good(f"{name}, form", f"/v1/compress?{options}", sent, _digest(stream), form=True))
            pixels = _digest(np.asarray(decompressor.decompress(stream)).tobytes())
            form = list(FORMATS)[number % len(FORMATS)]
            found += 2 * [Good("decompress", f"/v1/decompress?format={form}", stream, pixels)]
            found.append(Good("info", "/v1/info", stream, _digest(json.dumps(about_stream(stream)).encode())))
    return found


def _encoded(piece: Image.Image, form: str) -> bytes:
    buffer = io.BytesIO()
    piece.save(buffer, form, **({"quality": 92} if form == "JPEG" else {}))
    return buffer.getvalue()


def _digest(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


class Client:
    """Sends requests to a server on this machine."""

    def __init__(self, http: httpx2.AsyncClient, port: int, rng: random.Random, patience: float) -> None:
        self.http, self.port, self.rng, self.patience = http, port, rng, patience

    async def good(self, one: Good) -> Seen:
        """A request whose answer is known."""
        begun = time.perf_counter()
        sent = {"files": {"picture": ("p", one.body)}} if one.form else {"content": one.body}
        answer = await self.http.post(one.path, **sent)
        seconds = time.perf_counter() - begun
        problem = ""
        if answer.status_code == 200 and _digest(_content(one.kind, answer)) != one.expected:
            problem = "another answer than alone"
        elif answer.status_code != 200:
            problem = _json_problem(answer.status_code, answer.content)
        return Seen(one.kind, answer.status_code, seconds, problem)

    async def post(self, kind: str, path: str, body: bytes, expected: Sequence[int]) -> Seen:
        """A request that must get one of these statuses, with a body that says why."""
        begun = time.perf_counter()
        answer = await self.http.post(path, content=body)
        problem = _json_problem(answer.status_code, answer.content)
        if answer.status_code not in expected:
            problem = f"{answer.status_code} {answer.content[:200]!r}, expected {expected}"
        return Seen(kind, answer.status_code, time.perf_counter() - begun, problem)

    async def raw(
        self, kind: str, parts: Sequence[bytes], pause: float, expected: Sequence[int], *, cut: bool = False
    ) -> Seen:
        """Bytes as they are, with pauses between; then the answer, or the connection is cut without waiting for one."""
        begun = time.perf_counter()
        reader, writer = await asyncio.open_connection("127.0.0.1", self.port)
        answer = b""
        try:
            for part in parts:
                writer.write(part)
                await writer.drain()
                await asyncio.sleep(pause)
            if not cut:
                answer = await asyncio.wait_for(reader.read(65536), self.patience)
        except (ConnectionError, TimeoutError):
            with contextlib.suppress(ConnectionError, TimeoutError):
                answer = answer or await asyncio.wait_for(reader.read(65536), 1)
        finally:
            writer.close()
            with contextlib.suppress(ConnectionError):
                await writer.wait_closed()
        if cut:
            return Seen(kind, 0, 0.0)
        status = int(answer[9:12]) if answer.startswith(b"HTTP/1.1 ") else 0
        problem = "" if status in expected else f"{answer[:200]!r}, expected {expected}"
        return Seen(kind, status, time.perf_counter() - begun, problem)


def _content(kind: str, answer: httpx2.Response) -> bytes:
    if kind == "info":
        return json.dumps(answer.json()).encode()
    if kind == "decompress":
        with Image.open(io.BytesIO(answer.content)) as opened:
            return np.asarray(opened.convert("RGB")).tobytes()
    return answer.content


def _json_problem(status: int, content: bytes) -> str:
    try:
        error = json.loads(content)["error"]
        fine = error["status"] == status and error["type"] and error["message"] and error["request_id"]
    except (ValueError, KeyError, TypeError):
        fine = False
    return "" if fine else f"{status} without a JSON body that says why: {content[:200]!r}"


Hostile = Callable[[Client, Good, Good], "asyncio.Future[Seen]"]

BUSY = (429,)


def _head(path: str, length: int | str, more: str = "") -> bytes:
    return f"POST {path} HTTP/1.1\r\nHost: localhost\r\nContent-Length: {length}\r\n{more}\r\n".encode()


async def truncated(client: Client, picture: Good, _stream: Good) -> Seen:
    """A picture that ends early."""
    end = client.rng.randrange(1, max(2, len(picture.body) - 40))
    return await client.post("truncated picture", "/v1/compress", picture.body[:end], (200, 422, *BUSY))


async def noise(client: Client, _picture: Good, _stream: Good) -> Seen:
    """Random bytes."""
    path = client.rng.choice(["/v1/compress", "/v1/decompress", "/v1/info"])
    return await client.post("random bytes", path, client.rng.randbytes(client.rng.randrange(1, 4000)), (422, *BUSY))


async def other_type(client: Client, picture: Good, stream: Good) -> Seen:
    """A stream for a picture, and the other way round, or nothing."""
    path, body = client.rng.choice(
        [("/v1/compress", stream.body), ("/v1/decompress", picture.body), ("/v1/compress", b"")]
    )
    return await client.post("wrong type", path, body, (400, 422, *BUSY))


async def damaged(client: Client, _picture: Good, stream: Good) -> Seen:
    """A stream with one byte changed."""
    data = bytearray(stream.body)
    data[client.rng.randrange(len(data))] ^= 1 << client.rng.randrange(8)
    return await client.post("damaged stream", "/v1/decompress", bytes(data), (422, *BUSY))


async def wrong_options(client: Client, picture: Good, _stream: Good) -> Seen:
    """Options that do not exist, or are not allowed: files and code among them."""
    wrong = ["task=/tmp/evil.py:loss", "task=cls2", "quality=nan", "quality=99", "steps=-1", "steps=999999"]
    wrong += ["codec=../x", "codec.checkpoint=/etc/passwd", "adapter=/tmp/a.safetensors", "config=x.yaml", "seed=x"]
    return await client.post(
        "wrong options", f"/v1/compress?{client.rng.choice(wrong)}", picture.body, (400, 403, *BUSY)
    )


async def ten_gigabytes(client: Client, _picture: Good, _stream: Good) -> Seen:
    """A header that promises ten gigabytes."""
    head = _head("/v1/compress", client.rng.choice([10**10, 10**30]))
    return await client.raw("10 GB promised", [head, b"x" * 1000], 0, (400, 413))


async def endless(client: Client, _picture: Good, _stream: Good) -> Seen:
    """A body in chunks that goes beyond the limit without saying so before."""
    head = b"POST /v1/compress HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n"
    block = b"10000\r\n" + bytes(2**16) + b"\r\n"
    return await client.raw("endless body", [head, *([block] * 40)], 0, (413, *BUSY))


async def slow(client: Client, picture: Good, _stream: Good) -> Seen:
    """A client that sends a few bytes a second."""
    head = _head("/v1/compress", len(picture.body))
    return await client.raw("slow client", [head, *(b"x" for _ in range(12))], 0.4, (408, *BUSY))


async def cut_upload(client: Client, picture: Good, _stream: Good) -> Seen:
    """A client that goes away while it sends."""
    head = _head("/v1/compress", len(picture.body))
    return await client.raw("cut while sending", [head, picture.body[:50]], 0.01, (), cut=True)


async def cut_wait(client: Client, picture: Good, _stream: Good) -> Seen:
    """A client that goes away while it waits."""
    head = _head("/v1/compress?steps=4", len(picture.body))
    return await client.raw("cut while waiting", [head, picture.body], 0.05, (), cut=True)


async def no_http(client: Client, _picture: Good, _stream: Good) -> Seen:
    """What is no HTTP."""
    return await client.raw("no HTTP", [client.rng.randbytes(60) + b"\r\n\r\n"], 0, (400,))


async def hanging_task(client: Client, picture: Good, _stream: Good) -> Seen:
    """A task that never ends."""
    return await client.post("task that hangs", "/v1/compress?task=hang&steps=1", picture.body, (504, 502, *BUSY))


async def killing_task(client: Client, picture: Good, _stream: Good) -> Seen:
    """A task that kills its process."""
    return await client.post("task that kills", "/v1/compress?task=die&steps=1", picture.body, (502, *BUSY))


HOSTILE = {
    **dict.fromkeys((truncated, noise, other_type, damaged, wrong_options, ten_gigabytes), 30),
    **dict.fromkeys((cut_upload, cut_wait, no_http), 20),
    endless: 4,
    slow: 4,
    hanging_task: 3,
    killing_task: 3,
}
"""Hostile requests, and how often each comes."""
