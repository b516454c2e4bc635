"""What files, plugins and settings are called reaches no terminal as commands."""

import json

from taskodec.hooks import registry


def compress(run, *arguments):
    return run("compress", *arguments, "--codec", "tiny", "--preset", "latents", "--steps", "2")


EVIL = "a\x1b[31m\u202e\nerror: b"
SHOWN = r"a\x1b[31m\u202e\nerror: b"


def test_names_of_files_reach_no_terminal_as_commands(run, picture, tmp_path):
    evil = picture.rename(picture.with_name(f"{EVIL}.png"))
    broken = picture.with_name(f"{EVIL}2.jpg")
    broken.write_bytes(b"no picture")
    code, out, err = compress(run, evil, broken, "-o", tmp_path / EVIL)
    assert code == 1
    stream = tmp_path / EVIL / f"{EVIL}.tkd"
    for text in (out, err):
        assert SHOWN in text
        assert "\x1b" not in text
        assert not any(line.startswith("error: b") for line in text.splitlines())
    for command in (["info"], ["decompress", "--set", f"task.options.x={EVIL}"], ["info", "--json"]):
        code, out, err = run(command[0], stream, *command[1:])
        assert "\x1b" not in out + err
    assert json.loads(run("info", "--json", stream)[1])["input"] == str(stream)


def test_names_of_plugins_and_their_errors_reach_no_terminal_as_commands(run, tmp_path):
    path = tmp_path / f"{EVIL}.py"
    path.write_text("raise RuntimeError('\\x1b[2J')")
    code, out, err = run("plugins", "--plugin", path)
    assert (code, out) == (2, "")
    assert r"RuntimeError: \x1b[2J" in err
    described = tmp_path / "fine.py"
    described.write_text(
        "from taskodec import TaskSpec, hookimpl\n"
        "@hookimpl\ndef register_tasks():\n    return [TaskSpec('mine', str, '\\x1b[31mred [bold]\\r')]\n"
    )
    code, out, err = run("plugins", "--plugin", described)
    assert code == 0
    assert r"\x1b[31mred [bold]\r" in out
    for text in (out, err):
        assert "\x1b" not in text
        assert "\r" not in text


def test_settings_that_name_something_reach_no_terminal_as_commands(run, tmp_path):
    path = tmp_path / "mine.yaml"
    path.write_text('codec: "\\x1b[31m"\n"\\x1b[2J": 1')
    code, out, err = run("config", "--config", path)
    assert (code, out) == (2, "")
    assert r"unknown key \x1b[2J" in err
    assert "\x1b" not in err


def test_what_plugins_say_of_themselves_breaks_no_line(run, tmp_path):
    """Owners, descriptions, licences and reasons are strangers' texts: each stays on the line it belongs to."""
    path = tmp_path / f"{EVIL}.py"
    about = repr(EVIL)
    path.write_text(
        "from taskodec import TaskSpec, WeightsFile, hookimpl\n"
        f"@hookimpl\ndef register_tasks():\n    return [TaskSpec('mine', str, {about}, unavailable={about})]\n"
        f"@hookimpl\ndef register_weights():\n    return [WeightsFile('w', url='https://x/w', description={about},"
        f" licence={about})]\n"
    )
    registry.default_registry().failures[EVIL] = EVIL
    for call in (["plugins"], ["models", "list", "w"]):
        code, out, err = run(*call, "--plugin", path)
        assert code == 0
        assert not any(line.startswith(("error", "  error")) for line in (out + err).splitlines())
        assert SHOWN in out
        assert "\x1b" not in out + err
