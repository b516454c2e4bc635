import logging

import pytest

from taskodec.console.logs import LEVELS, show_logs

TUNE = ("--codec", "tiny", "--preset", "latents", "--steps", "2", "--force")


@pytest.fixture(autouse=True)
def _as_before():
    logger = logging.getLogger("taskodec")
    before = logger.level, list(logger.handlers)
    yield
    logger.level, logger.handlers = before
    logger.manager._clear_cache()


def test_nothing_is_said_unless_it_is_asked_for(run, picture):
    assert run("compress", picture, *TUNE)[2] == ""


@pytest.mark.parametrize("options", [["-v"], ["--verbose"], ["--log-level", "info"], ["--log-level", "INFO"]])
def test_info_says_what_is_done_on_standard_error(run, picture, options):
    code, out, err = run("compress", picture, *TUNE, *options)
    assert code == 0
    assert "info taskodec.api.loading: codec tiny of tests, quality" in err
    assert "info taskodec.tuning.candidates: untuned: " in err
    assert "debug " not in err
    assert "info " not in out


def test_debug_says_how_before_or_after_the_command(run, picture):
    for call in (["-vv", "compress", picture, *TUNE], ["compress", picture, *TUNE, "-vv"]):
        err = run(*call)[2]
        assert "debug taskodec.tuning.pace: step 2 of 2" in err
        assert "debug taskodec.images.tensors: read a picture of 96x64 pixels" in err
        assert len([line for line in err.splitlines() if "untuned: " in line]) == 1  # once, however often it is set up
    err = run("decompress", picture.with_suffix(".tkd"), "--force", "--log-level", "info")[2]
    assert "info taskodec.coding.streams: decoding 96x64 pixels of tiny at quality" in err


def test_a_level_that_does_not_exist(run, picture):
    code, _, err = run("info", picture, "--log-level", "loud")
    assert code == 2
    assert f"--log-level loud does not exist; valid: {', '.join(LEVELS)}" in err


def test_names_in_logs_reach_no_terminal_as_commands(capsys):
    show_logs("debug")
    logging.getLogger("taskodec.files.downloads").info("downloading %s", "a\x1b[31m\nerror: b")
    err = capsys.readouterr().err
    assert err == "info taskodec.files.downloads: downloading a\\x1b[31m\n  error: b\n"
