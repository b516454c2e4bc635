from matplotlib.figure import Figure

from taskodec.bench.plots import LEGEND_INSIDE, name_curves, new_figure, plain, save_figure


def test_a_figure_becomes_two_files_of_the_same_bytes_each_time(tmp_path):
    figure = Figure()
    figure.add_subplot().plot([1, 2], [3, 5], label="a.b")
    paths = save_figure(figure, tmp_path / "rate.of_x")
    assert [path.name for path in paths] == ["rate.of_x.png", "rate.of_x.svg"]
    before = [path.read_bytes() for path in paths]
    assert before[0].startswith(b"\x89PNG")
    assert b"</svg>" in before[1]
    assert [path.read_bytes() for path in save_figure(figure, tmp_path / "rate.of_x")] == before


def test_names_are_drawn_letter_by_letter(tmp_path):
    figure = Figure()
    axes = figure.add_subplot()
    for name in ("$\\frac{$", "$", "_hidden", "\x1b[31m", "a\nb"):
        axes.plot([1, 2], [3, 5], label=plain(name))
    axes.set_title(plain("$x^{$"))
    axes.set(xscale="log")  # whose ticks are formulas
    legend = axes.legend()
    assert [text.get_text() for text in legend.get_texts()] == [r"\$\frac{\$", r"\$", " _hidden", r"\x1b[31m", r"a\nb"]
    assert all(path.stat().st_size for path in save_figure(figure, tmp_path / "names"))


def test_a_legend_of_few_names_is_within_the_axes_and_one_of_many_below_them_all():
    heights = []
    for count in (LEGEND_INSIDE, LEGEND_INSIDE + 1):
        figure = new_figure()
        axes = figure.add_subplot()
        for number in range(count):
            axes.plot([1, 2], [3, 5 + number], label=f"curve {number}")
        name_curves(figure)
        (legend,) = [axes.get_legend()] if axes.get_legend() else figure.legends
        assert len(legend.get_texts()) == count
        assert (axes.get_legend() is None) == (count > LEGEND_INSIDE)
        heights.append(figure.get_size_inches()[1])
    assert heights[1] > heights[0]
