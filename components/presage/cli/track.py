"""The `track` command, and the option that says where MLflow is."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from presage.cli.faults import faults_end_the_command
from presage.cli.options import DEFAULT_WORKDIR, Form, JobFile, WorkDir
from presage.cli.output import Output, console, emit, note
from presage.errors import JobError
from presage.spec.load import load_job
from presage.tracking.place import TRACKING_VARIABLE

if TYPE_CHECKING:
    from presage.steps.track import Tracked

Tracking = Annotated[
    str | None,
    typer.Option(
        "--tracking",
        metavar="URI|off",
        envvar=[TRACKING_VARIABLE, "MLFLOW_TRACKING_URI"],
        help="MLflow to tell of finished runs: a server's address or sqlite:///FILE; default: a file in the work "
        "directory, where MLflow is installed.",
        show_envvar=False,
    ),
]


def track(
    file: JobFile, workdir: WorkDir = DEFAULT_WORKDIR, tracking: Tracking = None, output: Form = Output.table
) -> None:
    """Tell MLflow what it lacks of the kept runs, and let its aliases name what serves."""
    with faults_end_the_command("interrupted: what MLflow lacks, the next call tells"):
        job = load_job(file)
        from presage.steps.mirror import work_in  # noqa: PLC0415  # loaded only when it is called
        from presage.steps.track import track_runs, tracking_place  # noqa: PLC0415  # as above
        from presage.tracking.library import require_library  # noqa: PLC0415  # as above

        with work_in(workdir, job) as place:
            where = tracking_place(tracking, place)
            if where is None:
                require_library()
                raise JobError("no MLflow is named to tell.", "Give its address: --tracking http://host:port.")
            done = track_runs(job, place, where)
        if output is not Output.table:
            emit(done, output)
        elif done.runs:
            _print(done)
        else:
            note(f"{job.metadata.name} has no finished run to tell of; next: presage run FILE")


def _print(done: Tracked) -> None:
    from presage.cli.tables import print_table  # noqa: PLC0415  # loaded only when it is needed
    from presage.report import numbers  # noqa: PLC0415  # as above

    target = console()
    rows = [
        (
            one.run,
            numbers.UNDEFINED if one.version is None else str(one.version),
            "now" if one.told else "before",
            ", ".join(one.aliases),
        )
        for one in done.runs
    ]
    target.print(f"{done.experiment} at {done.tracking}, model {done.model}\n", markup=False)
    print_table(("Run", "Version", "Told", "Alias"), rows, target)
