"""What MLflow knows of a job, and telling it more; whatever was interrupted is gone on with."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, TypeVar

from filelock import FileLock, Timeout

from presage.errors import JobError, TrackingUnavailableError
from presage.files import storage_faults
from presage.tracking.library import library, no_retries, require_library
from presage.tracking.place import TrackingPlace, file_uri
from presage.tracking.record import RunRecord

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities import DatasetInput, Run

RUN = "presage.run"
"""Tag of a run, and of a version of the model, with our id of the run."""
TRACKED = "presage.tracked"
"""Tag that is written last: all of the run is there."""
ALIASES = ("champion", "challenger")

_BATCH = 100
_PAGE = 1000
_LONGEST_PARAMETER = 6000
_LONGEST_TAG = 5000
_LONGEST_DIGEST = 36
_LOCK_SECONDS = 60
_Item = TypeVar("_Item")


@dataclass(frozen=True)
class ToldRun:
    """A run as MLflow has it.

    Attributes:
        id: Its id there.
        whole: Whether all of it is there.
    """

    id: str
    whole: bool


@contextmanager
def open_store(place: TrackingPlace) -> Iterator[TrackingStore]:
    """Give what talks to MLflow at a place; a SQLite file is made where it is missing, and held meanwhile.

    Raises:
        JobError: MLflow refuses.
        MissingExtraError: It is not installed.
        StorageError: The SQLite file's folder cannot be written to.
        TrackingUnavailableError: MLflow does not answer, or others hold the file.
    """
    require_library()
    with _held(place), library(place):
        from mlflow import MlflowClient  # noqa: PLC0415  # takes a second

        yield TrackingStore(MlflowClient(tracking_uri=place.uri, registry_uri=place.uri), place)


class TrackingStore:
    """MLflow at a place; to be had from `open_store`."""

    def __init__(self, client: MlflowClient, place: TrackingPlace) -> None:
        self._client = client
        self._place = place

    def told(self, experiment: str, since: datetime) -> dict[str, ToldRun]:
        """Return the runs that MLflow has of an experiment, by our id of them.

        Args:
            experiment: Name of the experiment.
            since: Runs that began earlier are not asked for, UTC.

        Raises:
            JobError: The experiment was deleted, or its artefacts are of a place that was moved.
        """
        found = self._client.get_experiment_by_name(experiment)
        if found is None:
            return {}
        if found.lifecycle_stage != "active":
            raise JobError(
                f"the experiment {experiment} at {self._place} was deleted.",
                "Restore it: mlflow experiments restore --experiment-id "
                f"{found.experiment_id}; or remove it for good: mlflow gc.",
            )
        self._require_own_artifacts(found.artifact_location, experiment)
        told: dict[str, ToldRun] = {}
        for run in self._runs(found.experiment_id, since):
            name, whole = run.data.tags.get(RUN), run.data.tags.get(TRACKED) == "true"
            if name is not None and (whole or name not in told):
                told[name] = ToldRun(run.info.run_id, whole)
        return told

    def tell(self, record: RunRecord, before: ToldRun | None) -> ToldRun:
        """Tell a run and register its bundle.

        Args:
            record: The run.
            before: What is there of it, where telling it was interrupted.
        """
        started, ended = (_milliseconds(time) for time in (record.started_at, record.ended_at))
        if before is None:
            experiment = self._experiment(record.experiment)
            with no_retries():
                tags = {**_cut(record.tags), RUN: record.run}
                run = self._client.create_run(experiment, start_time=started, tags=tags, run_name=record.run)
        else:
            run = self._client.get_run(before.id)
        self._log(run, record, started)
        for name in record.files:
            path = record.directory / name
            if path.is_dir():
                self._client.log_artifacts(run.info.run_id, str(path), name)
            else:
                self._client.log_artifact(run.info.run_id, str(path))
        self._client.set_terminated(run.info.run_id, "FINISHED", ended)
        told = ToldRun(run.info.run_id, whole=True)
        self.register(record, told)
        self._client.set_tag(told.id, TRACKED, "true")
        return told

    def register(self, record: RunRecord, told: ToldRun) -> None:
        """Make a version of the registered model of a told run's bundle, unless there is one."""
        if self.versions(record.model, [told.id]):
            return
        self._create_model(record.model)
        source = f"{self._client.get_run(told.id).info.artifact_uri}/{record.bundle}"
        with no_retries():
            self._client.create_model_version(
                record.model, source, told.id, tags={**record.version_tags, RUN: record.run}, await_creation_for=0
            )

    def versions(self, model: str, ids: Sequence[str]) -> dict[str, int]:
        """Return the versions of a registered model by the id, at MLflow, of the run that they are of."""
        found: dict[str, int] = {}
        for some in _parts(ids, _BATCH):
            listed = ", ".join(f"'{one}'" for one in some)
            token = None
            while True:
                page = self._client.search_model_versions(
                    f"name = '{model}' and run_id IN ({listed})", max_results=_PAGE, page_token=token
                )
                for version in page:
                    number = int(version.version)
                    found[version.run_id] = min(number, found.get(version.run_id, number))
                token = page.token
                if not token:
                    break
        return found

    def aliases(self, model: str) -> dict[str, int]:
        """Return our aliases of a registered model, and the versions that they name."""
        held: Mapping[str, object] = self._client.get_registered_model(model).aliases
        return {name: int(str(held[name])) for name in ALIASES if name in held}

    def set_aliases(self, model: str, wanted: Mapping[str, int]) -> None:
        """Let each of our aliases name the version that it should; the others' stay as they are."""
        held = self.aliases(model)
        for name in ALIASES:
            version = wanted.get(name)
            if version is None and name in held:
                self._client.delete_registered_model_alias(model, name)
            elif version is not None and held.get(name) != version:
                self._client.set_registered_model_alias(model, name, str(version))

    def _log(self, run: Run, record: RunRecord, at: int) -> None:
        """Write what a run's record says; what is there already is not there twice."""
        from mlflow.entities import Metric, Param, RunTag  # noqa: PLC0415  # takes a second

        run_id = run.info.run_id
        known = run.data.params
        parameters = [
            Param(name, value[:_LONGEST_PARAMETER]) for name, value in record.parameters.items() if name not in known
        ]
        for params in _parts(parameters, _BATCH):
            self._client.log_batch(run_id, params=params)
        for metrics in _parts([Metric(one.name, one.value, at, one.step) for one in record.metrics], _PAGE):
            self._client.log_batch(run_id, metrics=metrics)
        for tags in _parts([RunTag(name, value) for name, value in _cut(record.tags).items()], _BATCH):
            self._client.log_batch(run_id, tags=tags)
        if record.datasets:
            self._client.log_inputs(run_id, _inputs(record))

    def _runs(self, experiment_id: str, since: datetime) -> Iterator[Run]:
        """Give an experiment's runs that began at a moment or later, the newest first."""
        token = None
        while True:
            page = self._client.search_runs(
                [experiment_id],
                f"attributes.start_time >= {_milliseconds(since)}",
                max_results=_PAGE,
                order_by=["attributes.start_time DESC"],
                page_token=token,
            )
            yield from page
            token = page.token
            if not token:
                return

    def _experiment(self, name: str) -> str:
        """Return the id of an experiment, which is made where it is missing."""
        found = self._client.get_experiment_by_name(name)
        if found is not None:
            return str(found.experiment_id)
        with no_retries():
            return str(self._client.create_experiment(name, artifact_location=self._artifacts(name)))

    def _artifacts(self, experiment: str) -> str | None:
        folder = self._place.artifacts
        return None if folder is None else file_uri(folder / experiment.replace("/", "."))

    def _require_own_artifacts(self, location: str, experiment: str) -> None:
        folder = self._place.artifacts
        if self._place.own and folder is not None and location != self._artifacts(experiment):
            raise JobError(
                f"the artefacts of {experiment} are said to be in {location}, and {self._place} stands elsewhere: the "
                "work directory was moved.",
                f"Move it back; or remove {folder.parent}, and `presage track FILE` tells the kept runs anew.",
            )

    def _create_model(self, name: str) -> None:
        from mlflow.exceptions import MlflowException  # noqa: PLC0415  # takes a second

        try:
            self._client.create_registered_model(name)
        except MlflowException as error:
            if error.error_code != "RESOURCE_ALREADY_EXISTS":
                raise


