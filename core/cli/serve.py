"""`taskodec serve`."""

from __future__ import annotations

from typing import Annotated

import typer

from taskodec.cli import common
from taskodec.extras import require

__all__ = ["serve"]


def serve(
    *,
    host: Annotated[str | None, typer.Option(help="Address to listen on; beyond loopback with a token.")] = None,
    port: Annotated[int | None, typer.Option(help="Port to listen on; 0 takes a free one.")] = None,
    workers: Annotated[int | None, typer.Option(help="Processes that compute.")] = None,
    config: common.ConfigFiles = None,
    overrides: common.Overrides = None,
    plugin: common.PluginFiles = None,
) -> None:
    """Serve compression over HTTP: POST /v1/compress, /v1/decompress and /v1/info; /docs has the rest.

    The section `serve` of the settings has limits and allow-lists. A bearer token comes from serve.token_file or
    TASKODEC_TOKEN. The log is JSON on standard error. SIGTERM stops it, once it has done what it has.
    """
    require("serve", "`taskodec serve`")
    given = {"serve.host": host, "serve.port": port, "serve.workers": workers}
    settings = common.resolve_settings(config, overrides, given)
    from taskodec.service.server import serve as run

    run(
        settings,
        common.load_registry(plugin),
        files=config or (),
        overrides=overrides or (),
        plugins=plugin or (),
    )
