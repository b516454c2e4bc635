"""The `taskodec` command; `taskodec.console.frame` says what its exit codes are."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Sequence
from functools import wraps
from typing import Annotated, Any

import typer
from typer.core import TyperGroup

from taskodec.cli.bench import bench
from taskodec.cli.coding import compress, decompress, info
from taskodec.cli.demo import demo
from taskodec.cli.doctor import doctor
from taskodec.cli.eval import evaluate
from taskodec.cli.examples import ONE_LINE, epilog
from taskodec.cli.export import export
from taskodec.cli.logs import LogLevel, Verbose, logged, set_level
from taskodec.cli.models import models
from taskodec.cli.paper import paper
from taskodec.cli.plugins import config, plugins
from taskodec.cli.pretrain import pretrain
from taskodec.cli.report import report
from taskodec.cli.serve import serve
from taskodec.cli.train import train
from taskodec.console.frame import errors_as_lines, framed, large_pages, threads_sleep
from taskodec.errors import PluginError
from taskodec.isolation.faults import named

__all__ = ["app", "main"]


class _Commands(TyperGroup):
    """The commands, whose errors do not reach typer: it has an end of its own for Ctrl-C and for broken pipes."""

    def invoke(self, ctx: Any) -> Any:
        with errors_as_lines():
            return super().invoke(ctx)


app = typer.Typer(
    name="taskodec",
    cls=_Commands,
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
    version: Annotated[  # noqa: ARG001  (its callback has answered)
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version.")
    ] = False,
    verbose: Verbose = 0,
    log_level: LogLevel = None,
) -> None:
    """Compress images for what they are used for: learned codecs, tuned to each image and task."""
    set_level(verbose, log_level)


for _command in (
    compress,
    decompress,
    info,
    plugins,
    config,
    demo,
    doctor,
    train,
    pretrain,
    bench,
    export,
    paper,
    report,
    serve,
):
    app.command()(_command)
app.command("eval")(evaluate)
app.add_typer(models, name="models", short_help=ONE_LINE["models"], epilog=epilog("models"))


def _guarded(command: Callable[..., None]) -> Callable[..., None]:
    """The command, which no code that it calls can end without a word, as `sys.exit` would."""

    @wraps(command)
    def run(*args: Any, **kwargs: Any) -> None:
        with named("something that this command calls raised", PluginError, Exception):
            command(*args, **kwargs)

    return run


for _group, _commands in (("", app.registered_commands), ("models ", models.registered_commands)):
    for _registered in _commands:
        _name = f"{_group}{_registered.name or getattr(_registered.callback, '__name__', '')}"
        _registered.epilog = epilog(_name)
        _registered.short_help = ONE_LINE.get(_name)
        _registered.callback = logged(_guarded(_registered.callback)) if _registered.callback else None


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the command line; errors raised on purpose become one line on standard error."""
    threads_sleep()
    large_pages()
    warnings.simplefilter("ignore", FutureWarning)  # libraries talking to developers, not to users
    warnings.formatwarning = lambda message, *_: f"warning: {message}\n"
    with framed():
        app(args=arguments, prog_name="taskodec")