@contextmanager
def _held(place: TrackingPlace) -> Iterator[None]:
    """Hold a SQLite file: MLflow makes its tables without regard to others who do."""
    if place.database is None:
        yield
        return
    with storage_faults(place.database.parent, "--tracking"):
        place.database.parent.mkdir(parents=True, exist_ok=True)
        lock = FileLock(place.database.with_name(f".{place.database.name}.lock"), timeout=_LOCK_SECONDS)
        try:
            lock.acquire()
        except Timeout as error:
            raise TrackingUnavailableError(
                f"another run has been telling {place} for a minute.",
                "Try again: the next run or `presage track FILE` tells what is kept.",
            ) from error
    try:
        yield
    finally:
        lock.release()


def _inputs(record: RunRecord) -> list[DatasetInput]:
    from mlflow.entities import Dataset, DatasetInput, InputTag  # noqa: PLC0415  # takes a second

    return [
        DatasetInput(
            Dataset(
                name=one.name,
                digest=one.digest[:_LONGEST_DIGEST],
                source_type="presage",
                source=json.dumps({"source": one.name}),
                profile=json.dumps(
                    {
                        "rows": one.rows,
                        "start": f"{one.start:%Y-%m-%dT%H:%M:%SZ}",
                        "end": f"{one.end:%Y-%m-%dT%H:%M:%SZ}",
                    }
                    | {"digest": f"sha256:{one.digest}"}
                ),
            ),
            [InputTag("mlflow.data.context", "training")],
        )
        for one in record.datasets
    ]


def _cut(tags: Mapping[str, str]) -> dict[str, str]:
    return {name: value[:_LONGEST_TAG] for name, value in tags.items()}


def _parts(items: Iterable[_Item], size: int) -> Iterator[list[_Item]]:
    """Give items in lists of so many at most."""
    whole = list(items)
    for start in range(0, len(whole), size):
        yield whole[start : start + size]


def _milliseconds(time: datetime) -> int:
    return round(time.timestamp() * 1000)
