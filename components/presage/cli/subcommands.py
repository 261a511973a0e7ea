"""Commands from the packages above this one: each is imported when it is called, and not before."""

from __future__ import annotations

import ast
from collections.abc import Callable
from importlib.metadata import EntryPoint, entry_points
from importlib.util import find_spec
from pathlib import Path

import typer

from presage.cli.faults import faults_end_the_command
from presage.errors import MissingExtraError

_GROUP = "presage.commands"
_ALL_WORDS = {
    "allow_extra_args": True,
    "allow_interspersed_args": False,
    "help_option_names": [],
    "ignore_unknown_options": True,
}
_HELP = {"help_option_names": ["-h", "--help"]}


def add_subcommands(app: typer.Typer) -> None:
    """Give an application the commands that entry points of the group `presage.commands` name, by name."""
    for entry in sorted(entry_points(group=_GROUP), key=lambda entry: entry.name):
        app.command(entry.name, help=described(entry), context_settings=_ALL_WORDS)(_forward(entry))


def described(entry: EntryPoint) -> str:
    """Return the first line of a command's docstring, read from its source: importing it would take its extra."""
    try:
        found = find_spec(entry.module)
    except ModuleNotFoundError:
        found = None
    if found is None or found.origin is None:
        return ""
    for part in ast.parse(Path(found.origin).read_text(encoding="utf-8")).body:
        if isinstance(part, ast.FunctionDef) and part.name == entry.attr:
            return (ast.get_docstring(part) or "").partition("\n")[0]
    return ""


def _forward(entry: EntryPoint) -> Callable[[typer.Context], None]:
    def call(context: typer.Context) -> None:
        with faults_end_the_command():
            function = _load(entry)
        command = typer.Typer(add_completion=False, pretty_exceptions_enable=False)
        command.command(context_settings=_HELP)(function)
        command(args=context.args, prog_name=context.command_path)

    return call


def _load(entry: EntryPoint) -> Callable[..., None]:
    """Return a command's function; raises MissingExtraError where its package's extra is not installed."""
    package = entry.module.partition(".")[0]
    try:
        function: Callable[..., None] = entry.load()
    except ModuleNotFoundError as error:
        if str(error.name).startswith(package):
            raise
        raise MissingExtraError(
            f"presage {entry.name} needs the Python package {error.name}, which is not installed.",
            f"Install it: pip install 'presage[{package.removeprefix('presage_')}]'.",
        ) from error
    return function
