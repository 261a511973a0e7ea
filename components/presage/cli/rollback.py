"""The `rollback` command."""

from __future__ import annotations

import getpass
from typing import TYPE_CHECKING, Annotated

import typer

from presage.cli.champions import print_champions
from presage.cli.faults import faults_end_the_command
from presage.cli.history import champion_line
from presage.cli.options import DEFAULT_WORKDIR, AsOf, Form, JobFile, OutcomeFile, WorkDir, moment
from presage.cli.outcome import outcome_told
from presage.cli.output import Output, console, emit, note, progress_on_stderr
from presage.cli.track import Tracking
from presage.spec.digest import spec_digest
from presage.spec.load import load_job
from presage.spec.outcome import RunOutcome

if TYPE_CHECKING:
    from presage.steps.rollback import RolledBack

LONGEST_REASON = 500
_LONGEST_NAME = 128
_INTERRUPTED = "interrupted: see what serves with presage history"


def one_line(text: str | None) -> str | None:
    """Return words of a person as one line; raises typer.BadParameter where there are none or too many."""
    if text is None:
        return None
    line = " ".join("".join(letter if letter.isprintable() else " " for letter in text).split())
    if not line:
        raise typer.BadParameter("say it in a few words")
    if len(line) > LONGEST_REASON:
        raise typer.BadParameter(f"{len(line)} characters; at most {LONGEST_REASON} are kept")
    return line


Reason = Annotated[
    str,
    typer.Option(
        "--reason", help="Why, in a few words; the history keeps them.", callback=one_line, show_default=False
    ),
]


def rollback(  # noqa: PLR0917  # its arguments are options
    file: JobFile,
    reason: Reason,
    to: Annotated[
        str | None,
        typer.Option("--to", metavar="RUN", help="Run of the champion to bring back; default: the one before."),
    ] = None,
    serving: Annotated[
        str | None,
        typer.Option("--from", metavar="RUN", help="Only where this run serves; a repeat then finds it done."),
    ] = None,
    by: Annotated[
        str | None, typer.Option("--by", help="Who says so; default: the user of this machine.", callback=one_line)
    ] = None,
    workdir: WorkDir = DEFAULT_WORKDIR,
    as_of: AsOf = None,
    output: Form = Output.table,
    outcome: OutcomeFile = None,
    tracking: Tracking = None,
) -> None:
    """Bring an earlier champion back, and issue its next forecast."""
    with faults_end_the_command(_INTERRUPTED), outcome_told(outcome) as tell:
        job = load_job(file)
        tell(RunOutcome(spec_digest=spec_digest(job)))
        from presage.steps.mirror import work_in  # noqa: PLC0415  # loaded only when it is called
        from presage.steps.rollback import Asked, roll_back_job  # noqa: PLC0415  # as above
        from presage.steps.track import track_finished, tracking_place  # noqa: PLC0415  # as above

        with progress_on_stderr() as progress, work_in(workdir, job) as place:
            told = tracking_place(tracking, place)
            done = roll_back_job(
                job,
                Asked(reason=reason, by=(by or _user())[:_LONGEST_NAME] or None, to=to, serving=serving),
                base=file.parent,
                place=place,
                now=moment(as_of),
                progress=progress,
            )
            place.keep()
            tell(done.outcome)
            track_finished(job, place, told)
    with faults_end_the_command():
        if output is Output.table:
            _show(done)
        else:
            emit(done.summary, output)
        if done.summary.fault:
            note(f"no forecast was issued: {done.summary.fault}\nIssue it later: presage forecast {file}")


def _show(done: RolledBack) -> None:
    told = done.summary
    if not told.changed:
        note(f"nothing was changed: {told.champion.model} of run {told.champion.run} serves")
    target = console()
    print_champions(map(champion_line, (told.champion, told.before) if told.changed else (told.champion,)), target)
    if done.issued is not None:
        from presage.report.tabular_terminal import show_forecasts  # noqa: PLC0415  # loaded only when it is needed

        target.print()
        show_forecasts(done.issued.forecasts, target)


def _user() -> str:
    """Return the name of who runs this; empty for a user without a name, as in a container."""
    try:
        return getpass.getuser()
    except (KeyError, OSError):
        return ""
