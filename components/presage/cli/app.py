"""The commands. Each parses its words, calls one step, and shows what came back."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import Annotated

import typer

from presage import __version__
from presage.cli.backfill import backfill
from presage.cli.backtest import backtest
from presage.cli.backup import backup
from presage.cli.faults import NOT_PROMOTED, RUN_INTERRUPTED, faults_end_the_command
from presage.cli.history import history
from presage.cli.leak_check import leak_check
from presage.cli.logs import set_up_logs
from presage.cli.options import DEFAULT_WORKDIR, AsOf, Form, JobFile, OutcomeFile, Sources, WorkDir, Workers, moment
from presage.cli.outcome import outcome_told
from presage.cli.output import Output, console, emit, note, parse_pairs, progress_on_stderr
from presage.cli.push import Pushgateway, push
from presage.cli.rerun import rerun
from presage.cli.restore import restore
from presage.cli.rollback import rollback
from presage.cli.subcommands import add_subcommands
from presage.cli.track import Tracking, track
from presage.cli.verify import verify
from presage.spec.digest import spec_digest
from presage.spec.load import load_job
from presage.spec.outcome import RunOutcome

app = typer.Typer(
    name="presage",
    help="One file, a PredictionJob, turns market data into an honest, running forecast.",
    epilog="Exit codes: 0 done (also when no model was promoted), 1 unexpected failure, 2 wrong words or job file, "
    "3 not promoted under --require-promotion, 4 a feature leaks, 5 unusable data, 6 damaged lake or backup, "
    "7 try again later, 8 not ready (verify), 9 a rerun found something else, 130 interrupted, 143 terminated.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)


@app.callback(invoke_without_command=True)
def _root(
    version: Annotated[bool, typer.Option("--version", help="Print the version.")] = False,
) -> None:
    set_up_logs()
    if version:
        typer.echo(f"presage {__version__}")
        raise typer.Exit


@app.command()
def run(
    file: JobFile,
    workdir: WorkDir = DEFAULT_WORKDIR,
    source: Sources = None,
    as_of: AsOf = None,
    workers: Workers = None,
    output: Form = Output.table,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Print the plan and stop.")] = False,
    require_promotion: Annotated[
        bool, typer.Option("--require-promotion", help="Exit with 3 where no model is promoted.")
    ] = False,
    no_cache: Annotated[
        bool,
        typer.Option(
            "--no-cache", envvar="PRESAGE_NO_CACHE", help="Make the run anew where the newest one has the same inputs."
        ),
    ] = False,
    outcome: OutcomeFile = None,
    tracking: Tracking = None,
    pushgateway: Pushgateway = None,
) -> None:
    """Turn a job into a judged forecast: ingest, select, train, judge, promote, forecast."""
    sources = parse_pairs(source or [], "--source")
    if dry_run:
        _show_plan(file, output)
        return
    with faults_end_the_command(RUN_INTERRUPTED), outcome_told(outcome) as tell:
        job = load_job(file)
        tell(RunOutcome(spec_digest=spec_digest(job)))
        from presage.steps.mirror import work_in
        from presage.steps.run import run_job
        from presage.steps.track import track_finished, tracking_place

        pushed = push(pushgateway)
        now = moment(as_of)
        with progress_on_stderr() as progress, work_in(workdir, job) as place:
            told = tracking_place(tracking, place)
            done = run_job(
                job,
                base=file.parent,
                workdir=place.directory,
                now=now,
                sources=sources,
                workers=workers,
                progress=progress,
                cache=not no_cache,
            )
            place.keep()
            tell(done.outcome)
            pushed(done, now)
            track_finished(job, place, told)
    with faults_end_the_command():
        from presage.report.tabular_terminal import show_report, show_scorecard
        from presage.report.write import REPORT

        if done.held_back is not None and output is not Output.table:
            note(done.held_back)
        if done.report is None:
            note(f"unchanged since run {done.summary.run}: nothing was fitted; --no-cache makes it anew")
        if output is Output.table:
            if done.report is None:
                name = f"{job.metadata.namespace}/{job.metadata.name}"
                show_scorecard(done.summary.scorecard, console(), name=name, held_back=done.held_back)
            else:
                show_report(done.report, console(), held_back=done.held_back)
            note(f"report: {place.called(done.directory / REPORT)}")
        else:
            emit(done.summary, output)
        serves = done.summary.scorecard.verdict.promoted and done.held_back is None
        if require_promotion and not serves:
            raise typer.Exit(NOT_PROMOTED)


@app.command()
def validate(file: JobFile, output: Form = Output.table) -> None:
    """Check a job file: every fault with its place, what was found and what is allowed."""
    with faults_end_the_command():
        job = load_job(file)
        if output is Output.table:
            typer.echo(f"{file}: a valid PredictionJob {job.metadata.name!r}")
        else:
            emit(job, output)


@app.command()
def init(
    table: Annotated[Path, typer.Argument(metavar="TABLE", help="A CSV or Parquet file.", show_default=False)],
    out: Annotated[Path | None, typer.Option("--out", help="File to write; default: stdout.")] = None,
) -> None:
    """Write a sensible job for a table, explaining each guess."""
    with faults_end_the_command():
        from presage.draft.job import draft_job
        from presage.files import write_atomically

        text = draft_job(table, relative_to=(out.parent if out else Path()))
        if out is None:
            typer.echo(text, nl=False)
        else:
            write_atomically(out, text, option="--out")
            note(f"wrote {out}; next: presage run {shlex.quote(str(out))}")


@app.command()
def forecast(
    file: JobFile,
    out: Annotated[Path | None, typer.Option("--out", help="Parquet file to write.")] = None,
    workdir: WorkDir = DEFAULT_WORKDIR,
    source: Sources = None,
    as_of: AsOf = None,
    output: Form = Output.table,
    outcome: OutcomeFile = None,
) -> None:
    """Issue the champion's next forecast on the newest data; trains first where the job has no champion yet."""
    sources = parse_pairs(source or [], "--source")
    with faults_end_the_command(RUN_INTERRUPTED), outcome_told(outcome) as tell:
        job = load_job(file)
        tell(RunOutcome(spec_digest=spec_digest(job)))
        from presage.steps.issue import issue_forecast
        from presage.steps.mirror import work_in

        with progress_on_stderr() as progress, work_in(workdir, job) as place:
            issued = issue_forecast(
                job,
                base=file.parent,
                workdir=place.directory,
                now=moment(as_of),
                sources=sources,
                out=out,
                progress=progress,
            )
        tell(issued.outcome)
    with faults_end_the_command():
        from presage.report.tabular_terminal import show_forecasts

        if output is Output.table:
            show_forecasts(issued.forecasts, console())
        else:
            emit(issued.summary, output)


