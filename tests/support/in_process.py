"""A stand-in for a process of the service: it computes in this one, with the tiny codec."""

import asyncio

TINY = ["codec=tiny", "quality=2", "ttft.steps=0", "task.lmbda=300", "serve.codecs=[tiny, lite]"]


class Here:
    """Stands for a process: does its work in a thread of this one; `fails` are raised instead, one for each work."""

    start_timeout = 1.0

    def __init__(self, coders=None):
        self.coders, self.fails, self.works = coders, [], []
        self.alive, self.begun, self.problem = True, 0, ""
        self.hold = None

    async def begin(self):
        self.begun += 1
        self.alive = True
        return self.problem

    async def do(self, work, deadline):
        self.works.append(work)
        if self.hold is not None:
            await self.hold.wait()
        if self.fails and (error := self.fails.pop(0)) is not None:
            raise error
        return await asyncio.to_thread(self.coders.do, work)

    def kill(self):
        self.alive = False
