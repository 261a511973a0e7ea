"""How a command ends when something goes wrong: a sentence on stderr and a documented exit code, never a traceback."""

from __future__ import annotations

import errno
import os
import sys
import traceback
from collections.abc import Iterator
from contextlib import contextmanager, suppress

import typer
from rich.console import Console

from presage.cli.signals import INTERRUPTED, signals_raise
from presage.errors import JobError, MissingExtraError, PresageError, StorageError

UNEXPECTED = 1
NOT_PROMOTED = 3

# Where a traceback goes is the developer's choice; a user reads one sentence.
DEBUG = "PRESAGE_DEBUG"

RUN_INTERRUPTED = "interrupted: no part of this run was kept"
_OUTPUT_REFUSALS = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EROFS, errno.EIO})


@contextmanager
def faults_end_the_command(interrupted: str = "interrupted") -> Iterator[None]:
    """Run a command's body; what it raises becomes a message on stderr and an exit code.

    Args:
        interrupted: What an interruption says.
    """
    try:
        with output_faults_end_the_command(), signals_raise():
            yield
    except (typer.Exit, typer.Abort):
        raise
    except KeyboardInterrupt as error:
        _say(str(error) or interrupted)
        raise typer.Exit(INTERRUPTED) from error
    except Exception as error:
        foreseen = foreseen_fault(error)
        if foreseen is not None:
            _explain(foreseen)
            raise typer.Exit(foreseen.exit_code) from error
        if os.environ.get(DEBUG):
            traceback.print_exc()
        _say(
            f"unexpected failure: {type(error).__name__}: {error}\nSet {DEBUG}=1 to see where, and please report it.",
            "red",
        )
        raise typer.Exit(UNEXPECTED) from error


def foreseen_fault(error: BaseException) -> PresageError | None:
    """Return an error as the one that a user reads; None for a signal, and for what nobody foresaw."""
    if isinstance(error, PresageError):
        return error
    if isinstance(error, ModuleNotFoundError) and not str(error.name).startswith("presage"):
        return MissingExtraError(
            f"this command needs the Python package {error.name}, which is not installed.",
            "Install what running a job needs: pip install 'presage[train]'.",
        )
    if isinstance(error, OSError) and error.errno in _OUTPUT_REFUSALS:
        where = error.filename or "the output"
        return StorageError(f"cannot write to {where}: {error.strerror}.", "Free some space or name another place.")
    return None


@contextmanager
def output_faults_end_the_command() -> Iterator[None]:
    """Run a block; output that finds no room or no reader ends the process with a documented exit code."""
    try:
        try:
            yield
        finally:
            # What is still in the buffer may be refused: here, and not only when Python ends.
            sys.stdout.flush()
    except BrokenPipeError as error:
        # The reader of our output went away, as `head` does.
        _drop_output()
        raise SystemExit(0) from error
    except OSError as error:
        refused = foreseen_fault(error)
        if refused is None:
            raise
        _drop_output()
        _explain(refused)
        raise SystemExit(refused.exit_code) from error


def _drop_output() -> None:
    """Lead stdout to nowhere: Python must not complain again at exit about what is still in the buffer."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _explain(error: PresageError) -> None:
    _say(f"error: {error.what}", "red")
    if isinstance(error, JobError):
        for problem in error.problems:
            _say(f"  {problem}")
    if error.remedy:
        _say(error.remedy)


def _say(text: str, style: str = "") -> None:
    # A full or closed stderr leaves the exit code to tell.
    with suppress(OSError):
        Console(stderr=True, highlight=False, soft_wrap=True).print(text, markup=False, style=style)
