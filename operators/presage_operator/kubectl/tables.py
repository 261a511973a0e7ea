"""What the plug-in prints for people: the verdict first, then the numbers; it fits 80 columns."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from rich.console import Console
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from presage.cli.champions import ChampionLine, print_champions
from presage.report.console import INDENT, heading, paragraph, printable
from presage.spec.status import Champion, NextRuns, RunSummary
from presage_operator.kubectl.job import JobHistory, JobList, JobState
from presage_operator.kubectl.words import UNDEFINED, moment, percent, took


def print_status(job: JobState, console: Console) -> None:
    """Print how a job fares: the verdict, its numbers, what is next, the conditions, and what to reproduce it by."""
    status = job.status
    ready, stalled, promoted = (job.condition(name) for name in ("Ready", "Stalled", "Promoted"))
    word, style = _word(job)
    console.print(Text.assemble((word, style), "  ", (printable(f"{job.namespace}/{job.name}"), "dim")))
    if ready is None:
        paragraph("no operator has looked at this job yet; if that lasts, see whether one runs", console)
        return
    paragraph(ready.message or ready.reason, console, style="bold")
    told = {ready.message}
    for other in (stalled if stalled and stalled.status == "True" else None, promoted):
        if other is not None and other.message and other.message not in told:
            told.add(other.message)
            paragraph(other.message, console)
    if status.observed_generation is not None and status.observed_generation < job.generation:
        paragraph("the operator has not taken in the newest change of the spec yet", console, style="yellow")
    _numbers(job, console)
    _conditions(job, console)
    _references(job, console)


def print_jobs(jobs: JobList, console: Console) -> None:
    """Print a row a job."""
    rows = []
    for job in jobs.items:
        ready, card = job.condition("Ready"), job.status.scorecard
        rows.append(
            (
                job.name,
                ready.status if ready else UNDEFINED,
                job.status.phase or UNDEFINED,
                card.model if card else UNDEFINED,
                percent(card.skill if card else None),
                percent(card.coverage if card else None),
                ready.reason if ready else UNDEFINED,
            )
        )
    columns = ("name", "ready", "phase", "model", "skill", "coverage", "reason")
    _table(columns, rows, console, folded={0, 3, 6}, right={4, 5}, indent=0)


def print_history(history: JobHistory, console: Console) -> None:
    """Print a job's runs with what went wrong, and what was served and why."""
    runs = history.runs
    console.print(Text("Runs", "bold"))
    if not runs:
        paragraph("none yet", console)
    rows = [
        (
            run.name,
            run.cadence,
            run.trigger,
            run.state,
            moment(run.start_time),
            took(run.start_time, run.completion_time),
        )
        for run in runs
    ]
    _table(("run", "cadence", "trigger", "state", "started, UTC", "took"), rows, console, folded={0})
    troubled = [run for run in runs if run.reason or run.message]
    if troubled:
        heading("What went wrong", console)
    for run in troubled:
        paragraph(run.name, console, style="dim")
        paragraph(_trouble(run), console, indent=2 * INDENT)
    heading("Champions", console)
    if not history.champions:
        paragraph("none yet", console)
    print_champions(champion_lines(history.champions), console, indent=INDENT)


def champion_lines(champions: Sequence[Champion]) -> list[ChampionLine]:
    """Return what is printed of champions, which come the newest first."""
    newer = (None, *champions)
    return [
        ChampionLine(
            model=one.model,
            promoted=one.promoted,
            since=one.since,
            until=after.since if after else None,
            reason=one.reason,
            message=one.message or "",
            by=one.by or "",
            run=one.run,
            digest=one.digest,
            ended="rolled back" if after is not None and after.reason == "RolledBack" else "",
        )
        for after, one in zip(newer, champions, strict=False)
    ]


def _word(job: JobState) -> tuple[str, str]:
    ready, stalled = job.condition("Ready"), job.condition("Stalled")
    if ready is not None and ready.status == "True":
        return "READY", "bold green"
    if stalled is not None and stalled.status == "True":
        return "STALLED", "bold red"
    return ("PENDING" if ready is None else "NOT READY"), "bold yellow"


def _numbers(job: JobState, console: Console) -> None:
    status, card = job.status, job.status.scorecard
    rows: list[tuple[str, ...]] = [("Phase", status.phase or UNDEFINED)]
    if card is not None:
        rows += [
            ("Model", card.model, "what is served"),
            ("Skill", percent(card.skill), "against the best baseline"),
            ("Coverage", percent(card.coverage), "of outcomes inside the interval"),
        ]
    if status.champions:
        champion = status.champions[0]
        rows += [("Champion", champion.model, champion.reason), ("Served since", moment(champion.since), "UTC")]
    coming = status.next_runs or NextRuns()
    times = (
        ("Next training", coming.train),
        ("Next forecast", coming.forecast),
        ("Stale after", status.stale_after),
    )
    rows += [(name, moment(time), "UTC") for name, time in times if time is not None]
    console.print()
    grid = Table.grid(padding=(0, 2))
    # A column that is empty throughout would take its place from the others.
    for style in ("", "bold", "dim")[: max(map(len, rows))]:
        grid.add_column(style=style, overflow="fold")
    for row in rows:
        grid.add_row(*(Text(printable(part)) for part in row))
    console.print(Padding(grid, (0, 0, 0, INDENT), expand=False))
    if status.url is not None:
        heading("Where forecasts are served", console)
        paragraph(status.url, console)


def _conditions(job: JobState, console: Console) -> None:
    heading("Conditions", console)
    rows = [(one.type, one.status, one.reason, moment(one.last_transition_time)) for one in job.status.conditions]
    _table(("condition", "status", "reason", "since, UTC"), rows, console, folded={2})
    told = [one for one in job.status.conditions if one.message and one.type not in {"Ready", "Promoted"}]
    if told:
        heading("In words", console)
    for one in told:
        paragraph(f"{one.type}: {one.message}", console)


def _references(job: JobState, console: Console) -> None:
    card = job.status.scorecard
    if card is None:
        return
    heading("How to reproduce it", console)
    for key, value in (("run", card.run), ("data", card.data), ("scorecard", card.digest)):
        if value is not None:
            paragraph(key, console, style="dim")
            paragraph(value, console, indent=2 * INDENT)


def _trouble(run: RunSummary) -> str:
    attempt = f" (attempt {run.attempt})" if run.attempt > 1 else ""
    return ": ".join(part for part in (run.reason, run.message) if part) + attempt


def _table(
    columns: Sequence[str],
    rows: Iterable[Sequence[str]],
    console: Console,
    *,
    folded: set[int],
    right: set[int] = frozenset(),  # type: ignore[assignment]  # read only
    indent: int = INDENT,
) -> None:
    """Print rows without frames; only the folded columns may be broken into lines."""
    shown = [[Text(printable(cell)) for cell in row] for row in rows]
    if not shown:
        return
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), header_style="dim")
    for place, name in enumerate(columns):
        justify = "right" if place in right else "left"
        table.add_column(name, justify=justify, no_wrap=place not in folded, overflow="fold")  # type: ignore[arg-type]
    for row in shown:
        table.add_row(*row)
    console.print(Padding(table, (0, 0, 0, indent), expand=False))
