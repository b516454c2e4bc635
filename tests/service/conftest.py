"""A service without processes of its own: workers compute in this one, with the tiny codec."""

import contextlib

import pytest
from in_process import TINY, Here
from starlette.testclient import TestClient

from taskodec.service.app import make_app
from taskodec.service.options import settings_files
from taskodec.service.service import Service
from taskodec.service.worker import Coders
from taskodec.settings.model import load_settings


@pytest.fixture
def make_service(tiny_registry, tmp_path):
    """A function from settings to a `Service` with one process, which is `Here`."""

    def make(*overrides, process=None):
        folder = tmp_path / "jobs"
        folder.mkdir(exist_ok=True)
        files = settings_files([], [*TINY, *overrides], tmp_path)
        settings = load_settings(files)
        process = process or Here()
        process.coders = process.coders or Coders(settings, tiny_registry)
        return Service(settings, tiny_registry, [process], folder, files)

    return make


@pytest.fixture
def serving(make_service):
    """A function from settings to a client of a service, which has it as `service`."""
    with contextlib.ExitStack() as stack:

        def make(*overrides, token="", **options):
            service = make_service(*overrides, **options)
            client = TestClient(make_app(service, token), raise_server_exceptions=False)
            client.service = service
            return stack.enter_context(client)

        yield make
