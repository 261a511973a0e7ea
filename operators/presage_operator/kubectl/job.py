"""A PredictionJob as the plug-in shows it, read tolerantly: a newer operator may say more than is known here."""

from __future__ import annotations

from collections.abc import Sequence
from copy import deepcopy
from datetime import datetime

from pydantic import BaseModel, ConfigDict, Field, JsonValue, ValidationError
from pydantic.alias_generators import to_camel

from presage.spec.base import SpecModel
from presage.spec.status import Champion, HandledRequests, JobCondition, PredictionJobStatus, RunKind, RunSummary

_Place = Sequence[str | int]


class JobState(SpecModel):
    """A job and how it fares."""

    name: str
    """Name."""
    namespace: str
    """Namespace."""
    generation: int
    """Generation of the spec."""
    status: PredictionJobStatus
    """What the operator last saw."""
    resource_version: str = Field(exclude=True)
    """Version of the object."""
    annotations: dict[str, str] = Field(exclude=True)
    """Its annotations."""

    def condition(self, name: str) -> JobCondition | None:
        """Return the condition of a type; None where the status has none such."""
        return next((one for one in self.status.conditions if one.type == name), None)

    def handled(self, kind: RunKind) -> str | None:
        """Return the request that a run of a kind was last made for."""
        requests = self.status.handled_requests or HandledRequests()
        return {"Train": requests.train, "Forecast": requests.forecast, "Rollback": requests.rollback}[kind]


class JobList(SpecModel):
    """The jobs of a namespace."""

    items: tuple[JobState, ...]
    """By name."""
    resource_version: str = Field(exclude=True)
    """Version of the list, from which changes can be watched."""


class JobHistory(SpecModel):
    """What a job did."""

    runs: tuple[RunSummary, ...]
    """Newest runs, the newest first."""
    champions: tuple[Champion, ...]
    """What was served, the newest first."""


class _Read(BaseModel):
    model_config = ConfigDict(frozen=True, alias_generator=to_camel, populate_by_name=True)


class _Metadata(_Read):
    name: str
    namespace: str
    generation: int = 0
    resource_version: str = ""
    annotations: dict[str, str] = {}


class _Object(_Read):
    metadata: _Metadata
    status: JsonValue = None


class _ListMetadata(_Read):
    resource_version: str = ""


class _Objects(_Read):
    metadata: _ListMetadata
    items: tuple[_Object, ...]


class PodState(BaseModel):
    """A Pod of a run or of a server.

    Attributes:
        name: Name.
        containers: Names of its containers, in order.
        created_at: Creation, UTC.
    """

    model_config = ConfigDict(frozen=True)

    name: str
    containers: tuple[str, ...]
    created_at: datetime


class _PodMetadata(_Read):
    name: str
    creation_timestamp: datetime


class _Container(_Read):
    name: str


class _PodSpec(_Read):
    containers: tuple[_Container, ...]


class _Pod(_Read):
    metadata: _PodMetadata
    spec: _PodSpec


class _Pods(_Read):
    items: tuple[_Pod, ...]


class _UserInfo(_Read):
    username: str = ""


class _ReviewStatus(_Read):
    user_info: _UserInfo


class _Review(_Read):
    status: _ReviewStatus


def read_job(document: bytes) -> JobState:
    """Return the job of an API server's answer."""
    return _state(_Object.model_validate_json(document))


def read_jobs(document: bytes) -> JobList:
    """Return the jobs of an API server's list, by name."""
    found = _Objects.model_validate_json(document)
    items = tuple(sorted(map(_state, found.items), key=lambda job: job.name))
    return JobList(items=items, resource_version=found.metadata.resource_version)


def read_pods(document: bytes) -> tuple[PodState, ...]:
    """Return the Pods of an API server's list, the newest first."""
    pods = (
        PodState(
            name=pod.metadata.name,
            containers=tuple(one.name for one in pod.spec.containers),
            created_at=pod.metadata.creation_timestamp,
        )
        for pod in _Pods.model_validate_json(document).items
    )
    return tuple(sorted(pods, key=lambda pod: (pod.created_at, pod.name), reverse=True))


def read_user(document: bytes) -> str | None:
    """Return the name in an API server's SelfSubjectReview; None where it has none."""
    try:
        return _Review.model_validate_json(document).status.user_info.username or None
    except ValidationError:
        return None


def read_status(content: JsonValue) -> PredictionJobStatus:
    """Return a status without the parts that this version cannot read."""
    known = deepcopy(content) if isinstance(content, dict) else {}
    while True:
        try:
            return PredictionJobStatus.model_validate(known)
        except ValidationError as error:
            # The last entry of a list goes first, so that the places of the others hold.
            for place in sorted({_present(known, fault["loc"]) for fault in error.errors()}, key=_order, reverse=True):
                _remove(known, place)


def _state(read: _Object) -> JobState:
    head = read.metadata
    return JobState(
        name=head.name,
        namespace=head.namespace,
        generation=head.generation,
        status=read_status(read.status),
        resource_version=head.resource_version,
        annotations=head.annotations,
    )


def _present(content: JsonValue, place: _Place) -> tuple[str | int, ...]:
    """Return as much of a place as is there: of a field that is missing, the value that lacks it."""
    found: list[str | int] = []
    for part in place:
        if not isinstance(content, dict | list):
            break
        try:
            content = content[part]  # type: ignore[index]  # of the wrong kind, it is not there
        except (KeyError, IndexError, TypeError):
            break
        found.append(part)
    return tuple(found)


def _order(place: tuple[str | int, ...]) -> tuple[tuple[int, str], ...]:
    return tuple((part, "") if isinstance(part, int) else (0, part) for part in place)


def _remove(content: JsonValue, place: tuple[str | int, ...]) -> None:
    *outer, last = place
    for part in outer:
        content = content[part]  # type: ignore[index]  # the place was found there
    del content[last]  # type: ignore[arg-type,union-attr]  # as above
