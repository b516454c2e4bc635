import pytest

from taskodec.bench.tables import Table, markdown_tables, print_report

HOSTILE = Table("[red]title[/red]\x1b[2J", ("[bold]head", "b"), [("[link=x]name\x1b[31m", "a|b\nc"), ("[/]", "1")])


def test_names_are_no_markup_and_no_commands(capsys):
    print_report([HOSTILE], ["[red]note\x1b[0m", "[/nothing]"])
    out = capsys.readouterr().out
    for text in (
        r"[red]title[/red]\x1b[2J",
        "[bold]head",
        r"[link=x]name\x1b[31m",
        r"a|b\nc",
        r"[red]note\x1b[0m",
        "[/]",
    ):
        assert text in out
    assert "\x1b" not in out


def test_names_do_not_break_markdown():
    lines = markdown_tables([HOSTILE])[1].splitlines()
    assert len(lines) == 4
    assert lines[2] == r"| [link=x]name\x1b[31m | a\|b\nc |"


WIDE = Table(
    "Means over 24 images",
    ("codec", "quality", "bpp", "PSNR dB", "MS-SSIM", "MS-SSIM dB", "LPIPS", "encode s", "decode s"),
    [
        (codec, f"{quality}", "0.1234", "31.55", "0.9640", "14.44", "0.1234", "0.123", f"{quality}.456")
        for codec in ("lite", "compressai-bmshj2018-hyperprior")
        for quality in (1, 2, 3)
    ],
)


@pytest.mark.parametrize("width", [60, 80, 120])
def test_a_wide_table_becomes_parts_that_fit_and_lose_no_cell(width, monkeypatch, capsys):
    monkeypatch.setenv("COLUMNS", str(width))
    print_report([WIDE], ["note " * 40])
    lines = capsys.readouterr().out.splitlines()
    assert max(map(len, lines)) <= width
    cells = {cell for row in WIDE.rows for cell in row[1:]}
    words = {word for line in lines for word in line.split()}
    assert cells <= words
    parts = sum(line.startswith(WIDE.title) for line in lines)
    assert (parts == 1) == (width == 120)
    rows = [line.split() for line in lines if line.strip().startswith("lite")]
    assert [row[1] for row in rows] == ["1", "2", "3"] * parts  # what tells rows apart is in every part


def test_a_cell_wider_than_the_terminal_is_broken(monkeypatch, capsys):
    monkeypatch.setenv("COLUMNS", "30")
    print_report([Table("t", ("name", "text"), [("a", "word " * 20)])], [])
    lines = capsys.readouterr().out.splitlines()
    assert max(map(len, lines)) <= 30
    assert " ".join(lines).count("word") == 20
