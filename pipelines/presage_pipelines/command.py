"""The commands `presage compile` and `presage submit`."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from presage.cli.faults import UNEXPECTED, faults_end_the_command
from presage.cli.options import AsOf, JobFile, moment
from presage.cli.output import note
from presage.errors import JobError
from presage.spec.job_text import job_text
from presage.spec.load import load_job

if TYPE_CHECKING:
    from presage.spec.job import PredictionJob
    from presage_pipelines.placement import Placement
    from presage_pipelines.submit import RunEnded

_LARGEST_CODE = 255

Image = Annotated[
    str | None,
    typer.Option("--image", envvar="PRESAGE_STEPS_IMAGE", help="Image of the steps; default: this version's."),
]
LakeSecret = Annotated[
    str | None,
    typer.Option("--lake-secret", metavar="SECRET", help="Secret with the AWS_* variables of the lake's bucket."),
]
LakeClaim = Annotated[
    str | None,
    typer.Option("--lake-claim", metavar="CLAIM", help="PersistentVolumeClaim with the lake, at /var/lib/presage."),
]

Tracking = Annotated[
    str | None,
    typer.Option("--tracking", metavar="URI", help="MLflow that is told of each run, as the steps reach it."),
]


def compile_(  # noqa: PLR0917  # its arguments are options
    file: Annotated[
        Path | None,
        typer.Argument(metavar="FILE", help="The PredictionJob; default: a pipeline of any job.", show_default=False),
    ] = None,
    out: Annotated[Path | None, typer.Option("--out", help="File to write; default: stdout.")] = None,
    image: Image = None,
    lake_secret: LakeSecret = None,
    lake_claim: LakeClaim = None,
    tracking: Tracking = None,
) -> None:
    """Compile the Kubeflow pipeline: of one job, or of any."""
    with faults_end_the_command():
        from presage.files import write_atomically  # noqa: PLC0415  # loaded only when it is called
        from presage_pipelines.compile import compile_pipeline  # noqa: PLC0415  # an extra brings what it needs

        job = None if file is None else load_job(file)
        package = compile_pipeline(_placement(job, image, lake_secret, lake_claim, tracking))
        if out is None:
            typer.echo(package, nl=False)
        else:
            write_atomically(out, package, option="--out")
            note(f"wrote {out}")


def submit(  # noqa: PLR0917  # its arguments are options
    file: JobFile,
    endpoint: Annotated[
        str,
        typer.Option(
            "--endpoint", envvar="KF_PIPELINES_ENDPOINT", help="Address of Kubeflow Pipelines' API.", show_default=False
        ),
    ],
    workdir: Annotated[
        str | None,
        typer.Option(
            "--workdir",
            envvar="PRESAGE_WORKDIR",
            help="Place of the lake and the runs as the steps see it: s3://bucket/prefix, or a directory of the claim.",
        ),
    ] = None,
    cadence: Annotated[str, typer.Option("--cadence", help="Train, or Forecast from the champion.")] = "Train",
    as_of: AsOf = None,
    image: Image = None,
    lake_secret: LakeSecret = None,
    lake_claim: LakeClaim = None,
    tracking: Tracking = None,
    namespace: Annotated[
        str | None, typer.Option("--namespace", help="Namespace of a Kubeflow that many users share.")
    ] = None,
    experiment: Annotated[
        str | None, typer.Option("--experiment", help="Experiment of the run; default: the job's namespace and name.")
    ] = None,
    service_account: Annotated[
        str | None, typer.Option("--service-account", help="Service account of the steps; default: Kubeflow's.")
    ] = None,
    wait: Annotated[bool, typer.Option("--wait/--no-wait", help="Follow the run to its end.")] = True,
    timeout: Annotated[
        float | None, typer.Option("--timeout", min=0.0, help="Seconds to wait at most; default: for ever.")
    ] = None,
) -> None:
    """Run a job as a Kubeflow pipeline, and follow it to its end."""
    started = ""
    with faults_end_the_command("interrupted"):
        job = load_job(file)
        if cadence not in {"Train", "Forecast"}:
            raise JobError(f"--cadence: there is no {cadence!r}.", "Give Train or Forecast.")
        from presage_pipelines.compile import compile_pipeline  # noqa: PLC0415  # an extra brings what it needs
        from presage_pipelines.submit import TOKEN, Runs  # noqa: PLC0415  # as above

        placement = _placement(job, image, lake_secret, lake_claim, tracking)
        runs = Runs(endpoint, os.environ.get(TOKEN), namespace)
        now = moment(as_of)
        started = runs.start(
            compile_pipeline(placement),
            name=f"{job.metadata.name}-{now:%Y%m%d-%H%M%S}",
            experiment=experiment or f"{job.metadata.namespace}/{job.metadata.name}",
            parameters={
                "job": job_text(job),
                "workdir": _workdir(workdir, lake_claim),
                "as_of": f"{now:%Y-%m-%dT%H:%M:%S}",
                "cadence": cadence,
            },
            service_account=service_account,
        )
        typer.echo(started)
    if not wait:
        return
    with faults_end_the_command(f"interrupted: run {started} goes on; stop it in Kubeflow"):
        ended = runs.follow(started, timeout=timeout, told=note)
        if ended.state not in {"SUCCEEDED", "SKIPPED"}:
            _explain(ended)
            raise typer.Exit(_code(ended))


def _placement(
    job: PredictionJob | None,
    image: str | None,
    lake_secret: str | None,
    lake_claim: str | None,
    tracking: str | None,
) -> Placement:
    from presage_pipelines.placement import DEFAULT_IMAGE, Placement  # noqa: PLC0415  # an extra brings what it needs

    return Placement(
        image=image or DEFAULT_IMAGE, lake_secret=lake_secret, lake_claim=lake_claim, tracking=tracking, job=job
    )


def _workdir(workdir: str | None, lake_claim: str | None) -> str:
    """Return the place of the lake as the steps see it; raises JobError where it is nowhere that lasts."""
    from presage_pipelines.placement import LAKE_PATH  # noqa: PLC0415  # as above

    if workdir is not None:
        if not workdir.startswith("s3://") and lake_claim is None:
            raise JobError(
                f"--workdir: {workdir} is a directory of each step's own container, which goes with it.",
                "Give s3://bucket/prefix, or the claim that holds it as --lake-claim.",
            )
        return workdir
    if lake_claim is None:
        raise JobError("no place of the lake is given.", "Give --workdir s3://bucket/prefix, or --lake-claim CLAIM.")
    return LAKE_PATH


def _explain(ended: RunEnded) -> None:
    steps = f" in {', '.join(ended.failed)}" if ended.failed else ""
    said = f": {ended.message}" if ended.message else ""
    note(f"error: run {ended.run_id} {ended.state.lower()}{steps}{said}")
    if ended.state == "FAILED":
        note(
            f"Read what the step says: kubectl logs --selector pipeline/runid={ended.run_id} --container main --tail 5"
        )


def _code(ended: RunEnded) -> int:
    """Return the exit code of the step that failed, where Kubeflow tells it."""
    code = ended.exit_code
    return code if code is not None and 0 < code <= _LARGEST_CODE else UNEXPECTED
