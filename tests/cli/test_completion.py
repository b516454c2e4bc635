"""Completion as a shell asks for it: through the environment."""

import os
import shutil
import subprocess
import sys

import pytest

COMMAND = "from taskodec.cli.main import main\nmain()"
WITHOUT_TORCH = """
import sys
from taskodec.cli.main import main
try:
    main()
finally:
    assert "torch" not in sys.modules
"""


def asked(words, shell="bash"):
    """What a shell is offered for the last of these words."""
    if shell == "bash":
        given = {"COMP_WORDS": "\n".join(words), "COMP_CWORD": str(len(words) - 1)}
    else:
        given = {"_TYPER_COMPLETE_ARGS": " ".join(words)}
    environment = {**os.environ, **given, "_TASKODEC_COMPLETE": f"complete_{shell}"}
    call = [sys.executable, "-c", WITHOUT_TORCH]
    done = subprocess.run(call, env=environment, capture_output=True, text=True, check=False)
    assert done.stderr == ""
    return done.stdout


@pytest.mark.parametrize(
    ("words", "offered"),
    [
        (["taskodec", "de"], ["decompress", "demo"]),
        (["taskodec", "compress", "--task", "c"], ["cls"]),
        (["taskodec", "compress", "--codec", "li"], ["lite"]),
        (["taskodec", "compress", "--adapter", "lite-h"], ["lite-human"]),
        (["taskodec", "compress", "--preset", "th"], ["thorough"]),
        (["taskodec", "models", "fetch", "yolox"], ["yolox_nano"]),
        (["taskodec", "compress", "--skip"], ["--skip-existing"]),
        (["taskodec", "compress", "--task", "tasks.py:"], []),
    ],
)
def test_commands_options_and_names_are_offered_without_torch(words, offered):
    assert asked(words).split() == offered


def test_zsh_is_told_what_names_mean():
    out = asked(["taskodec", "compress", "--task", "hum"], "zsh")
    assert '"human":"fidelity for the eye' in out
    assert "\x1b" not in out


@pytest.mark.skipif(shutil.which("bash") is None, reason="there is no bash")
def test_bash_takes_the_script():
    environment = {**os.environ, "_TYPER_COMPLETE_TEST_DISABLE_SHELL_DETECTION": "1"}
    call = [sys.executable, "-c", COMMAND, "--show-completion", "bash"]
    script = subprocess.run(call, env=environment, capture_output=True, text=True, check=True).stdout
    bash = ["bash", "--norc", "-c", f"{script}\ncomplete -p taskodec"]
    done = subprocess.run(bash, capture_output=True, text=True, check=True)
    assert done.stdout.split()[-1] == "taskodec"
