from matplotlib.figure import Figure

from taskodec.bench.plots import plain, save_figure


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
