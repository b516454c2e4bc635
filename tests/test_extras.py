import subprocess
import sys
from pathlib import Path

import pytest

from taskodec.bench.plots import new_figure
from taskodec.bench.rd import pchip_bd_rate
from taskodec.errors import UsageError
from taskodec.evaluation.curves import monotone
from taskodec.extras import _NAMES, EXTRAS, missing, require
from taskodec.tasks.coco import CocoEvaluator

ROOT = Path(__file__).parents[1]


def test_what_is_here_is_not_missing():
    assert missing("encode") == ""
    require("encode", "reading pictures")


def test_one_absent_package_is_named_alone(without):
    without("onnxscript")
    assert missing("export") == "onnxscript is not installed: `pip install 'taskodec[export]'`"


@pytest.mark.parametrize("extra", sorted(EXTRAS.keys() - {"encode", "compressai"}))
def test_all_absent_packages_are_named(without, extra):
    without(*EXTRAS[extra])
    names, verb = ", ".join(_NAMES.get(name, name) for name in EXTRAS[extra]), "are" if len(EXTRAS[extra]) > 1 else "is"
    with pytest.raises(UsageError) as caught:
        require(extra, "the weather")
    assert str(caught.value) == (
        f"the weather cannot be used here: {names} {verb} not installed: `pip install 'taskodec[{extra}]'`"
    )


def test_the_runtime_has_its_own_extra(without):
    without("PIL")
    assert missing("encode") == "pillow is not installed: `pip install 'taskodec-runtime[encode]'`"


@pytest.mark.parametrize(
    ("version", "advice"),
    [
        ((3, 11, 4), "compressai is not installed: `pip install 'taskodec[compressai]'`"),
        ((3, 12, 0), "compressai is not installed: `pip install 'taskodec[compressai]'`"),
        (
            (3, 13, 0),
            "compressai is not installed, and has no wheels for this Python (3.13): use one before 3.13, and "
            "`pip install 'taskodec[compressai]'`",
        ),
        ((3, 14, 1), "has no wheels for this Python (3.14): use one before 3.13"),
    ],
)
def test_where_an_extra_brings_nothing_another_python_is_advised(without, monkeypatch, version, advice):
    without("compressai")
    monkeypatch.setattr(sys, "version_info", version)
    assert advice in missing("compressai")


@pytest.mark.parametrize(
    ("command", "extra"),
    [
        (["eval", "--task", "human"], "eval"),
        (["bench"], "eval"),
        (["bench", "--ttft"], "eval"),
        (["bench", "--determinism"], "export"),
        (["export", "--codec", "lite"], "export"),
    ],
)
def test_a_command_without_its_extra_says_so_before_it_begins(without, run, picture, tmp_path, command, extra):
    without(*EXTRAS[extra])
    data = [] if command[0] == "export" else ["--data", picture]
    code, out, err = run(*command, *data, "-o", tmp_path / "out")
    assert (code, out) == (2, "")
    assert f"not installed: `pip install 'taskodec[{extra}]'`" in err
    assert err.count("\n") == 1
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("package", "call"),
    [
        ("matplotlib", new_figure),
        ("bjontegaard", lambda: pchip_bd_rate([1, 2, 3, 4], [1, 2, 3, 4], [1, 2, 3, 4], [2, 3, 4, 5])),
        ("scipy", lambda: monotone([0.2, 0.1, 0.3], [2.0, 3.0, 1.0])),
        ("pycocotools", lambda: CocoEvaluator(lambda x: None)),
    ],
)
def test_calls_in_python_say_it_too(without, package, call):
    without(package)
    with pytest.raises(UsageError, match=rf"{package} is not installed: `pip install 'taskodec\[eval\]'`"):
        call()


def test_what_the_first_command_needs_is_no_extra(tmp_path):
    """`compress --task cls` and `decompress` import nothing that an extra brings."""
    code = (
        "import sys; from taskodec.cli.main import main\n"
        "def run(*call):\n"
        "    try: main(call)\n"
        "    except SystemExit as end: assert not end.code, end.code\n"
        "run('compress', 'docs/images/kodim23.png', '--task', 'cls', '--steps', '1', '--set', 'ttft.patch=128',"
        f" '-o', {str(tmp_path / 'a.tkd')!r}, '--quiet')\n"
        f"run('decompress', {str(tmp_path / 'a.tkd')!r}, '-o', {str(tmp_path / 'a.png')!r}, '--quiet')\n"
        "from taskodec.extras import EXTRAS\n"
        "optional = {name for names in EXTRAS.values() for name in names} - {'PIL'}\n"
        "print(sorted(optional & sys.modules.keys()))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=ROOT)
    assert done.stdout.strip() == "[]"
