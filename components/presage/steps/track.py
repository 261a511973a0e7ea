"""Telling MLflow of finished runs: what it lacks of those that are kept, and which version serves.

It is always the state that is put right, not a change that is passed on: a run that MLflow could not be told of, or was
told of by half, is told by the next call, and none is told twice.
"""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Iterator, Mapping, Sequence, Set
from contextlib import contextmanager
from dataclasses import dataclass

from pydantic import BaseModel, ConfigDict

from presage.errors import LakeConflictError, NotSupportedError, PresageError
from presage.evaluation.scorecard import Verdict
from presage.files import write_atomically
from presage.lake.manifest import RunManifest, find_manifests, list_manifests
from presage.spec.job import PredictionJob
from presage.steps.history import FinishedRun, read_summary
from presage.steps.mirror import WorkPlace, directory_of, whole_run
from presage.steps.promote import Champions, read_champions
from presage.steps.run_record import FILES, experiment_name, model_name, run_record
from presage.steps.workdir import WorkDirectory, job_key
from presage.tracking.library import installed, require_library
from presage.tracking.place import OFF, TrackingPlace, own_place, parse_place
from presage.tracking.store import ToldRun, TrackingStore, open_store

_LOG = logging.getLogger(__name__)
_TOLD = ".tracked"
"""Beside a job's runs: what MLflow was told of last."""
_INTERRUPTED = "interrupted: the run is kept, and MLflow is told of it by the next run or `presage track FILE`"


class TrackedRun(BaseModel):
    """A kept run as MLflow has it."""

    model_config = ConfigDict(frozen=True)

    run: str
    id: str
    """Id of the run at MLflow."""
    version: int | None
    """Version of the registered model; None where somebody deleted it."""
    aliases: tuple[str, ...]
    """Aliases of that version: champion serves, challenger is the newest that did not replace it."""
    told: bool
    """Whether it was told just now."""


class Tracked(BaseModel):
    """What MLflow knows of a job's kept runs."""

    model_config = ConfigDict(frozen=True)

    tracking: str
    """Address of MLflow."""
    experiment: str
    model: str
    """Name of the registered model."""
    runs: tuple[TrackedRun, ...]
    """The newest first."""


def tracking_place(asked: str | None, place: WorkPlace) -> TrackingPlace | None:
    """Return where MLflow is told; None where it is not.

    Args:
        asked: What the user names: an address, or `off`; None where nothing is asked for. It is then a SQLite file in
            the work directory, where MLflow is installed and the work directory is not in a bucket.
        place: The work directory.

    Raises:
        JobError: The address is none.
        MissingExtraError: MLflow was asked for and is not installed.
        NotSupportedError: MLflow is to be reached in a way that it is not.
    """
    if asked is None:
        return _own_place(place)
    if asked.strip().lower() == OFF:
        return None
    found = parse_place(asked.strip())
    require_library()
    return found


def _own_place(place: WorkPlace) -> TrackingPlace | None:
    """Return the file that nobody asked for; None where it cannot be."""
    if directory_of(place.name) is None or not installed():
        return None
    try:
        return own_place(place.directory)
    except NotSupportedError:
        return None


def track_finished(job: PredictionJob, place: WorkPlace, tracking: TrackingPlace | None) -> None:
    """Tell MLflow of a run that has just been kept, and of those that it still lacks.

    Where nothing has changed since it was told last, it is not asked again: loading its library takes longer than a run
    that finds itself done. Where another run of the job has begun since, that one tells. What goes wrong is a warning:
    the run is kept and its champion serves, whatever MLflow says, and it is told by the next run or `presage track`.

    Args:
        job: The job.
        place: The work directory.
        tracking: Where MLflow is; None to tell nobody.

    Raises:
        KeyboardInterrupt: As the user wishes, with words that say so.
    """
    work = WorkDirectory(place.directory)
    if tracking is None or _is_told(job, work, tracking):
        return
    try:
        track_runs(job, place, tracking)
    except LakeConflictError:
        _LOG.info("left to the run that goes on", extra={"job": job_key(job), "tracking": str(tracking)})
    except PresageError as error:
        _LOG.warning("run not tracked", extra={"job": job_key(job), "tracking": str(tracking), "fault": str(error)})
    except KeyboardInterrupt as error:
        raise KeyboardInterrupt(_INTERRUPTED) from error


