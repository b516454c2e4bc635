"""Links of the site: what leaves docs/ on GitHub leads to a page of the site, and code is left alone."""

from pathlib import Path
from types import SimpleNamespace

import pytest

pytest.importorskip("mkdocs")

from taskodec.hooks.handover import load_module

LINKS = load_module(Path(__file__).parents[2] / "scripts" / "site_links.py")


@pytest.mark.parametrize(
    ("page", "link", "on_the_site"),
    [
        ("api.md", "../CHANGELOG.md", "source/CHANGELOG.md"),
        ("api.md", "../CONTRIBUTING.md#where-things-are", "source/CONTRIBUTING.md#where-things-are"),
        ("examples/README.md", "../../tasks/suite.py", "../source/tasks/suite.py"),
        ("source/CONTRIBUTING.md", "docs/bitstream.md#header", "../bitstream.md#header"),
        ("source/CONTRIBUTING.md", "README.md", "README.md"),
        ("source/plugins/weights/lite-cls.md", "../../docs/results.md", "../../../results.md"),
        ("ttft.md", "tasks.md#cls", "tasks.md#cls"),
        ("ttft.md", "#phases", "#phases"),
        ("ttft.md", "https://example.org/docs/tasks.md", "https://example.org/docs/tasks.md"),
        ("ttft.md", "../not_there.md", "../not_there.md"),
        ("ttft.md", "../../outside.md", "../../outside.md"),
    ],
)
def test_a_link_leads_to_the_same_file(page, link, on_the_site):
    given = SimpleNamespace(file=SimpleNamespace(src_uri=page))
    assert LINKS.on_page_markdown(f"see [it]({link}).", page=given) == f"see [it]({on_the_site})."


def test_code_is_left_alone():
    given = SimpleNamespace(file=SimpleNamespace(src_uri="api.md"))
    code = "```md\n[it](../CHANGELOG.md)\n```"
    assert LINKS.on_page_markdown(f"{code}\n[it](../CHANGELOG.md)", page=given) == f"{code}\n[it](source/CHANGELOG.md)"


@pytest.mark.parametrize("path", ["docs/ttft.md", "CHANGELOG.md", "plugins/weights/lite-cls.md"])
def test_a_place_on_the_site_and_one_in_the_repository(path):
    assert LINKS.in_repository(LINKS.place_of(path)) == path


@pytest.mark.parametrize(
    ("html", "on_the_site"),
    [
        ("<p><code>--steps 8</code></p>", '<p><code><span class="word">--steps</span> 8</code></p>'),
        (
            "<code>taskodec.files.downloads.Options</code>",
            "<code>taskodec.<wbr>files.<wbr>downloads.<wbr>Options</code>",
        ),
        (
            "<code>net.compress(x)[&quot;strings&quot;]</code>",
            "<code>net.<wbr>compress<wbr>(x)<wbr>[&quot;strings&quot;]</code>",
        ),
        ("<pre><code>taskodec eval --task-of-a-long-name</code></pre>", None),
        ("<code>lite</code>", None),
        ("<td>-1.6 % of 4 files</td>", "<td>-1.6\u00a0% of 4 files</td>"),
        ("<pre><code>a = 4 % 3</code></pre>", None),
        ("<th></th><th>a</th>", "<td></td><th>a</th>"),
        ('<p><img alt="a" src="a.png" /></p>', '<p><a href="a.png"><img alt="a" src="a.png" /></a></p>'),
        ('<p>with <img alt="a" src="a.png" /></p>', None),
    ],
)
def test_a_page_fits_a_phone(html, on_the_site):
    assert LINKS.on_page_content(html) == (html if on_the_site is None else on_the_site)
