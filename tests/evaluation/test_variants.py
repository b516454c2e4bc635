import pytest

from taskodec.errors import SettingsError, UsageError
from taskodec.evaluation.variants import read_variants
from taskodec.settings.model import load_settings

GOOD = """
baseline: a
ours: b
variants:
  - {name: a, about: first, set: {ttft.preset: paper, ttft.steps: 3}}
  - {name: b, like: a, set: {ttft.steps: 4, adapter.options: {rank: 2}}}
  - {name: b + c, like: b, set: {ttft.seed: 1}}
"""


@pytest.fixture
def read(tmp_path):
    def read(text):
        path = tmp_path / "rows.yaml"
        path.write_text(text)
        return read_variants(path)

    return read


def test_settings_of_an_earlier_variant_are_taken_over(read):
    variants = read(GOOD)
    assert (variants.baseline, variants.ours) == ("a", "b")
    assert [v.about for v in variants.variants] == ["first", "", ""]
    assert [v.set for v in variants.variants] == [
        {"ttft.preset": "paper", "ttft.steps": 3},
        {"ttft.preset": "paper", "ttft.steps": 4, "adapter.options": {"rank": 2}},
        {"ttft.preset": "paper", "ttft.steps": 4, "adapter.options": {"rank": 2}, "ttft.seed": 1},
    ]


def test_overrides_are_what_set_reads(read):
    last = read(GOOD).variants[-1]
    settings = load_settings(overrides=last.overrides())
    assert (settings.ttft.preset, settings.ttft.steps, settings.ttft.seed) == ("paper", 4, 1)
    assert settings.adapter.options == {"rank": 2}


def test_packaged_variants_are_all_valid_settings_and_differ():
    variants = read_variants()
    resolved = [load_settings(overrides=variant.overrides()).to_yaml() for variant in variants.variants]
    assert len(set(resolved)) == len(resolved) <= 17
    assert all(variant.about for variant in variants.variants)
    assert {"untuned", "paper", "default", "quick"} <= {variant.name for variant in variants.variants}
    assert variants.variants[0].set == {"ttft.steps": 0}


@pytest.mark.parametrize(
    ("variant", "of"), [("- decoder", "default"), ("- latents", "default"), ("+ latents", "paper")]
)
def test_packaged_variants_that_train_something_else_are_like_their_model_otherwise(variant, of):
    """Phases are replaced as a whole: when a preset changes, these rows must follow."""
    named = {each.name: load_settings(overrides=each.overrides()).ttft for each in read_variants().variants}
    what = {"train", "lr", "lr_latents", "lr_z", "latent_steps", "betas"}
    phases = [[phase.model_dump(exclude=what) for phase in named[name].phases] for name in (variant, of)]
    assert phases[0] == phases[1]
    assert [phase.train for phase in named[variant].phases] != [phase.train for phase in named[of].phases]


def test_some_of_them(read):
    variants = read(GOOD)
    assert [v.name for v in variants.only(["b", "a"]).variants] == ["a", "b"]
    with pytest.raises(UsageError, match=r"unknown variant 'd'; valid: a, b, b \+ c"):
        variants.only(["a", "b", "d"])
    with pytest.raises(UsageError, match="compared with b; name it"):
        variants.only(["a"])


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("baseline: a", "baseline: z", "baseline names 'z', which is no variant above; valid: a, b, b"),
        ("baseline: a", "baseline: b", "baseline and ours are both 'b'"),
        ("baseline: a", "", "baseline is missing; valid keys: baseline, ours, variants"),
        ("baseline: a", "baseline: a\nrows: 3", "unknown key 'rows'"),
        ("about: first", "abuot: first", r"variant 'a': unknown key 'abuot', did you mean 'about'\?"),
        ("name: b,", "name: a,", "variant 'a' is there twice"),
        ("like: a", "like: b + c", r"variant 'b': like names 'b \+ c', which is no variant above"),
        ("ttft.seed", "task.lmbda", r"sets 'task.lmbda'; variants may set ttft.…, adapter.…, limits.…"),
        ("{ttft.seed: 1}", "{ttft: {seed: 1}}", "sets 'ttft'"),
        ("{ttft.seed: 1}", "[ttft.seed=1]", r"variant 'b \+ c': set = \['ttft.seed=1'\]: input should be a valid dict"),
        ("name: b + c", "name: 'b|c'", r"name = 'b\|c': expected one line without \|"),
        ("name: b + c, ", "", "variant number 3: name is missing"),
        ("ours: b", "ours: b\nours: b", "appears twice"),
    ],
)
def test_a_wrong_file_says_where(old, new, message, read):
    assert old in GOOD
    with pytest.raises(SettingsError, match=rf"rows\.yaml.*{message}"):
        read(GOOD.replace(old, new, 1))


def test_no_rows_and_no_file_are_errors(read, tmp_path):
    with pytest.raises(SettingsError, match="variants = "):
        read("baseline: a\nours: b\nvariants: []")
    with pytest.raises(SettingsError, match="cannot read configuration"):
        read_variants(tmp_path / "none.yaml")
