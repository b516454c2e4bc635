import json

from taskodec.files.runs import KEPT, RUN, environment, is_run, note_call, runs_of


def test_calls_are_kept_the_last_at_the_end(tmp_path, monkeypatch):
    for number in range(KEPT + 3):
        monkeypatch.setattr("sys.argv", ["taskodec", "eval", str(number)])
        note_call(tmp_path, {"quality": number})
    calls = runs_of(tmp_path)
    assert len(calls) == KEPT
    assert calls[-1]["command"] == ["taskodec", "eval", str(KEPT + 2)]
    assert calls[-1]["settings"] == {"quality": KEPT + 2}
    assert calls[-1]["environment"]["python"]


def test_notes_that_cannot_be_read_are_none(tmp_path):
    for text in ("", "[]", '{"calls": 3}', '{"calls": [1, {"command": 2}]}', "\x00"):
        (tmp_path / RUN).write_text(text)
        assert runs_of(tmp_path) == ([{"command": 2}] if "2" in text else [])
    note_call(tmp_path, {})
    assert json.loads((tmp_path / RUN).read_text())["calls"]


def test_a_run_is_known_by_its_files(tmp_path):
    assert not is_run(tmp_path)
    assert not is_run(tmp_path / "missing")
    (tmp_path / "rows.jsonl").touch()
    assert is_run(tmp_path)
    assert not is_run(tmp_path / "rows.jsonl")


def test_the_environment_is_text():
    assert all(isinstance(value, str) and value for value in environment().values())
