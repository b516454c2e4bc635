import sys

import pytest

from taskodec.errors import UsageError
from taskodec.extras import EXTRAS, missing, require


def test_what_is_here_is_not_missing():
    assert missing("encode") == ""
    require("encode", "reading pictures")


def test_one_absent_package_is_named_alone(without):
    without("onnxscript")
    assert missing("export") == "onnxscript is not installed: `pip install 'taskodec[export]'`"


@pytest.mark.parametrize("extra", sorted(EXTRAS.keys() - {"encode", "compressai"}))
def test_all_absent_packages_are_named(without, extra):
    without(*EXTRAS[extra])
    names = ", ".join(EXTRAS[extra])
    with pytest.raises(UsageError) as caught:
        require(extra, "the weather")
    assert str(caught.value) == (
        f"the weather cannot be used here: {names} are not installed: `pip install 'taskodec[{extra}]'`"
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
