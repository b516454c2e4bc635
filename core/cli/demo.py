"""`taskodec demo`."""

from __future__ import annotations

from typing import Annotated

import typer

from taskodec.cli import common, completion
from taskodec.extras import require

__all__ = ["demo"]


def demo(
    *,
    task: Annotated[
        list[str] | None,
        typer.Option(
            "--task",
            metavar="NAME|FILE.py:OBJ",
            help="Task to begin with; a file adds one of your own; repeatable.",
            autocompletion=completion.tasks,
        ),
    ] = None,
    host: Annotated[str, typer.Option(help="Address to listen on, of this machine alone.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(min=0, max=65535, help="Port to listen on; 0 takes a free one.")] = 8001,
    opened: Annotated[bool, typer.Option("--open/--no-open", help="Open the page in a browser.")] = True,
    config: common.ConfigFiles = None,
    overrides: common.Overrides = None,
    plugin: common.PluginFiles = None,
) -> None:
    """Open a page on this machine where pictures are compressed before your eyes.

    Drop a photo, choose codec, quality or size, and task; watch the tuning, and compare the file with the codec's plain
    one, JPEG and AVIF at equal bytes, and with what networks see in each. Code of a task comes from here, never from
    the page. Settings are what it begins with.
    """
    require("demo", "`taskodec demo`")
    settings = common.resolve_settings(config, overrides, {})
    from taskodec.demo.server import demo as run

    run(
        settings,
        common.load_registry(plugin),
        host=host,
        port=port,
        tasks=task or (),
        files=config or (),
        overrides=overrides or (),
        plugins=plugin or (),
        opened=opened,
    )
