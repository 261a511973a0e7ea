"""What a command leaves for the platform that started it: how it ended, in a file such as a Pod's termination log."""

from __future__ import annotations

import logging
import os
import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from presage.cli.faults import foreseen_fault
from presage.errors import JobError
from presage.spec.outcome import Failure, RunOutcome, to_message

_LOG = logging.getLogger(__name__)
_SECRET_NAME = re.compile(r"SECRET|PASSWORD|PASSWD|TOKEN|CREDENTIAL|(ACCESS|API|PRIVATE|ACCOUNT)_?KEY")
_CREDENTIALS = re.compile(r"(?<=://)[^\s/@]+@")
_SHORTEST_SECRET = 6
_HIDDEN = "***"


@contextmanager
def outcome_told(file: Path | None) -> Iterator[Callable[[RunOutcome], None]]:
    """Run a command's body and write how it ended to a file; what it raises goes through.

    The file is opened and written, not replaced: a container's termination log is mounted. Where it cannot be written,
    the log says so and the command ends as it would have.

    Args:
        file: The file; None to tell nobody.

    Yields:
        A function that takes what is to be told; the last outcome that it was given counts.
    """
    told = RunOutcome()

    def tell(outcome: RunOutcome) -> None:
        nonlocal told
        told = outcome

    try:
        yield tell
    except BaseException as error:
        told = told.model_copy(update={"failure": failure_of(error)})
        raise
    finally:
        if file is not None:
            _write(file, told)


def failure_of(error: BaseException) -> Failure:
    """Return what the platform is told of the error that ended a command; no secret is in it."""
    foreseen = foreseen_fault(error)
    if foreseen is not None:
        problems = [str(problem) for problem in foreseen.problems] if isinstance(foreseen, JobError) else []
        message = " ".join(filter(None, (foreseen.what, "; ".join(problems), foreseen.remedy)))
        return Failure(reason=type(foreseen).__name__, message=without_secrets(message), retry=foreseen.retry)
    if isinstance(error, KeyboardInterrupt | SystemExit):
        said = str(error) if isinstance(error, KeyboardInterrupt) else ""
        return Failure(reason="Interrupted", message=said or "a signal ended it; no part of it was kept.", retry=True)
    return Failure(reason="UnexpectedFailure", message=without_secrets(f"{type(error).__name__}: {error}"), retry=False)


def without_secrets(text: str) -> str:
    """Return a text without the credentials of addresses and without what the environment holds as secret."""
    text = _CREDENTIALS.sub(f"{_HIDDEN}@", text.encode(errors="replace").decode())
    secrets = {value for name, value in os.environ.items() if _SECRET_NAME.search(name.upper())}
    for secret in sorted(secrets, key=len, reverse=True):
        if len(secret) >= _SHORTEST_SECRET:
            text = text.replace(secret, _HIDDEN)
    return text


def _write(file: Path, outcome: RunOutcome) -> None:
    try:
        file.write_bytes(to_message(outcome))
    except OSError as error:
        _LOG.warning("outcome not written", extra={"file": str(file), "fault": error.strerror or str(error)})
