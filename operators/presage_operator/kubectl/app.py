"""The plug-in's commands. Each parses its words, makes a few calls, and shows what came back."""

from __future__ import annotations

import sys
import tempfile
import webbrowser
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from presage import __version__
from presage.cli.faults import faults_end_the_command
from presage.cli.output import Output, console, emit, note
from presage.errors import StopError
from presage.spec.status import RunKind
from presage_operator.kubectl.cluster import connect
from presage_operator.kubectl.job import JobHistory, JobState, PodState
from presage_operator.kubectl.options import Context, Form, Kubeconfig, Name, Namespace, object_name
from presage_operator.kubectl.requests import ANNOTATIONS, ended_well, new_request
from presage_operator.kubectl.rollback import rollback
from presage_operator.kubectl.tables import print_history, print_jobs, print_status
from presage_operator.kubectl.words import took
from presage_operator.names import RUN_LABEL

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


class Cadence(StrEnum):
    """What is run."""

    train = "train"
    forecast = "forecast"


_KINDS: dict[Cadence, RunKind] = {Cadence.train: "Train", Cadence.forecast: "Forecast"}
# Of a run, of a Deployment, of KServe; other containers are company that a mesh gives them.
_CONTAINERS = ("run", "main", "server", "kserve-container")


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
            metavar="NAME", help="The PredictionJob; default: all.", show_default=False, callback=object_name
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
        kind, request = _KINDS[cadence], new_request()
        before = {one.name for one in cluster.job(name).status.runs}
        job = cluster.annotate(name, {ANNOTATIONS[kind]: request})
        if not wait:
            typer.echo(f"{job.namespace}/{job.name}: asked for {cadence} at {request}")
            return
        note(f"{job.namespace}/{job.name}: waiting for {cadence}, asked for at {request}")
        ended = ended_well(cluster, job, kind, request, before)
        typer.echo(f"{ended.name}: {ended.state} after {took(ended.start_time, ended.completion_time)}")


@app.command()
def logs(
    name: Name,
    *,
    run_name: Annotated[
        str | None,
        typer.Option("--run", metavar="RUN", help="Run; default: the newest.", callback=object_name),
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


app.command()(rollback)


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
