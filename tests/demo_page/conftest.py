"""The page without a process of its own: its worker computes in this one, with the tiny codec."""

import contextlib
import json

import pytest
from in_process import TINY, Here
from starlette.testclient import TestClient

from taskodec.demo.app import make_app
from taskodec.demo.guard import HEADER
from taskodec.demo.worker import Studies
from taskodec.service.options import settings_files
from taskodec.service.service import Service
from taskodec.settings.model import load_settings

LOSS = "import torch\n\n\ndef loss(x_hat, x):\n    return (x_hat.diff(dim=-1) - x.diff(dim=-1)).square().mean()\n"


@pytest.fixture
def edges(tmp_path):
    """A file with a loss, as `FILE.py:OBJ`."""
    (tmp_path / "my_edges.py").write_text(LOSS)
    return f"{tmp_path / 'my_edges.py'}:loss"


@pytest.fixture
def make_demo(tiny_registry, tmp_path, edges):
    """A function from settings to a `Service` for the page, whose one process is `Here`."""

    def make(*overrides):
        folder = tmp_path / "jobs"
        folder.mkdir(exist_ok=True)
        fixed = ["serve.queue=1", "serve.workers=1", "serve.batch=1", "serve.timeout=600"]
        files = settings_files([], [*TINY, *fixed, *overrides], tmp_path)
        settings = load_settings(files)
        process = Here(Studies(settings, tiny_registry))
        own = {"my_edges.py:loss": edges}
        return Service(settings, tiny_registry, [process], folder, files, own_tasks=own, frank=True)

    return make


class Client:
    """The page's side of the protocol."""

    def __init__(self, client, service):
        self.http, self.service = client, service
        (self.process,) = service.pool.processes

    def begin(self, body=b"", **options):
        """Ask for a run: the answer."""
        return self.http.post("/runs", params=options, content=body, headers=dict([HEADER]))

    def states(self, answer):
        """All that is told of a run, to its end."""
        assert answer.status_code == 202, answer.text
        text = self.http.get(f"/runs/{answer.json()['id']}/events").text
        return [json.loads(part.removeprefix("data: ")) for part in text.split("\n\n") if part.startswith("data: ")]

    def end(self, body=b"", **options):
        """The last state of a run."""
        return self.states(self.begin(body, **options))[-1]

    def file(self, state, name):
        """A file of a run."""
        return self.http.get(f"/runs/{state['id']}/{name}")

    def cancel(self, number):
        """Cancel a run."""
        return self.http.delete(f"/runs/{number}", headers=dict([HEADER]))


@pytest.fixture
def page(make_demo):
    """A function from settings to a `Client` of the page."""
    with contextlib.ExitStack() as stack:

        def make(*overrides):
            service = make_demo(*overrides)
            client = TestClient(make_app(service, "human"), "http://127.0.0.1:8001", raise_server_exceptions=False)
            return Client(stack.enter_context(client), service)

        yield make
