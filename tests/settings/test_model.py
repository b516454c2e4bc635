import pytest
import yaml
from pydantic import ValidationError

from taskodec.errors import SettingsError
from taskodec.settings.layers import preset, preset_names
from taskodec.settings.model import PhaseSettings, PretrainSettings, Settings, load_settings


def write(path, text):
    path.write_text(text)
    return path


def test_the_defaults_resolve():
    settings = load_settings()
    assert (settings.codec.name, settings.task.name, settings.quality) == ("lite", "human", 3)
    assert settings.ttft.preset == "default"
    assert "latents" in settings.ttft.phases[0].train
    assert settings.adapter.name == "auto"


@pytest.mark.parametrize("name", preset_names("ttft"))
def test_every_tuning_preset_has_phases(name):
    assert load_settings(flags={"ttft.preset": name}).ttft.phases


@pytest.mark.parametrize("name", ["quick", "thorough"])
def test_quick_and_thorough_differ_from_the_default_in_steps_only(name):
    other, default = (load_settings(flags={"ttft.preset": each}).ttft for each in (name, "default"))
    assert [p.steps for p in other.phases] != [p.steps for p in default.phases]
    same = [[p.model_copy(update={"steps": 1}) for p in each.phases] for each in (other, default)]
    assert same[0] == same[1]


@pytest.mark.parametrize("name", preset_names("task"))
def test_no_task_has_an_optimiser_of_its_own(name):
    assert "ttft" not in preset("task", name)


def test_averages_are_needed_to_go_back_to():
    with pytest.raises(SettingsError, match="set average as well"):
        load_settings(overrides=["ttft.phases=[{train: [latents], steps: 1, backtrack: 0.5}]"])


def test_the_paper_preset_is_the_published_schedule():
    (phase,) = load_settings(overrides=["ttft.preset=paper"]).ttft.phases
    assert (set(phase.train), phase.steps, phase.lr) == ({"encoder", "decoder"}, 40, 5e-3)
    assert (phase.schedule, phase.milestones, phase.gamma) == ("step", (15, 25, 30, 35), 0.5)


def test_files_then_flags_then_overrides(tmp_path):
    first = write(tmp_path / "1.yaml", "quality: 1\nttft: {seed: 1, steps: 1}\ndevice: cpu")
    second = write(tmp_path / "2.yaml", "quality: 2\nttft: {seed: 2}")
    settings = load_settings([first, second], ["ttft.seed=4"], {"ttft.seed": 3, "quality": 3})
    assert (settings.quality, settings.ttft.seed, settings.ttft.steps, settings.device) == (3, 4, 1, "cpu")


def test_user_settings_win_over_the_presets_they_name(tmp_path):
    file = write(tmp_path / "mine.yaml", "ttft: {preset: paper, phases: [{train: [latents], steps: 3}]}")
    assert [p.steps for p in load_settings([file]).ttft.phases] == [3]


def test_switching_the_codec_is_one_line(tmp_path):
    file = write(tmp_path / "mine.yaml", "codec: tic")
    assert load_settings([file]).codec.name == "tic"
    assert load_settings([file], flags={"codec.name": "lite"}).codec.name == "lite"


def test_the_printed_configuration_reads_back(tmp_path):
    settings = load_settings(overrides=["codec.checkpoint=some/file.pth", "ttft.preset=paper", "task.lmbda=1e-3"])
    again = load_settings([write(tmp_path / "printed.yaml", settings.to_yaml())])
    assert again == settings
    assert yaml.safe_load(settings.to_yaml()) == settings.model_dump(mode="json")


