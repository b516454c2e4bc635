"""Jobs and processes, with processes that do what a test says; nothing here waits by the clock."""

import asyncio
from pathlib import Path

import pytest

from taskodec.service import errors
from taskodec.service.metrics import Metrics
from taskodec.service.pool import Job, Pool
from taskodec.service.process import Died, Overdue
from taskodec.service.work import Done, Failed
from taskodec.settings.model import Settings
from taskodec.settings.serve import ServeSettings


class Scripted:
    """A process that answers with the names of folders, once it is let; of some it dies, of others it hangs."""

    start_timeout = 1.0

    def __init__(self):
        self.let, self.works, self.begun = asyncio.Event(), [], 0
        self.alive, self.problems = False, []
        self.let.set()

    async def begin(self):
        self.begun += 1
        self.alive = True
        return self.problems.pop(0) if self.problems else ""

    async def do(self, work, deadline):
        names = [folder.name for folder in work.folders]
        self.works.append(names)
        await self.let.wait()
        if not self.alive:
            raise Died(begun=False)
        if any("die" in name for name in names):
            raise Died
        if any("hang" in name for name in names):
            raise Overdue
        return [Failed("ImageError", name) if "bad" in name else Done({"name": name}) for name in names]

    def kill(self):
        self.alive = False


def pool_of(*processes, **settings):
    return Pool(processes, ServeSettings(**settings), ["lite"], Metrics())


def job(name, key=None, pixels=1):
    return Job(Path(name), Settings(), asyncio.get_running_loop().time(), key=key, pixels=pixels)


async def until(condition):
    """Let others run until it holds."""
    while not condition():
        await asyncio.sleep(0)


async def outcomes(pool, *jobs):
    return await asyncio.gather(*(pool.run(one) for one in jobs), return_exceptions=True)


def kinds(found):
    return [one["name"] if isinstance(one, dict) else type(one).__name__ for one in found]


def test_jobs_are_done_in_turn_by_whoever_is_free():
    async def go():
        first, second = Scripted(), Scripted()
        pool = pool_of(first, second)
        await pool.begin()
        found = await outcomes(pool, *(job(f"j{number}") for number in range(6)))
        assert kinds(found) == [f"j{number}" for number in range(6)]
        assert sorted(first.works + second.works) == [[f"j{number}"] for number in range(6)]
        await pool.close()
        assert not first.alive
        assert not second.alive

    asyncio.run(go())


def test_what_is_lost_with_a_process_is_told_and_another_one_takes_over():
    async def go():
        process = Scripted()
        pool = pool_of(process)
        await pool.begin()
        found = await outcomes(pool, job("a"), job("die"), job("b"), job("hang"), job("bad"), job("c"))
        assert kinds(found) == ["a", "WorkerDiedError", "b", "WorkTimeoutError", "FailedError", "c"]
        assert process.begun == 3
        assert found[4].kind == "ImageError"
        assert found[4].status == 422
        await pool.close()

    asyncio.run(go())


def test_a_job_that_a_dead_process_never_began_goes_to_the_next():
    async def go():
        process = Scripted()
        pool = pool_of(process)
        await pool.begin()
        process.alive = False  # killed while it had nothing to do
        assert kinds(await outcomes(pool, job("a"))) == ["a"]
        assert process.begun == 2
        await pool.close()

    asyncio.run(go())


def test_the_queue_has_an_end():
    async def go():
        process = Scripted()
        process.let.clear()
        pool = pool_of(process, queue=2)
        await pool.begin()
        running = [asyncio.create_task(pool.run(job("j0")))]
        await until(lambda: process.works)
        running += [asyncio.create_task(pool.run(job(f"j{number}"))) for number in (1, 2)]
        await until(lambda: pool.waiting == 2)
        with pytest.raises(errors.BusyError, match="2 requests wait") as caught:
            await pool.run(job("j3"))
        assert int(caught.value.headers["Retry-After"]) >= 1
        process.let.set()
        assert kinds(await asyncio.gather(*running)) == ["j0", "j1", "j2"]
        await pool.close()

    asyncio.run(go())


def test_a_job_that_waits_too_long_is_told_so_and_costs_no_process():
    async def go():
        process = Scripted()
        process.let.clear()
        pool = pool_of(process, queue_timeout=1e-9)
        await pool.begin()
        first = asyncio.create_task(pool.run(job("j0")))
        await until(lambda: process.works)
        with pytest.raises(errors.BusyError, match="queue_timeout"):
            await pool.run(job("j1"))
        process.let.set()
        assert (await first)["name"] == "j0"
        assert process.begun == 1
        await pool.close()

    asyncio.run(go())


