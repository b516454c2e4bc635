import re
import subprocess
import sys
from pathlib import Path

SCRIPT = Path(__file__).parents[1] / "scripts" / "startup.py"
LINE = r"^(.+): \d+\.\d{3} s, \d+\.\d{3} s of the CPU, medians of 1(  above [\d.]+ s)?$"


def test_the_command_and_the_import_are_timed_in_new_processes():
    """The exit code is that of the bounds, which a busy machine may miss."""
    done = subprocess.run([sys.executable, SCRIPT, "--runs", "1"], capture_output=True, text=True, check=False)
    lines = re.findall(LINE, done.stdout, re.MULTILINE)
    assert [name for name, _ in lines] == ["taskodec --help", "import taskodec"]
    assert done.returncode == int(any(above for _, above in lines)), done.stderr