@pytest.mark.parametrize(
    ("override", "words"),
    [
        ("ttft.stepz=3", ["unknown key ttft.stepz = 3", "--set ttft.stepz=3", "did you mean 'steps'", "time_budget"]),
        ("ttft.steps=many", ["ttft.steps = 'many'", "valid integer"]),
        ("ttft.steps=-1", ["ttft.steps = -1", "greater than or equal to 0"]),
        ("quality=.nan", ["quality = nan", "finite"]),
        ("quality=", ["quality = None", "valid number"]),
        ("device=gpu", ["device = 'gpu'", "auto, cpu, mps, cuda"]),
        ("codec=[1]", ["codec = [1]", "keys and values"]),
        ("ttft=3", ["ttft = 3", "keys and values"]),
        ("limits.max_pixels=0", ["limits.max_pixels = 0", "greater than or equal to 1"]),
        ("ttft.phases=[{train: [encodr], steps: 1}]", ["ttft.phases.0.train.0 = 'encodr'", "'encoder', 'decoder'"]),
        ("ttft.phases=[{train: [], steps: 1}]", ["ttft.phases.0.train", "at least 1"]),
        ("ttft.phases=[{train: [latents]}]", ["ttft.phases.0.steps is missing"]),
        ("ttft.phases=[{train: [latents], steps: 1, stps: 2}]", ["ttft.phases.0.stps = 2", "did you mean 'steps'"]),
        ("train.late_crop=64", ["unknown key train.late_crop = 64", "stages"]),
        (
            "train.stages=[{until: 1, rounding: hard}]",
            ["train.stages.0.rounding = 'hard'", "'noise', 'ste' or 'mixed'"],
        ),
        ("train.stages=[{until: 0.5}]", ["train.stages", "until must ascend", "end at 1, found [0.5]"]),
        ("train.stages=[{until: 1}, {until: 1}]", ["train.stages", "until must ascend"]),
        ("train.stages=[]", ["train.stages = []", "end at 1"]),
        ("codec.nmae=lite", ["codec.nmae", "did you mean 'name'", "checkpoint"]),
    ],
)
def test_errors_name_key_value_origin_and_what_is_valid(override, words):
    with pytest.raises(SettingsError) as caught:
        load_settings(overrides=[override])
    for word in words:
        assert word in str(caught.value)
    assert len(str(caught.value).splitlines()) == 1


def test_errors_name_the_file_and_come_all_at_once(tmp_path):
    file = write(tmp_path / "mine.yaml", "qualty: 3\nttft: {seed: x}")
    with pytest.raises(SettingsError) as caught:
        load_settings([file])
    lines = str(caught.value).splitlines()
    assert len(lines) == 2
    assert all(str(file) in line for line in lines)


@pytest.mark.parametrize(
    ("values", "words"),
    [
        ({"train": ("latents", "latents")}, "part twice"),
        ({"train": ("latents",), "schedule": "step", "milestones": (5, 5)}, "must ascend"),
        ({"train": ("latents",), "milestones": (5,)}, "need schedule: step"),
    ],
)
def test_phases_that_make_no_sense(values, words):
    with pytest.raises(ValidationError, match=words):
        PhaseSettings(steps=10, **values)


def test_settings_are_frozen():
    with pytest.raises(ValidationError, match="frozen"):
        load_settings().quality = 2


def test_plain_names_work_in_python_too():
    assert Settings(codec="tic", task="cls").codec.name == "tic"


def test_an_adapter_may_be_a_file(tmp_path):
    file = write(tmp_path / "mine.yaml", "adapter: runs/cls/adapter.safetensors")
    for settings in (load_settings([file]), load_settings(flags={"adapter.name": "runs/cls/adapter.safetensors"})):
        assert (settings.adapter.name, settings.adapter.options) == ("file", {"path": "runs/cls/adapter.safetensors"})
        assert load_settings([write(tmp_path / "printed.yaml", settings.to_yaml())]) == settings


@pytest.mark.parametrize("task", ["cls", "det", "semseg"])
def test_tasks_of_networks_compare_outputs_unless_told_otherwise(task):
    assert load_settings(flags={"task.name": task}).task.options == {"loss": "outputs"}
    told = load_settings(flags={"task.name": task}, overrides=["task.options.loss=features"])
    assert told.task.options == {"loss": "features"}
    assert load_settings(overrides=["task=human"]).task.options == {}


def test_pretraining_has_a_preset():
    settings = load_settings(overrides=["pretrain.steps=7"])
    assert settings.pretrain == PretrainSettings(steps=7)


def test_the_published_preset_differs_by_switches():
    published, ours = (load_settings(overrides=[f"ttft.preset={name}"]).ttft for name in ("paper", "default"))
    names = ("singular_values", "adapter_rate", "adapter_rounding", "keep", "send", "search")
    assert all(getattr(published, name) != getattr(ours, name) for name in names)
    one = load_settings(overrides=["ttft.preset=paper", "ttft.singular_values=change"]).ttft
    assert (one.singular_values, one.send, one.phases) == ("change", "tuned", published.phases)


