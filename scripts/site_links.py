"""A hook of MkDocs: links that leave `docs/` lead somewhere on the site as well, and pages fit a phone.

Pages are written for GitHub: they link to `../CHANGELOG.md`, or a card beside its weights. Each such file becomes part
of the site, below `source/`, at its path in the repository: Markdown as a page, everything else as it is. So links
need no address of a server, and what they lead to is that of the same commit.
"""

from __future__ import annotations

import posixpath
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from mkdocs.structure.files import File

ROOT = Path(__file__).resolve().parents[1]
DOCS = "docs"
SOURCE = "source"

LINK = re.compile(r"(?<=\]\()([^()\s#]+)((?:#[^()\s]*)?)(?=\))")
EMPTY_HEAD = re.compile(r"<th\b([^>]*)></th>")
BLOCK = re.compile(r"(<pre\b.*?</pre>)", re.DOTALL)
CODE = re.compile(r"(?<=<code>)([^<]+)(?=</code>)")
JOINT = re.compile(r"(?<=[\w)\]])(?=[(\[])|(?<=[./,:=_@|])(?=\w)")
LONG = 20
"""Letters of a word of code that a phone has room for."""
PERCENT = re.compile(r"(?<=\d) (?=%)")
FIGURE = re.compile(r'<p>(<img\b[^>]*\bsrc="([^"]+)"[^>]*>)</p>')
FENCE = re.compile(r"^( *)(```|~~~).*?^\1\2 *$", re.MULTILINE | re.DOTALL)


def on_files(files: Any, config: Any) -> Any:
    """Add what pages link to outside of `docs/`, and what that links to."""
    waiting = [f"{DOCS}/{file.src_uri}" for file in files.documentation_pages()]
    seen = set(waiting)
    while waiting:
        page = waiting.pop()
        for target in _targets(page, (ROOT / page).read_text(encoding="utf-8")):
            if target not in seen and not target.startswith(f"{DOCS}/"):
                seen.add(target)
                files.append(File.generated(config, f"{SOURCE}/{target}", abs_src_path=str(ROOT / target)))
                waiting += [target] if target.endswith(".md") else []
    return files


def on_page_markdown(markdown: str, page: Any, **_: Any) -> str:
    """Links as they must be on the site."""
    here = page.file.src_uri

    def rewritten(match: re.Match[str]) -> str:
        target = _resolved(in_repository(here), match[1])
        if target is None:
            return match[0]
        return posixpath.relpath(place_of(target), posixpath.dirname(here)) + match[2]

    return outside_fences(markdown, lambda text: LINK.sub(rewritten, text))


def on_page_content(html: str, **_: Any) -> str:
    """The page with figures that lead to themselves at full size, for phones, and text that breaks where it may.

    An empty head of a column is no head: those who hear a table would hear nothing.
    """
    html = EMPTY_HEAD.sub(r"<td\1></td>", FIGURE.sub(r'<p><a href="\2">\1</a></p>', html))
    parts = BLOCK.split(html)
    parts[::2] = [PERCENT.sub("\u00a0", CODE.sub(lambda found: breaking(found[1]), text)) for text in parts[::2]]
    return "".join(parts)


def breaking(code: str) -> str:
    """Escaped code whose short words stay whole, also at hyphens, and whose long ones break at their joints."""

    def word(text: str) -> str:
        if len(text) > LONG:
            return JOINT.sub("<wbr>", text)
        return f'<span class="word">{text}</span>' if "-" in text else text

    return " ".join(map(word, code.split(" ")))


def outside_fences(markdown: str, change: Any) -> str:
    """The text with everything but its code blocks changed."""
    parts, end = [], 0
    for fence in FENCE.finditer(markdown):
        parts += [change(markdown[end : fence.start()]), fence[0]]
        end = fence.end()
    return "".join([*parts, change(markdown[end:])])


def in_repository(on_the_site: str) -> str:
    """Where a file of the site lies in the repository."""
    start = f"{SOURCE}/"
    return on_the_site.removeprefix(start) if on_the_site.startswith(start) else f"{DOCS}/{on_the_site}"


def place_of(path: str) -> str:
    """Where a file of the repository lies on the site."""
    return path.removeprefix(f"{DOCS}/") if path.startswith(f"{DOCS}/") else f"{SOURCE}/{path}"


def _targets(page: str, markdown: str) -> Iterator[str]:
    found: list[str] = []

    def looked_at(text: str) -> str:
        found.extend(match[1] for match in LINK.finditer(text))
        return text

    outside_fences(markdown, looked_at)
    for link in found:
        if (target := _resolved(page, link)) is not None:
            yield target


def _resolved(page: str, link: str) -> str | None:
    """The file of the repository that a relative link leads to; None for other links."""
    if re.match(r"[a-z][a-z0-9+.-]*:|/", link):
        return None
    target = posixpath.normpath(posixpath.join(posixpath.dirname(page), link))
    return target if not target.startswith("..") and (ROOT / target).is_file() else None
