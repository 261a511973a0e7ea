"""How a command shows what it found: tables for people, JSON and YAML for programs."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from enum import StrEnum

import typer
import yaml
from pydantic import BaseModel
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from presage.steps.progress import Report


class Output(StrEnum):
    """Form of what goes to stdout."""

    table = "table"
    json = "json"
    yaml = "yaml"


def emit(value: BaseModel, output: Output) -> None:
    """Write a value to stdout as JSON or YAML, under the names that its file would have."""
    if output is Output.json:
        sys.stdout.write(value.model_dump_json(indent=2, by_alias=True) + "\n")
    else:
        yaml.safe_dump(value.model_dump(mode="json", by_alias=True), sys.stdout, sort_keys=False, allow_unicode=True)


def note(text: str) -> None:
    """Write a remark to stderr, beside the data on stdout."""
    sys.stderr.write(f"{text}\n")


class PlainConsole(Console):
    """A console that leaves it to the command to end well when its reader has gone away."""

    def on_broken_pipe(self) -> None:
        """Raise BrokenPipeError; the library's own way is to exit with 1."""
        raise BrokenPipeError


def console() -> Console:
    """Return the console of stdout: colours and width of a terminal, else plain text of COLUMNS or 100 columns."""
    if sys.stdout.isatty():
        return PlainConsole(highlight=False)
    columns = os.environ.get("COLUMNS", "")
    return PlainConsole(highlight=False, width=max(int(columns), 20) if columns.isdecimal() and int(columns) else 100)


@contextmanager
def progress_on_stderr() -> Iterator[Report]:
    """Give a function that reports progress; it draws a bar on a terminal, and is silent elsewhere."""
    errors = Console(stderr=True)
    if not errors.is_terminal:
        yield lambda _step, _done, _total: None
        return
    columns = (TextColumn("{task.description:<28}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    with Progress(*columns, console=errors, transient=True) as progress:
        tasks: dict[str, int] = {}

        def report(step: str, done: int, total: int) -> None:
            if step not in tasks:
                tasks[step] = progress.add_task(step, total=total)
            progress.update(tasks[step], completed=done, total=total)  # type: ignore[arg-type]

        yield report


def parse_pairs(pairs: list[str], option: str) -> Mapping[str, str]:
    """Return the NAME=VALUE pairs of an option; raises typer.BadParameter for one without a name or a value."""
    found = {}
    for pair in pairs:
        name, sign, value = pair.partition("=")
        if not (name and sign and value):
            raise typer.BadParameter(f"{pair!r} is not NAME=URI", param_hint=option)
        found[name] = value
    return found
