"""The fourth step: which bundle serves a job, who served it before, and the way back to one of those."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime
from pathlib import Path
from typing import Literal

from pydantic import BaseModel, ConfigDict, ValidationError

from presage.errors import JobError, LakeError
from presage.evaluation.scorecard import Reason, Verdict
from presage.files import write_atomically

HISTORY_AT_MOST = 50
CHAMPIONS_AT_HAND = 3
"""How many champions keep their runs whatever their age: the one that serves, and those that it can give way to."""
ROLLED_BACK: Literal["RolledBack"] = "RolledBack"
_LISTED = 5


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
    reason: Reason | Literal["RolledBack"]
    message: str
    """The gate's reason in numbers, or the words of who rolled back to it."""
    since: datetime
    """UTC."""
    until: datetime | None = None
    """When another took its place, UTC; None where it serves, and where the file is of an earlier version."""
    digest: str | None = None
    """Digest of the scorecard behind it; None where the file is of an earlier version."""
    by: str | None = None
    """Who rolled back to it."""
    rolled_back: bool = False
    """Whether it was a rollback that took its place away."""


class Champions(BaseModel):
    """The champion file: the one that serves, and those before it, newest first."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    version: Literal["v1"] = "v1"
    current: Champion
    history: tuple[Champion, ...] = ()

    @property
    def known(self) -> tuple[Champion, ...]:
        """The one that serves and those before it, newest first."""
        return (self.current, *self.history)


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


def write_champions(path: Path, champions: Champions) -> None:
    """Replace the champion file; raises StorageError where it cannot be written."""
    write_atomically(path, champions.model_dump_json(indent=2) + "\n")


def incumbent(champions: Champions | None, inputs: str, now: datetime) -> Champion | None:
    """Return what served at a moment before any run of these inputs, so that a repeat is judged as the first was.

    One that was rolled back before that moment is nobody's measure.

    Args:
        champions: The champion file.
        inputs: Digest of all that pins a run's result.
        now: The moment, UTC; a run as of an earlier day knows no champion of a later one.
    """
    known = () if champions is None else champions.known
    then = _distinct(one for one in known if one.since <= now)
    return next((one for one in then if one.inputs != inputs and not _gone_by_rollback(one, now)), None)


def promote(
    path: Path,
    verdict: Verdict,
    *,
    run: str,
    inputs: str,
    procedure: str,
    now: datetime,
    digest: str | None = None,
) -> Champions:
    """Write the champion file after a verdict and return it.

    Args:
        path: The champion file.
        verdict: The gate's decision.
        run: The run that it judged.
        inputs: Digest of all that pins the run's result.
        procedure: Digest of the procedure that was judged.
        now: When, UTC.
        digest: Digest of the run's scorecard.

    Raises:
        LakeError: The file that is there cannot be read.
        StorageError: The file cannot be written.
    """
    before = read_champions(path)
    after = judged(before, verdict, run=run, inputs=inputs, procedure=procedure, now=now, digest=digest)
    if after is not before:
        write_champions(path, after)
    return after


def judged(
    before: Champions | None,
    verdict: Verdict,
    *,
    run: str,
    inputs: str,
    procedure: str,
    now: datetime,
    digest: str | None = None,
) -> Champions:
    """Return the champions after a verdict, given as to `promote`; the very ones of before where it changes nothing."""
    champion = Champion(
        run=run,
        inputs=inputs,
        model=verdict.champion,
        procedure=procedure,
        promoted=verdict.promoted,
        reason=verdict.reason,
        message=verdict.message,
        since=now,
        digest=digest,
    )
    stays = not verdict.promoted and verdict.champion != verdict.baseline
    return succeed(before, champion, incumbent_stays=stays)


def succeed(before: Champions | None, champion: Champion, *, incumbent_stays: bool) -> Champions:
    """Return the champions after a verdict; the very ones of before where nothing changes. Pure.

    What serves goes on serving where the verdict says that the incumbent stays, where the run is as of an earlier day
    than the champion's, and where a run of these inputs was rolled back: the same inputs give the same result. A
    champion of another procedure cannot forecast for the job any more, so it holds none back.

    Args:
        before: The champions so far.
        champion: What the verdict would have served.
        incumbent_stays: Whether the verdict found that the incumbent serves on.
    """
    if before is None:
        return Champions(current=champion)
    current = before.current
    if current.since > champion.since:
        return before
    if current.procedure == champion.procedure and held_back(before, champion.inputs):
        return before
    if current.inputs != champion.inputs:
        return before if incumbent_stays else _followed(before, champion)
    # A repeat takes the place of the run that it repeats; that a person brought this one back stays in the history.
    return (
        _followed(before, champion)
        if current.reason == ROLLED_BACK
        else before.model_copy(update={"current": champion})
    )


def held_back(champions: Champions | None, inputs: str) -> str | None:
    """Return why a run of these inputs does not serve, as a sentence; None where no rollback stands against it."""
    known = () if champions is None else champions.known
    for newer, one in zip((None, *known), known, strict=False):
        if one.inputs != inputs:
            continue
        if not one.rolled_back:
            return None
        told = f": {newer.message.rstrip('.')}" if newer is not None and newer.reason == ROLLED_BACK else ""
        when = "" if one.until is None else f" at {one.until:%Y-%m-%d %H:%M} UTC"
        return (
            f"run {one.run} of the same inputs was rolled back{when}{told}. "
            "The same inputs give the same result, so what serves goes on serving."
        )
    return None


def roll_back(
    champions: Champions,
    *,
    procedure: str,
    reason: str,
    by: str | None,
    now: datetime,
    to: str | None = None,
    serving: str | None = None,
) -> Champions:
    """Return the champions after a rollback; the very ones of before where it has nothing to change. Pure.

    Args:
        champions: The champions so far.
        procedure: Digest of the procedure that the job file states: only a champion of it can forecast for the job.
        reason: Why, in a person's words.
        by: Who says so.
        now: When, UTC.
        to: Run of the champion to bring back; None for the one that served before the current one.
        serving: Run that is to be rolled back, so that a repeat finds it done; None for whatever serves.

    Raises:
        JobError: There is none to bring back, it is of another procedure, another run than `serving` serves, or the
            champion is of a later moment.
    """
    current = champions.current
    if serving is not None and serving != current.run:
        if any(one.run == serving and one.rolled_back for one in champions.history):
            return champions
        raise JobError(
            f"run {serving} does not serve: {current.model} of run {current.run} does, since {_minute(current.since)}.",
            "See the history, and roll back again where that one is to go.",
        )
    if to == current.run:
        return champions
    target = _target(champions, to)
    if target.procedure != procedure:
        raise JobError(
            f"run {target.run} is of another procedure than the job file: its sources, features, models, evaluation or "
            "seed are others.",
            "Bring back the job file that it was made with, then roll back; or name a run of this procedure with --to.",
        )
    if current.since > now:
        raise JobError(
            f"{current.model} of run {current.run} serves since {_minute(current.since)}, later than this rollback.",
            "Leave out --as-of, or give a later moment.",
        )
    gone = champions.model_copy(update={"current": current.model_copy(update={"rolled_back": True})})
    restored = {
        "reason": ROLLED_BACK,
        "message": reason,
        "by": by,
        "since": now,
        "until": None,
        "rolled_back": False,
    }
    return _followed(gone, target.model_copy(update=restored))


def runs_at_hand(champions: Champions | None) -> set[str]:
    """Return the runs that retention leaves alone: of the newest champions, and of what a repeat is compared with."""
    if champions is None:
        return set()
    before = incumbent(champions, champions.current.inputs, champions.current.since)
    newest = _distinct(champions.known)[:CHAMPIONS_AT_HAND]
    return {one.run for one in newest} | ({before.run} if before else set())


def _target(champions: Champions, to: str | None) -> Champion:
    current = champions.current
    others = [one for one in _distinct(champions.history) if one.inputs != current.inputs]
    if to is None and not others:
        raise JobError(
            f"there is nothing to roll back to: {current.model} of run {current.run} is the only champion so far.",
            "Run the job again on newer data or with another spec; what passes the gate takes over.",
        )
    if to is None:
        return others[0]
    found = next((one for one in champions.history if one.run == to), None)
    if found is None:
        listed = ", ".join(one.run for one in others[:_LISTED]) or "none before the one that serves"
        raise JobError(f"run {to} was no champion of this job.", f"Champions, the newest first: {listed}.")
    return found


def _followed(before: Champions, champion: Champion) -> Champions:
    """Return the champions with another at their head."""
    ended = before.current.model_copy(update={"until": champion.since})
    return Champions(current=champion, history=(ended, *before.history)[:HISTORY_AT_MOST])


def _distinct(champions: Iterable[Champion]) -> list[Champion]:
    """Return of each inputs' champions the newest, the newest first."""
    by_inputs: dict[str, Champion] = {}
    for one in champions:
        by_inputs.setdefault(one.inputs, one)
    return list(by_inputs.values())


def _gone_by_rollback(champion: Champion, now: datetime) -> bool:
    return champion.rolled_back and (champion.until is None or champion.until <= now)


def _minute(moment: datetime) -> str:
    return f"{moment:%Y-%m-%d %H:%M} UTC"