def track_runs(job: PredictionJob, place: WorkPlace, tracking: TrackingPlace) -> Tracked:
    """Tell MLflow what it lacks of a job's kept runs, the oldest first, and let the aliases name what they should.

    Args:
        job: The job.
        place: The work directory, or a copy of a bucket's part, whose changes are kept.
        tracking: Where MLflow is.

    Raises:
        JobError: MLflow refuses.
        LakeConflictError: A run of the job is going on.
        LakeError: A run's files cannot be read.
        MissingExtraError: MLflow is not installed.
        StorageError: MLflow's file cannot be written to.
        TrackingUnavailableError: MLflow does not answer; what it was told of until then stays.
    """
    require_library()
    work = WorkDirectory(place.directory)
    with work.only_run(job):
        manifests = list_manifests(work.runs(job))
        champions = read_champions(work.champion(job))
        done: tuple[TrackedRun, ...] = ()
        if manifests:
            with open_store(tracking) as store:
                done = _Telling(job, work, store, place).put_right(manifests, champions)
            write_atomically(work.runs(job) / _TOLD, _state(job, work, tracking))
    for one in reversed(done):
        if one.told:
            names = {"job": job_key(job), "run": one.run, "tracking": str(tracking)}
            _LOG.info("run tracked", extra=names | {"model": model_name(job), "version": one.version})
    return Tracked(tracking=str(tracking), experiment=experiment_name(job), model=model_name(job), runs=done)


def _is_told(job: PredictionJob, work: WorkDirectory, tracking: TrackingPlace) -> bool:
    """Return whether the runs and the champion are still those that MLflow was told of last."""
    if tracking.database is not None and not tracking.database.exists():
        return False
    try:
        return (work.runs(job) / _TOLD).read_text() == _state(job, work, tracking)
    except (OSError, UnicodeDecodeError):
        return False


def _state(job: PredictionJob, work: WorkDirectory, tracking: TrackingPlace) -> str:
    champion = work.champion(job)
    served = hashlib.sha256(champion.read_bytes()).hexdigest() if champion.exists() else ""
    return "\n".join([str(tracking), served, *(path.parent.name for path in find_manifests(work.runs(job)))])


@dataclass(frozen=True)
class _Telling:
    """One call: the job, the work directory, what talks to MLflow, and where the work directory is."""

    job: PredictionJob
    work: WorkDirectory
    store: TrackingStore
    place: WorkPlace

    def put_right(self, manifests: Sequence[RunManifest], champions: Champions | None) -> tuple[TrackedRun, ...]:
        """Tell what is lacking of the kept runs, the newest of which comes first, and set the aliases."""
        since = [one.created_at for one in manifests] + ([] if champions is None else [champions.current.since])
        told = self.store.told(experiment_name(self.job), min(since))
        new = []
        for manifest in reversed(manifests):
            before = told.get(manifest.run)
            if before is None or not before.whole:
                with self._whole(manifest.run) as found:
                    told[manifest.run] = self.store.tell(run_record(self.job, manifest, found), before)
                new.append(manifest.run)
        verdicts = [read_summary(self.work.run(self.job, one.run)).scorecard.verdict for one in manifests]
        wanted = wanted_aliases(champions, list(zip(manifests, verdicts, strict=True)))
        versions = self._versions({one.run: one for one in manifests}, told, set(wanted.values()))
        named = {alias: versions[run] for alias, run in wanted.items() if run in versions}
        if versions:
            self.store.set_aliases(model_name(self.job), named)
        return tuple(
            TrackedRun(
                run=one.run,
                id=told[one.run].id,
                version=versions.get(one.run),
                aliases=tuple(alias for alias, run in wanted.items() if run == one.run),
                told=one.run in new,
            )
            for one in manifests
        )

    def _versions(
        self, manifests: Mapping[str, RunManifest], told: Mapping[str, ToldRun], wanted: Set[str]
    ) -> dict[str, int]:
        """Return the version of each told run; one that is wanted, and that somebody deleted, is made again."""
        model = model_name(self.job)
        by_id = self.store.versions(model, [one.id for one in told.values()])
        missing = [run for run in manifests if run in wanted and told[run].id not in by_id]
        for run in missing:
            with self._whole(run) as found:
                self.store.register(run_record(self.job, manifests[run], found), told[run])
        if missing:
            by_id = self.store.versions(model, [one.id for one in told.values()])
        return {run: by_id[one.id] for run, one in told.items() if one.id in by_id}

    @contextmanager
    def _whole(self, run: str) -> Iterator[FinishedRun]:
        """Give a run whose directory holds all its files."""
        summary = read_summary(self.work.run(self.job, run))
        with whole_run(self.place, self.job, run, FILES) as directory:
            yield FinishedRun(summary=summary, directory=directory)


def wanted_aliases(champions: Champions | None, runs: Sequence[tuple[RunManifest, Verdict]]) -> dict[str, str]:
    """Return the run that each alias is of.

    The champion is what the champion file says, a baseline too. The challenger is the newest run since then whose best
    candidate did not replace it.

    Args:
        champions: The champion file.
        runs: The kept runs and their verdicts, the newest first.
    """
    if champions is None:
        return {}
    current = champions.current
    refused = (
        manifest.run
        for manifest, verdict in runs
        if manifest.run != current.run
        and manifest.created_at >= current.since
        and verdict.candidate is not None
        and not verdict.promoted
    )
    challenger = next(refused, None)
    return {"champion": current.run} | ({} if challenger is None else {"challenger": challenger})
