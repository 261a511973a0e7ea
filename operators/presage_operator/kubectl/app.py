"""The plug-in's commands. Each parses its words, makes a few calls, and shows what came back."""

from __future__ import annotations

import re
import sys
import tempfile
import webbrowser
from datetime import UTC, datetime
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from presage import __version__
from presage.cli.faults import faults_end_the_command
from presage.cli.output import Output, console, emit, note
from presage.errors import StopError
from presage.report.console import printable
from presage.spec.status import CadenceName, RunSummary
from presage_operator.kubectl.cluster import Cluster, connect
from presage_operator.kubectl.job import JobHistory, JobState, PodState
from presage_operator.kubectl.tables import print_history, print_jobs, print_status
from presage_operator.kubectl.words import took
from presage_operator.names import FORECAST_REQUESTED_AT, RUN_LABEL, TRAIN_REQUESTED_AT

_OBJECT_NAME = re.compile(r"[a-z0-9]([a-z0-9.-]*[a-z0-9])?")

app = typer.Typer(
    name="kubectl presage",
    help="See and steer PredictionJobs on a cluster.",
    epilog="Exit codes: 0 done, 1 not found or failed, 2 wrong words, 7 the API server does not answer, "
    "130 interrupted, 143 terminated.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)


def _object_name(text: str | None) -> str | None:
    """Return a name that an object may have; other text would lead a call to another place."""
    if text is not None and not _OBJECT_NAME.fullmatch(text):
        raise typer.BadParameter(f"{text!r} is no name that Kubernetes gives")
    return text


Name = Annotated[
    str, typer.Argument(metavar="NAME", help="The PredictionJob.", show_default=False, callback=_object_name)
]
Namespace = Annotated[
    str | None,
    typer.Option(
        "--namespace", "-n", help="Namespace; default: the context's.", show_default=False, callback=_object_name
    ),
]
Context = Annotated[
    str | None, typer.Option("--context", help="Context of the kubeconfig; default: the current.", show_default=False)
]
Kubeconfig = Annotated[
    Path | None, typer.Option("--kubeconfig", help="File to use; default: KUBECONFIG, else ~/.kube/config.")
]
Form = Annotated[Output, typer.Option("--output", "-o", help="Form of what goes to stdout.")]


class Cadence(StrEnum):
    """What is run."""

    train = "train"
    forecast = "forecast"


_CADENCES: dict[Cadence, tuple[CadenceName, str]] = {
    Cadence.train: ("Train", TRAIN_REQUESTED_AT),
    Cadence.forecast: ("Forecast", FORECAST_REQUESTED_AT),
}
# Of a run, of a Deployment, of KServe; other containers are company that a mesh gives them.
_CONTAINERS = ("run", "server", "kserve-container")


@app.callback(invoke_without_command=True)
def _root(version: Annotated[bool, typer.Option("--version", help="Print the version.")] = False) -> None:
    if version:
        typer.echo(f"kubectl-presage {__version__}")
        raise typer.Exit


@app.command()
def status(
    name: Annotated[
        str | None,
        typer.Argument(
            metavar="NAME", help="The PredictionJob; default: all.", show_default=False, callback=_object_name
        ),
    ] = None,
    *,
    namespace: Namespace = None,
    context: Context = None,
    kubeconfig: Kubeconfig = None,
    output: Form = Output.table,
    watch: Annotated[bool, typer.Option("--watch", "-w", help="Show it anew whenever it changes.")] = False,
) -> None:
    """Show how a job fares: the verdict, its numbers and reasons; without a name, all jobs of the namespace."""
    if watch and name is None:
        raise typer.BadParameter("it takes the name of one job", param_hint="--watch")
    with faults_end_the_command():
        cluster = connect(kubeconfig, context, namespace)
        if name is None:
            jobs = cluster.jobs()
            if output is not Output.table:
                emit(jobs, output)
            elif jobs.items:
                print_jobs(jobs, console())
            else:
                note(f"There are no PredictionJobs in {cluster.namespace}.")
            return
        job = cluster.job(name)
        _show(job, output)
        while watch:
            last, job = job, cluster.wait_for_change(job)
            if job != last:
                typer.echo()
                _show(job, output)


@app.command()
def run(
    name: Name,
    *,
    cadence: Annotated[Cadence, typer.Option("--cadence", help="What to run.")] = Cadence.train,
    wait: Annotated[bool, typer.Option("--wait", help="Wait until it has ended; exit with 1 where it failed.")] = False,
    namespace: Namespace = None,
    context: Context = None,
    kubeconfig: Kubeconfig = None,
) -> None:
    """Run a job now, whatever its schedule."""
    with faults_end_the_command("interrupted: the run that was asked for goes on"):
        cluster = connect(kubeconfig, context, namespace)
        kind, annotation = _CADENCES[cadence]
        before = {one.name for one in cluster.job(name).status.runs}
        request = f"{datetime.now(UTC):%Y-%m-%dT%H:%M:%S.%fZ}"
        job = cluster.annotate(name, {annotation: request})
        if not wait:
            typer.echo(f"{job.namespace}/{job.name}: asked for {cadence} at {request}")
            return
        note(f"{job.namespace}/{job.name}: waiting for {cadence}, asked for at {request}")
        ended = _ended(cluster, job, kind, request, before)
        if ended.state != "Succeeded":
            trouble = ": ".join(part for part in (ended.reason, ended.message) if part) or ended.state
            raise StopError(
                f"run {ended.name} ended as {ended.state}: {printable(trouble).rstrip('.')}.",
                f"See its log: kubectl presage logs {name} -n {cluster.namespace} --run {ended.name}.",
            )
        typer.echo(f"{ended.name}: {ended.state} after {took(ended.start_time, ended.completion_time)}")


@app.command()
def logs(
    name: Name,
    *,
    run_name: Annotated[
        str | None,
        typer.Option("--run", metavar="RUN", help="Run; default: the newest.", callback=_object_name),
    ] = None,
    server: Annotated[bool, typer.Option("--server", help="Of the newest inference server instead.")] = False,
    follow: Annotated[bool, typer.Option("--follow", "-f", help="Go on as it is written.")] = False,
    previous: Annotated[bool, typer.Option("--previous", "-p", help="Of the container before its restart.")] = False,
    namespace: Namespace = None,
    context: Context = None,
    kubeconfig: Kubeconfig = None,
) -> None:
    """Print what a run's newest Pod, or an inference server, wrote."""
    if server and run_name is not None:
        raise typer.BadParameter("--run and --server exclude each other", param_hint="--server")
    with faults_end_the_command():
        cluster = connect(kubeconfig, context, namespace)
        cluster.job(name)
        pods = cluster.pods(name, f"!{RUN_LABEL}" if server else f"{RUN_LABEL}={run_name}" if run_name else RUN_LABEL)
        if not pods:
            whose = "an inference server" if server else f"run {run_name}" if run_name else "a run"
            raise StopError(
                f"{cluster.namespace}/{name} has no Pod of {whose}: it was not started, or its Pods were removed.",
                f"See what ran: kubectl presage history {name} -n {cluster.namespace}.",
            )
        for part in cluster.logs(pods[0].name, _container(pods[0]), follow=follow, previous=previous):
            sys.stdout.buffer.write(part)
            sys.stdout.flush()


@app.command()
def history(
    name: Name,
    *,
    namespace: Namespace = None,
    context: Context = None,
    kubeconfig: Kubeconfig = None,
    output: Form = Output.table,
) -> None:
    """Show a job's runs, what went wrong in them, and which models were served and why."""
    with faults_end_the_command():
        job = connect(kubeconfig, context, namespace).job(name)
        found = JobHistory(runs=job.status.runs, champions=job.status.champions)
        if output is Output.table:
            print_history(found, console())
        else:
            emit(found, output)


@app.command()
def report(
    name: Name,
    *,
    out: Annotated[Path | None, typer.Option("--out", help="File to write; default: NAME-report.html.")] = None,
    open_: Annotated[bool, typer.Option("--open", help="Show it in the browser instead.")] = False,
    namespace: Namespace = None,
    context: Context = None,
    kubeconfig: Kubeconfig = None,
) -> None:
    """Fetch the HTML report of what is served."""
    if open_ and out is not None:
        raise typer.BadParameter("--open and --out exclude each other", param_hint="--open")
    with faults_end_the_command():
        cluster = connect(kubeconfig, context, namespace)
        cluster.job(name)
        page = cluster.served_report(name)
        file = _kept(name, page) if open_ else _written(out or Path(f"{name}-report.html"), page)
        note(f"report: {file}")
        if open_:
            webbrowser.open(file.as_uri())


def _show(job: JobState, output: Output) -> None:
    if output is Output.table:
        print_status(job, console())
    else:
        emit(job, output)
    sys.stdout.flush()


def _ended(cluster: Cluster, job: JobState, cadence: CadenceName, request: str, before: set[str]) -> RunSummary:
    """Return the run that obeyed a request, once it has ended."""
    annotation = next(annotation for kind, annotation in _CADENCES.values() if kind == cadence)
    shown = ""
    while True:
        made = next(
            (
                one
                for one in job.status.runs
                if one.cadence == cadence and one.trigger == "Request" and one.name not in before
            ),
            None,
        )
        if made is not None and job.handled(cadence) == request:
            if made.state not in {"Pending", "Running"}:
                return made
            if shown != made.state:
                shown = made.state
                note(f"{made.name}: {made.state}")
        elif job.annotations.get(annotation) != request:
            raise StopError(
                f"another request to run {job.namespace}/{job.name} came before this one was obeyed.",
                f"See what ran: kubectl presage history {job.name} -n {job.namespace}.",
            )
        job = cluster.wait_for_change(job)


def _container(pod: PodState) -> str:
    return next((name for name in pod.containers if name in _CONTAINERS), pod.containers[0])


def _kept(name: str, page: bytes) -> Path:
    # The browser reads it after this command has ended.
    with tempfile.NamedTemporaryFile(prefix=f"{name}-", suffix=".html", delete=False) as file:
        file.write(page)
    return Path(file.name)


def _written(file: Path, page: bytes) -> Path:
    try:
        file.write_bytes(page)
    except OSError as error:
        raise StopError(f"cannot write {file}: {error.strerror}.", "Name another place with --out.") from error
    return file
