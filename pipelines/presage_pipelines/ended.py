"""How a step of the pipeline ends: as a command does, with a sentence on stderr and an exit code, never a traceback."""

from __future__ import annotations

import logging
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import typer

from presage.cli.faults import faults_end_the_command
from presage.cli.logs import set_up_logs
from presage.cli.outcome import failure_of
from presage.spec.outcome import OUTCOME_VARIABLE, RunOutcome, to_message

_INTERRUPTED = "interrupted: no part of this step was kept"
_LOG = logging.getLogger(__name__)


@contextmanager
def step() -> Iterator[list[RunOutcome]]:
    """Run a step's body.

    The error that ends it, or how the run ended, is also written to the file that PRESAGE_OUTCOME names, where there is
    such a file: a container's termination log.

    Yields:
        A list to which the body of the last step adds how the run ended.

    Raises:
        SystemExit: The body failed; the code is that of the command line.
    """
    set_up_logs("presage", "presage_pipelines")
    told: list[RunOutcome] = []
    try:
        with faults_end_the_command(_INTERRUPTED):
            try:
                yield told
            except BaseException as error:
                told.append(RunOutcome(failure=failure_of(error)))
                raise
            finally:
                for outcome in told[-1:]:
                    _tell(outcome)
    except typer.Exit as ended:
        raise SystemExit(ended.exit_code) from None


def _tell(outcome: RunOutcome) -> None:
    named = os.environ.get(OUTCOME_VARIABLE)
    # Where no container runtime has put a termination log, there is nobody to tell.
    if not named or not Path(named).exists():
        return
    try:
        Path(named).write_bytes(to_message(outcome))
    except OSError as error:
        _LOG.warning("outcome not written", extra={"file": named, "fault": error.strerror or str(error)})