def test_jobs_whose_client_has_gone_are_left_out():
    async def go():
        process = Scripted()
        process.let.clear()
        pool = pool_of(process)
        await pool.begin()
        tasks = [asyncio.create_task(pool.run(job(f"j{number}"))) for number in range(3)]
        await until(lambda: process.works and pool.waiting == 2)
        tasks[1].cancel()
        process.let.set()
        found = await asyncio.gather(*tasks, return_exceptions=True)
        assert kinds(found) == ["j0", "CancelledError", "j2"]
        assert process.works == [["j0"], ["j2"]]
        await pool.close()

    asyncio.run(go())


def waiting_together(names, **settings):
    """What becomes of jobs that wait while a first one runs, all of one key, and how they were done."""

    async def go():
        process = Scripted()
        process.let.clear()
        pool = pool_of(process, **settings)
        await pool.begin()
        first = asyncio.create_task(pool.run(job("first")))
        await until(lambda: process.works)
        rest = asyncio.create_task(outcomes(pool, *(job(name, name.rstrip("0123456789"), 100) for name in names)))
        await until(lambda: pool.waiting == len(names))
        process.let.set()
        found = kinds(await rest)
        await first
        await pool.close()
        return found, process.works[1:]

    return asyncio.run(go())


def test_jobs_of_one_key_that_wait_are_done_together():
    found, works = waiting_together(["a1", "b1", "a2", "a3", "b2", "a4"], batch=3)
    assert found == ["a1", "b1", "a2", "a3", "b2", "a4"]
    assert works == [["a1", "a2", "a3"], ["b1", "b2"], ["a4"]]


def test_groups_have_a_limit_of_pixels():
    assert waiting_together(["a1", "a2", "a3"], batch_pixels=250)[1] == [["a1", "a2"], ["a3"]]
    assert waiting_together(["a1", "a2"], batch_pixels=50)[1] == [["a1"], ["a2"]]
    assert waiting_together(["a1", "a2"], batch=1)[1] == [["a1"], ["a2"]]


@pytest.mark.parametrize(("fault", "kind"), [("die", "WorkerDiedError"), ("hang", "WorkTimeoutError")])
def test_one_of_a_group_takes_no_other_along(fault, kind):
    found, works = waiting_together(["a1", "a2", fault, "a3"], batch=8)
    assert found == ["a1", "a2", kind, "a3"]
    found, works = waiting_together([f"{fault}1", f"{fault}2", f"{fault}3"], batch=8)
    assert found == [kind] * 3
    assert works == [[f"{fault}1", f"{fault}2", f"{fault}3"], [f"{fault}1"], [f"{fault}2"], [f"{fault}3"]]


def test_a_stop_finishes_what_there_is_and_takes_nothing_new():
    async def go():
        process = Scripted()
        process.let.clear()
        pool = pool_of(process)
        await pool.begin()
        tasks = [asyncio.create_task(pool.run(job(f"j{number}"))) for number in range(2)]
        await until(lambda: process.works and pool.waiting)
        pool.stop(1000)
        with pytest.raises(errors.StoppingError, match="being stopped"):
            await pool.run(job("late"))
        process.let.set()
        assert kinds(await asyncio.gather(*tasks)) == ["j0", "j1"]
        await pool.close()

    asyncio.run(go())


def test_a_stop_gives_up_what_takes_too_long():
    async def go():
        process = Scripted()
        process.let.clear()
        pool = pool_of(process)
        await pool.begin()
        tasks = [asyncio.create_task(pool.run(job(f"j{number}"))) for number in range(2)]
        await until(lambda: process.works and pool.waiting)
        pool.stop(0)
        assert kinds(await asyncio.gather(*tasks, return_exceptions=True)) == ["StoppingError"] * 2
        await pool.close()
        assert not process.alive

    asyncio.run(go())


def test_a_process_that_cannot_start_is_tried_again(monkeypatch):
    monkeypatch.setattr("taskodec.service.pool.FIRST_PAUSE", 0)

    async def go():
        process = Scripted()
        process.problems = ["no weights", "no weights"]
        pool = pool_of(process)
        await pool.begin()
        assert pool.problem == "no weights"
        assert kinds(await outcomes(pool, job("a"))) == ["a"]
        assert (process.begun, pool.problem) == (3, "")
        await pool.close()

    asyncio.run(go())
