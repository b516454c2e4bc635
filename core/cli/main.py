"""The `taskodec` command. Exit codes: 0 fine, 1 an input failed, 2 the call was wrong, what it names included."""

from __future__ import annotations

import io
import sys
import warnings
from collections.abc import Sequence
from typing import Annotated

import typer

from taskodec.cli.bench import bench
from taskodec.cli.coding import compress, decompress, info
from taskodec.cli.eval import evaluate
from taskodec.cli.export import export
from taskodec.cli.models import models
from taskodec.cli.paper import paper
from taskodec.cli.plugins import config, plugins
from taskodec.cli.pretrain import pretrain
from taskodec.cli.terminal import guarded, indented
from taskodec.cli.train import train
from taskodec.errors import PluginError, TaskError, TaskodecError, UsageError, WeightsError

__all__ = ["app", "main"]

WRONG_CALL = (PluginError, TaskError, UsageError, WeightsError)
"""Errors that end a command before its first input: batches show those of an input themselves."""

app = typer.Typer(
    name="taskodec",
    add_completion=False,
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
    context_settings={"help_option_names": ["-h", "--help"]},
)


def _version(wanted: bool) -> None:
    if wanted:
        import taskodec

        print(f"taskodec {taskodec.__version__}")
        raise typer.Exit


@app.callback()
def _taskodec(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version.")
    ] = False,
) -> None:
    """Compress images for what they are used for: learned codecs, tuned to each image and task."""


for _command in (compress, decompress, info, plugins, config, train, pretrain, bench, export, paper):
    app.command()(_command)
app.command("eval")(evaluate)
app.add_typer(models, name="models")


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the command line; errors raised on purpose become one line on standard error."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")  # a terminal without some letter must not end a batch
    warnings.simplefilter("ignore", FutureWarning)  # libraries talking to developers, not to users
    warnings.formatwarning = lambda message, *_: f"warning: {message}\n"
    with guarded():
        try:
            app(args=arguments, prog_name="taskodec")
        except TaskodecError as error:
            print(f"error: {indented(str(error))}", file=sys.stderr)
            sys.exit(2 if isinstance(error, WRONG_CALL) else 1)
