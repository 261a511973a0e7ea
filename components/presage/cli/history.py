"""The `history` command."""

from __future__ import annotations

from typing import TYPE_CHECKING

from presage.cli.champions import ChampionLine, print_champions
from presage.cli.faults import faults_end_the_command
from presage.cli.options import DEFAULT_WORKDIR, Form, JobFile, WorkDir
from presage.cli.output import Output, console, emit, note
from presage.spec.load import load_job

if TYPE_CHECKING:
    from presage.steps.champions import ServedChampion


def history(file: JobFile, workdir: WorkDir = DEFAULT_WORKDIR, output: Form = Output.table) -> None:
    """Show who was champion, from when until when, and why; the newest first."""
    with faults_end_the_command():
        job = load_job(file)
        from presage.steps.champions import champion_history  # noqa: PLC0415  # loaded only when it is called
        from presage.steps.mirror import look_in  # noqa: PLC0415  # as above

        with look_in(workdir, job) as place:
            found = champion_history(job, workdir=place.directory)
        if output is not Output.table:
            emit(found, output)
        elif found.champions:
            print_champions(map(champion_line, found.champions), console())
        else:
            note(f"{job.metadata.name} has no champion in {place.name} yet; next: presage run {file}")


def champion_line(one: ServedChampion) -> ChampionLine:
    """Return what is printed of a champion."""
    ended = [
        "rolled back" if one.rolled_back else "",
        "" if one.kept else "its run is no longer kept, so nothing leads back to it",
    ]
    return ChampionLine(
        model=one.model,
        promoted=one.promoted,
        since=one.since,
        until=one.until,
        reason=one.reason,
        message=one.message,
        by=one.by or "",
        run=one.run,
        digest=one.digest or "",
        ended="; ".join(filter(None, ended)),
    )
