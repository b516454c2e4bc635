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
