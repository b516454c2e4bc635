import pytest

from taskodec.errors import SettingsError, UsageError
from taskodec.service.errors import NotAllowedError
from taskodec.service.options import Allowed, CompressOptions, RequestSettings, settings_files


@pytest.fixture
def settings_of(tmp_path, tiny_registry):
    """A function from the server's files and overrides, and options, to the settings of a request."""

    def make(files, overrides, **options):
        kept = settings_files(files, overrides, tmp_path)
        codecs, tasks = (Allowed(kind, None, shelf) for kind, shelf in shelves(tiny_registry))
        return RequestSettings(kept, codecs, tasks).of(CompressOptions(**options))

    return make


def shelves(registry):
    return (("codec", registry.codecs), ("task", registry.tasks))


def test_requests_set_theirs_on_top_of_the_servers(settings_of, tmp_path):
    config = tmp_path / "mine.yaml"
    config.write_text("quality: 2\ntask: {name: cls, lmbda: 5}\nserve: {max_steps: 9}\n")
    overrides = ["ttft.steps=3", "quality=4"]
    plain = settings_of([config], overrides)
    assert (plain.quality, plain.task.name, plain.task.lmbda, plain.ttft.steps) == (4, "cls", 5, 3)
    own = settings_of([config], overrides, quality=1.5, steps=0, task="cls", codec="tiny")
    assert (own.quality, own.ttft.steps, own.task.lmbda, own.codec.name) == (1.5, 0, 5, "tiny")
    assert settings_of([config], overrides, task="human").task.lmbda is None
    with pytest.raises(UsageError, match="10 steps: this server allows 9"):
        settings_of([config], overrides, steps=10)
    with pytest.raises(UsageError, match="this server allows 9"):
        settings_of([config], [], preset="thorough")


def test_presets_of_the_package_are_files_too(settings_of):
    assert settings_of(["taskodec:paper/cls-closed"], [], steps=1).ttft.preset == "paper"


def test_later_changes_of_a_file_mix_with_nothing(tmp_path, tiny_registry):
    config = tmp_path / "mine.yaml"
    config.write_text("quality: 2\n")
    (tmp_path / "kept").mkdir()
    kept = settings_files([config], [], tmp_path / "kept")
    codecs, tasks = (Allowed(kind, None, shelf) for kind, shelf in shelves(tiny_registry))
    requests = RequestSettings(kept, codecs, tasks)
    config.write_text("quality: no number\n")
    assert requests.of(CompressOptions(steps=1)).quality == 2
    with pytest.raises(SettingsError, match="cannot read configuration"):
        settings_files([tmp_path / "none.yaml"], [], tmp_path)


def test_names_that_may_be_used_must_exist(tiny_registry):
    with pytest.raises(UsageError, match="did you mean 'human'"):
        Allowed("task", ["humna"], tiny_registry.tasks)
    allowed = Allowed("task", ["human"], tiny_registry.tasks)
    assert allowed.meant("human") == "human"
    for other in ("cls", "loss.py:loss", "", "\x1b[2J"):
        with pytest.raises(NotAllowedError, match="valid: human") as caught:
            allowed.meant(other)
        assert "\x1b" not in str(caught.value)


def test_own_names_stand_for_something_else(tiny_registry):
    allowed = Allowed("task", None, tiny_registry.tasks, {"mine.py:loss": "/there/mine.py:loss"})
    assert allowed.names[0] == "mine.py:loss"
    assert allowed.meant("mine.py:loss") == "/there/mine.py:loss"
    assert allowed.meant("human") == "human"
    with pytest.raises(NotAllowedError, match=r"valid: mine\.py:loss, "):
        allowed.meant("/there/mine.py:loss")


def test_a_request_may_name_several_tasks_that_are_allowed(settings_of):
    found = settings_of([], [], task="cls, human").task
    assert found.spec == {"cls": 1.0, "human": 1.0}
    with pytest.raises(NotAllowedError, match="task 'humna' is not allowed here, did you mean 'human'"):
        settings_of([], [], task="cls,humna")
    with pytest.raises(UsageError, match="cls is there twice"):
        settings_of([], [], task="cls,cls")
