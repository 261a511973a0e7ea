"""The fourth step: which bundle serves a job, and who served it before."""

from __future__ import annotations

from datetime import datetime
from pathlib import Path
from typing import Literal

from pydantic import BaseModel, ConfigDict, ValidationError

from presage.errors import LakeError
from presage.evaluation.scorecard import Reason, Verdict
from presage.files import write_atomically

HISTORY_AT_MOST = 50


class Champion(BaseModel):
    """What serves a job since when, and why."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    run: str
    """Run whose bundle it is."""
    inputs: str
    """Digest of all that pins the run's result: a repeat has the same one."""
    model: str
    procedure: str
    """Digest of the procedure that was judged."""
    promoted: bool
    """Whether it is a promoted model; else it is the best baseline."""
    reason: Reason
    message: str
    since: datetime
    """UTC."""


class Champions(BaseModel):
    """The champion file: the one that serves, and those before it, newest first."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    version: Literal["v1"] = "v1"
    current: Champion
    history: tuple[Champion, ...] = ()


def read_champions(path: Path) -> Champions | None:
    """Return the champion file, None where there is none; raises LakeError for one that cannot be read."""
    if not path.exists():
        return None
    try:
        return Champions.model_validate_json(path.read_bytes())
    except (ValidationError, OSError) as error:
        raise LakeError(
            f"the champion file {path} cannot be read.", "Remove it and run the job again; its runs are unharmed."
        ) from error


def incumbent(champions: Champions | None, inputs: str, now: datetime) -> Champion | None:
    """Return what served at a moment before any run of these inputs, so that a repeat is judged as the first was.

    Args:
        champions: The champion file.
        inputs: Digest of all that pins a run's result.
        now: The moment, UTC; a run as of an earlier day knows no champion of a later one.
    """
    known = () if champions is None else (champions.current, *champions.history)
    return next((one for one in known if one.inputs != inputs and one.since <= now), None)


def promote(path: Path, verdict: Verdict, *, run: str, inputs: str, procedure: str, now: datetime) -> Champions:
    """Write the champion file after a verdict and return it.

    A refit that does not pass while the incumbent stays changes nothing, and neither does a run as of an earlier day
    than the champion's: what serves goes on serving.

    Args:
        path: The champion file.
        verdict: The gate's decision.
        run: The run that it judged.
        inputs: Digest of all that pins the run's result.
        procedure: Digest of the procedure that was judged.
        now: When, UTC.

    Raises:
        LakeError: The file that is there cannot be read.
        StorageError: The file cannot be written.
    """
    before = read_champions(path)
    if before is not None:
        stays = not verdict.promoted and verdict.champion != verdict.baseline
        if before.current.since > now or (stays and before.current.inputs != inputs):
            return before
    champion = Champion(
        run=run,
        inputs=inputs,
        model=verdict.champion,
        procedure=procedure,
        promoted=verdict.promoted,
        reason=verdict.reason,
        message=verdict.message,
        since=now,
    )
    known = () if before is None else (before.current, *before.history)
    earlier = tuple(one for one in known if one.inputs != inputs)
    after = Champions(current=champion, history=earlier[:HISTORY_AT_MOST])
    write_atomically(path, after.model_dump_json(indent=2) + "\n")
    return after
