import pytest

from taskodec.errors import UsageError


def test_results_show_themselves_in_a_notebook(result):
    card = result._repr_html_()
    assert card.count("<img") == 2
    assert f"{len(result.stream):,} bytes" in card
    assert len(card) < 150_000


def test_names_may_be_long_and_hold_markup(result):
    result.task.name = "<b>" + "x" * 300
    card = result._repr_html_()
    assert "&lt;b&gt;xxx" in card
    assert "<b>" not in card
    assert "overflow-wrap: anywhere" in card


def test_compressors_do_too(make_compressor):
    compressor = make_compressor()
    assert "tiny" in compressor._repr_html_()
    assert repr(compressor).startswith("<Compressor: codec tiny, quality 2, task darker")


def test_representations_are_short(result):
    assert len(repr(result)) < 200
    assert len(repr(result.tuned)) < 1000
    assert "tensor" not in repr(result) + repr(result.tuned)


@pytest.mark.parametrize("package", ["jinja2", "matplotlib"])
def test_without_the_extra(result, make_compressor, without, package):
    without(package)
    assert result._repr_html_() is None
    assert make_compressor()._repr_html_() is None
    with pytest.raises(UsageError, match=rf"{package} is not installed: `pip install 'taskodec\[report\]'`"):
        result.report_html()