def test_a_search_names_its_parts_once():
    with pytest.raises(SettingsError, match=r"ttft\.search.*twice: gates, gates"):
        load_settings(overrides=["ttft.search=[gates, gates]"])


def test_sizes_for_evaluation_have_the_short_side_first():
    assert load_settings(flags={"data.eval_size": [800, 1333]}).data.eval_size == (800, 1333)
    with pytest.raises(SettingsError, match=r"data.*short side first.*\(1333, 800\)"):
        load_settings(flags={"data.eval_size": [1333, 800]})


@pytest.mark.parametrize(
    ("override", "words"),
    [
        ("quality=yes", ["quality = True (from --set quality=yes)", "should be a number", "put text in quotes"]),
        ("ttft.seed=off", ["ttft.seed = False", "should be a number"]),
        ("ttft.steps=true", ["ttft.steps = True", "should be a number"]),
        ("train.lr=on", ["train.lr = True", "should be a number"]),
        ("train.lr_scales={a: yes}", ["train.lr_scales.a = True", "should be a number"]),
        ("task.lmbdas={1: no}", ["task.lmbdas.1 = False", "should be a number"]),
        ("data.eval_size=[yes, 5]", ["data.eval_size.0 = True", "should be a number"]),
        ("task.name=on", ["task.name = True", "put text in quotes"]),
        ("device=no", ["device = False", "put text in quotes"]),
        ("ttft.send=on", ["ttft.send = True", "put text in quotes"]),
        ("quality=1:30", ["quality = '1:30'", "valid number"]),
        ("task.options.x=[1, {y: .inf}]", ["task.options", "options hold inf, expected finite numbers"]),
        (".".join("a" * 100) + "=1", ["has a key of 100 parts", "at most 32"]),
        ("codec.name=" + "[" * 20 + "]" * 20, ["codec.name = [[[[...]]]]", "valid string"]),
        ("quality=" + "x" * 100_000, ["quality = 'xxx", "valid number"]),
    ],
)
def test_words_and_numbers_are_not_taken_for_each_other(override, words):
    with pytest.raises(SettingsError) as caught:
        load_settings(overrides=[override])
    for word in words:
        assert word in str(caught.value)
    assert len(str(caught.value)) < 1000
    assert len(str(caught.value).splitlines()) == 1


def test_words_are_true_or_false_where_that_belongs():
    for word, value in (("yes", True), ("On", True), ("off", False), ("true", True)):
        assert load_settings(overrides=[f"ttft.compile={word}", f"task.options.x={word}"]).ttft.compile is value


def test_text_that_reads_as_something_else_is_printed_in_quotes(tmp_path):
    options = {"a": "1e5", "b": "010", "c": "0o7", "d": "yes", "e": "1:30", "f": "", "g": "2020-01-01"}
    settings = load_settings(flags={"task.options": options})
    assert load_settings([write(tmp_path / "printed.yaml", settings.to_yaml())]).task.options == options


@pytest.mark.parametrize("key", ["ttft.seed", "train.seed", "pretrain.seed"])
@pytest.mark.parametrize("value", ["-1", "18446744073709551616", "99999999999999999999999"])
def test_seeds_have_64_bits(key, value):
    with pytest.raises(SettingsError, match=rf"{key} = {value} .*: input should be|{value}' is too large a number"):
        load_settings(overrides=[f"{key}={value}"])
    load_settings(overrides=[f"{key}=18446744073709551615"])


def test_whole_numbers_that_nothing_can_count_to_are_refused():
    for key in ("ttft.steps", "ttft.patch", "limits.max_pixels", "train.batch"):
        with pytest.raises(SettingsError, match=f"{key} = .*less than|too large a number"):
            load_settings(overrides=[f"{key}=99999999999999999999999"])


def test_an_error_names_the_argument_that_it_came_from():
    with pytest.raises(SettingsError, match=r"codec\.name = 7 \(from argument codec\)"):
        load_settings(flags={"codec.name": 7})
