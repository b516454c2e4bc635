"""The engine with work that takes no time; `tests/cli/test_ray.py` has the commands."""

import itertools
import os
import sys
import threading
from pathlib import Path

import pytest

from taskodec.engines.cluster import cluster
from taskodec.engines.ray_engine import RayEngine
from taskodec.engines.steps import Outcome, Step, Subject
from taskodec.errors import TaskodecError, UsageError
from taskodec.extras import missing
from taskodec.settings.ray import RaySettings
from taskodec.sources.entries import Entry

pytestmark = pytest.mark.skipif(bool(missing("ray")), reason=missing("ray"))

SETTINGS = RaySettings(workers=2, cpus=0.5)


@pytest.fixture(scope="module", autouse=True)
def local_cluster():
    """Started as by a command: what it is set by is read when Ray is first imported."""
    with cluster(None, SETTINGS):
        yield


@pytest.fixture
def make():
    """What workers do: twice what they are given, or something dreadful."""
    failure = Outcome(error="no", kind="ImageError")

    def made():
        def work(subjects, progress):
            for subject in subjects:
                kind, _, where = subject.entry.data.partition(b":")
                if kind == b"die" or (kind == b"once" and not os.path.exists(where)):  # noqa: PTH110 - goes alone
                    if where:
                        open(where, "w").close()  # noqa: PTH123
                    os.kill(os.getpid(), 9)
                if kind == b"bug":
                    raise RuntimeError("a bug")
            return [
                failure if subject.entry.data == b"bad" else Outcome({"pid": os.getpid()}, subject.entry.data * 2)
                for subject in subjects
            ]

        return work

    return made


def steps(*datas):
    return [Step([Subject(Entry(str(n), str(n), data=data), "", n)]) for n, data in enumerate(datas)]


def results(make, given, ordered=True, settings=SETTINGS):
    said = []
    found = list(RayEngine(make, settings, 100, said.append).results(iter(given), ordered))
    return {step.subjects[0].number: step.outcomes[0] for step in found}, [s.subjects[0].number for s in found], said


def test_results_come_back_in_order_or_as_they_are_made(make):
    given = [b"%d" % number for number in range(20)]
    for ordered in (True, False):
        found, order, said = results(make, steps(*given), ordered)
        assert [found[number].data for number in range(20)] == [data * 2 for data in given]
        assert order == list(range(20)) if ordered else sorted(order) == list(range(20))
        assert said == []
    assert len({outcome.report["pid"] for outcome in found.values()}) <= 2


def test_a_worker_that_dies_is_started_again_and_nothing_is_lost(make, tmp_path):
    """Also not what waited behind it; a step that always kills is given up, and a fault is an outcome."""
    once = f"once:{tmp_path / 'mark'}".encode()
    given = [b"a", b"b", once, b"c", b"die", b"d", b"bug", b"bad", *[b"e"] * 8]
    found, order, said = results(make, steps(*given))
    assert order == list(range(len(given)))
    lost = {number: outcome.error for number, outcome in found.items() if outcome.error}
    assert lost == {4: "the worker that worked on it died 3 times, perhaps for want of memory", 6: lost[6], 7: "no"}
    assert "a bug" in lost[6]
    assert found[4].kind == "WorkerDied"
    assert found[2].data == once * 2
    assert any("is started again" in line for line in said)


def test_a_stream_without_end_is_not_read_ahead(make):
    read = []

    def endless():
        for number in itertools.count():
            read.append(number)
            yield steps(*[b"x"] * (number + 1))[-1]

    stream = RayEngine(make, SETTINGS, 100).results(endless(), ordered=True)
    for _ in range(10):
        next(stream)
    assert len(read) <= 10 + 4 * 4
    stream.close()


def test_files_are_sent_and_those_that_cannot_be_read_are_outcomes(make, tmp_path):
    (tmp_path / "a").write_bytes(b"here")
    (tmp_path / "large").write_bytes(bytes(101))
    names = ["a", "none", "large", "a"]
    entries = [Entry(name, name, Path(tmp_path, name)) for name in names]
    together = Step([Subject(entry, "", number) for number, entry in enumerate(entries)])
    found = {}
    for step in RayEngine(make, SETTINGS, 100).results([together], ordered=False):
        found |= {s.number: outcome for s, outcome in zip(step.subjects, step.outcomes, strict=True)}
    assert (found[0].data, found[3].data) == (b"herehere", b"herehere")
    assert "No such file" in found[1].error
    assert "more than 100 bytes" in found[2].error


def test_what_is_wrong_on_every_worker_ends_the_run():
    def made():
        from taskodec.errors import WeightsError

        raise WeightsError("no weights")

    with pytest.raises(Exception, match="on a worker: no weights") as caught:
        results(made, steps(b"a"))
    assert type(caught.value).__name__ == "WeightsError"


def test_workers_that_die_while_they_load_are_not_started_for_ever():
    def made():
        os.kill(os.getpid(), 9)

    with pytest.raises(TaskodecError, match="no worker could be started, perhaps for want of memory"):
        results(made, steps(b"a"))


def test_workers_that_fit_nowhere_are_refused(make):
    with pytest.raises(UsageError, match="no machine of the cluster has 64 CPUs and 0 GPUs"):
        RayEngine(make, RaySettings(cpus=64), 100)


def test_what_is_started_listens_to_this_machine_alone():
    import ray

    assert [node["NodeManagerAddress"] for node in ray.nodes()] == ["127.0.0.1"]


def test_what_ray_says_is_kept_off_standard_output(monkeypatch, capsys):
    import ray

    monkeypatch.setattr(ray, "init", lambda **options: None)
    monkeypatch.setattr(ray, "shutdown", lambda: None)
    with cluster(None, SETTINGS):
        thread = threading.Thread(target=lambda: print("(raylet) a worker died"), name="ray_listen_error_messages")
        thread.start()
        thread.join()
        print("a result")
    assert capsys.readouterr().out == "a result\n"
    assert not hasattr(sys.stdout, "_stream")


def test_a_cluster_that_is_not_there(monkeypatch):
    import ray

    def refuse(**options):
        raise ConnectionError("nobody answers\nat all")

    monkeypatch.setattr(ray, "init", refuse)
    message = "no Ray cluster at 127.0.0.1:1, or none for this token: nobody answers; start one with `ray start --head`"
    with pytest.raises(UsageError, match=message), cluster("127.0.0.1:1", SETTINGS):
        pass


def test_without_ray_the_extra_is_named(without):
    without("ray")
    with (
        pytest.raises(UsageError, match=r"ray is not installed: `pip install 'taskodec\[ray\]'`"),
        cluster(None, SETTINGS),
    ):
        pass


def test_large_arrays_lie_once_on_a_machine_and_workers_read_them_there():
    import numpy as np

    large = np.arange(10**6)

    def made():
        def work(subjects, progress):
            return [Outcome({"last": int(large[-1]), "own": large.flags.owndata, "pid": os.getpid()}) for _ in subjects]

        return work

    found, _, _ = results(made, steps(*[b"x"] * 8))
    assert {(outcome.report["last"], outcome.report["own"]) for outcome in found.values()} == {(10**6 - 1, False)}
