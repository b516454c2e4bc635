"""`taskodec doctor`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from taskodec.cli import common
from taskodec.console.layout import say
from taskodec.console.terminal import escaped

if TYPE_CHECKING:
    from taskodec.cli.findings import Finding

__all__ = ["doctor"]

SIGNS = {"fine": "ok", "missing": "--", "broken": "!!"}


def doctor(
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
) -> None:
    """Check this installation: Python, packages, devices, extras, folders, networks, and a picture there and back.

    Takes some seconds, and downloads nothing. The exit code is 1 if what everybody needs does not work, whatever is
    missing for particular tasks.
    """
    from taskodec.cli.findings import findings

    found: list[Finding] = []
    for finding in findings():
        found.append(finding)
        if not as_json:
            _show(finding)
    broken = [finding.name for finding in found if finding.state == "broken"]
    if as_json:
        common.print_json({"works": not broken, "findings": [vars(finding) for finding in found]})
    else:
        print(f"does not work: {escaped(', '.join(broken))}" if broken else "the basics work")
    if broken:
        raise typer.Exit(1)


def _show(finding: Finding) -> None:
    """A line of what was found, and one of what to do."""
    say(escaped(f"{SIGNS[finding.state]} {finding.name}: {finding.found}"), 3)
    if finding.advice:
        say(escaped(f"   -> {finding.advice}"), 6)
