"""node, on the modules of docs/demo."""

import json
import shutil
import subprocess
from pathlib import Path

import pytest

CHECKS = Path(__file__).with_name("checks.mjs")
OLDEST = 20


@pytest.fixture(scope="session")
def node():
    """A function from checks, each a name and its input, to what `checks.mjs` makes of them."""
    program = shutil.which("node")
    version = "v0" if program is None else subprocess.check_output([program, "--version"], text=True)
    if program is None or int(version.lstrip("v").partition(".")[0]) < OLDEST:
        pytest.skip(f"needs node {OLDEST} or later, found {version.strip() if program else 'none'}")

    def run(*checks):
        call = [program, str(CHECKS)]
        done = subprocess.run(call, input=json.dumps(checks), capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
        return json.loads(done.stdout)

    return run


@pytest.fixture(scope="session")
def values(node):
    """The same for checks that raise nothing."""

    def run(*checks):
        results = node(*checks)
        assert all("value" in result for result in results), results
        return [result["value"] for result in results]

    return run