@app.command()
def report(
    file: JobFile,
    workdir: WorkDir = DEFAULT_WORKDIR,
    run_id: Annotated[str | None, typer.Option("--run", help="Run to show; default: the newest.")] = None,
    path: Annotated[bool, typer.Option("--path", help="Print only where the HTML report is.")] = False,
    output: Form = Output.table,
) -> None:
    """Show what a run found."""
    with faults_end_the_command():
        job = load_job(file)
        from presage.report.tabular_terminal import show_scorecard
        from presage.report.write import REPORT
        from presage.steps.history import open_run
        from presage.steps.mirror import look_in

        with look_in(workdir, job) as place:
            found = open_run(job, workdir=place.directory, run_id=run_id)
        html = place.called(found.directory / REPORT)
        if path:
            typer.echo(html)
        elif output is Output.table:
            show_scorecard(found.summary.scorecard, console(), name=job.metadata.name)
            note(f"report: {html}")
        else:
            emit(found.summary, output)


def _show_plan(file: Path, output: Output) -> None:
    with faults_end_the_command():
        from presage.steps.plan import plan, print_plan
        from presage.steps.supported import require_supported

        job = load_job(file)
        require_supported(job, file.parent)
        made = plan(job)
        if output is Output.table:
            print_plan(made, console())
        else:
            emit(made, output)


app.command()(backfill)
app.command()(backtest)
app.command()(backup)
app.command()(history)
app.command()(rerun)
app.command()(restore)
app.command()(rollback)
app.command()(track)
app.command()(verify)
app.command()(leak_check)
add_subcommands(app)
