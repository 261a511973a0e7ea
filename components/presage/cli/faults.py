"""How a command ends when something goes wrong: a sentence on stderr and a documented exit code, never a traceback."""

from __future__ import annotations

import os
import signal
import sys
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

import typer
from rich.console import Console

from presage.errors import JobError, MissingExtraError, PresageError

INTERRUPTED = 130
TERMINATED = 143
UNEXPECTED = 1
NOT_PROMOTED = 3

# Where a traceback goes is the developer's choice; a user reads one sentence.
DEBUG = "PRESAGE_DEBUG"


@contextmanager
def faults_end_the_command() -> Iterator[None]:
    """Run a command's body; what it raises becomes a message on stderr and an exit code."""
    console = Console(stderr=True, highlight=False, soft_wrap=True)
    signal.signal(signal.SIGTERM, _terminate)
    try:
        yield
    except PresageError as error:
        _explain(console, error)
        raise typer.Exit(error.exit_code) from error
    except KeyboardInterrupt as error:
        console.print("interrupted: nothing of this run was kept; the lake is as it was", markup=False)
        raise typer.Exit(INTERRUPTED) from error
    except BrokenPipeError as error:
        # The reader of our output went away, as `head` does; Python must not complain again at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        raise typer.Exit(0) from error
    except (typer.Exit, typer.Abort):
        raise
    except ModuleNotFoundError as error:
        if str(error.name).startswith("presage"):
            raise
        missing = MissingExtraError(
            f"this command needs the Python package {error.name}, which is not installed.",
            "Install what running a job needs: pip install 'presage[train]'.",
        )
        _explain(console, missing)
        raise typer.Exit(missing.exit_code) from error
    except Exception as error:
        if os.environ.get(DEBUG):
            traceback.print_exc()
        console.print(
            f"unexpected failure: {type(error).__name__}: {error}\nSet {DEBUG}=1 to see where, and please report it.",
            markup=False,
            style="red",
        )
        raise typer.Exit(UNEXPECTED) from error


def _explain(console: Console, error: PresageError) -> None:
    console.print(f"error: {error.what}", markup=False, style="red")
    if isinstance(error, JobError):
        for problem in error.problems:
            console.print(f"  {problem}", markup=False)
    if error.remedy:
        console.print(error.remedy, markup=False)


def _terminate(_signal: int, _frame: FrameType | None) -> None:
    raise SystemExit(TERMINATED)
