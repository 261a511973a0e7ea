"""Where a laptop keeps a job's lake, runs and champion.

<workdir>/lake/                       Delta tables: raw/, bars/, frames/, trials/, forecasts/ or predictions/
<workdir>/runs/<namespace>.<job>/     one directory a run; a run appears whole or not at all; later only
                                      its forecast.json changes, the newest forecast of its bundle
<workdir>/champions/<namespace>.<job>.json
<workdir>/backfills/<namespace>.<job>/  up to where a span of each source was filled, until it is whole
"""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import chain, count
from pathlib import Path
from secrets import token_hex

from filelock import FileLock, Timeout

from presage.errors import LakeConflictError, NotSupportedError
from presage.files import storage_faults
from presage.lake.manifest import MANIFEST
from presage.spec.job import PredictionJob

BUNDLE = "bundle"
FEATURES = "features.json"
JOB = "job.json"
SUMMARY = "summary.json"
_DRAFT = ".draft-"


def job_key(job: PredictionJob) -> str:
    """Return the name under which a job's things are kept: namespace, a dot, the job's name."""
    return f"{job.metadata.namespace}.{job.metadata.name}"


def issued_table(job: PredictionJob) -> str:
    """Return the name of the table of what a job has forecast, or predicted of rows."""
    return f"{'predictions' if job.spec.is_tabular else 'forecasts'}/{job_key(job)}"


class WorkDirectory:
    """The directory that `--workdir` names; raises NotSupportedError for a path in which the lake cannot stand."""

    def __init__(self, root: Path) -> None:
        self.root = root.absolute()
        if "%" in str(self.root):
            raise NotSupportedError(
                f"the work directory {self.root} has a percent sign in its path, which Delta Lake takes for an escape.",
                "Give another --workdir.",
            )

    @property
    def lake(self) -> Path:
        """Root of the lake."""
        return self.root / "lake"

    @property
    def all_runs(self) -> Path:
        """Directory of the runs of all jobs."""
        return self.root / "runs"

    def runs(self, job: PredictionJob) -> Path:
        """Return the directory that holds a job's runs."""
        return self.all_runs / job_key(job)

    def run(self, job: PredictionJob, run_id: str) -> Path:
        """Return the directory of one run."""
        return self.runs(job) / run_id

    def new_name(self, job: PredictionJob, wanted: str) -> str:
        """Return the name of a run to be made: the wanted one, with a number where such a run is kept already."""
        names = chain([wanted], (f"{wanted}-{number}" for number in count(2)))
        return next(name for name in names if not (self.run(job, name) / MANIFEST).exists())

    def champion(self, job: PredictionJob) -> Path:
        """Return the file that says which bundle serves a job."""
        return self.root / "champions" / f"{job_key(job)}.json"

    @contextmanager
    def new_run(self, job: PredictionJob, run_id: str) -> Iterator[Path]:
        """Give an empty directory to write a run into; it takes the run's name when the block ends well.

        Raises:
            JobError: The work directory's path leads through a file.
            StorageError: The work directory cannot be written to.
        """
        final = self.run(job, run_id)
        draft = final.parent / f"{_DRAFT}{token_hex(8)}"
        # Made inside, because an interruption may come as soon as it is there.
        try:
            with storage_faults(self.root, "--workdir"):
                final.parent.mkdir(parents=True, exist_ok=True)
                draft.mkdir(mode=0o700)
                yield draft
                draft.chmod(0o755)
                if final.exists():
                    shutil.rmtree(final)
                draft.replace(final)
        finally:
            shutil.rmtree(draft, ignore_errors=True)

    @contextmanager
    def only_run(self, job: PredictionJob) -> Iterator[None]:
        """Hold the job's lock, so that one run of it goes on at a time, and sweep up what killed runs left.

        Raises:
            LakeConflictError: Another run of the job is going on.
            JobError: The work directory's path leads through a file.
            StorageError: The work directory cannot be written to.
        """
        runs = self.runs(job)
        with storage_faults(self.root, "--workdir"):
            runs.mkdir(parents=True, exist_ok=True)
            lock = FileLock(runs / ".lock")
            try:
                lock.acquire(blocking=False)
            except Timeout as error:
                raise LakeConflictError(
                    f"another run of {job_key(job)} is going on in {self.root}.",
                    "Wait for it to end, or give another --workdir.",
                ) from error
        try:
            for draft in runs.glob(f"{_DRAFT}*"):
                shutil.rmtree(draft, ignore_errors=True)
            yield
        finally:
            lock.release()
