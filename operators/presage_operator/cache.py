"""What is known of the cluster: every PredictionJob and its children, by job."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

from presage_operator.names import Key
from presage_operator.records import JobRecord, PodRecord, RunRecord, ServerRecord

Child = RunRecord | PodRecord | ServerRecord


@dataclass(slots=True)
class Children:
    """The children of one job, by name; those that serve by kind and name."""

    runs: dict[str, RunRecord] = field(default_factory=dict)
    pods: dict[str, PodRecord] = field(default_factory=dict)
    servers: dict[tuple[str, str], ServerRecord] = field(default_factory=dict)

    def __bool__(self) -> bool:
        return bool(self.runs or self.pods or self.servers)

    def put(self, kind: str, name: str, record: Child) -> None:
        """Take over a child."""
        match record:
            case RunRecord():
                self.runs[name] = record
            case PodRecord():
                self.pods[name] = record
            case ServerRecord():
                self.servers[kind, name] = record

    def drop(self, kind: str, name: str) -> None:
        """Forget a child."""
        match kind:
            case "Job":
                self.runs.pop(name, None)
            case "Pod":
                self.pods.pop(name, None)
            case _:
                self.servers.pop((kind, name), None)


_NONE = Children()


class Cache:
    """Jobs and their children; `changed` is told of the job whose reconcile a change calls for."""

    def __init__(self, changed: Callable[[Key], None]) -> None:
        self._changed = changed
        self._jobs: dict[Key, JobRecord] = {}
        self._children: dict[Key, Children] = {}
        self._parents: dict[tuple[str, str, str], Key] = {}

    def __len__(self) -> int:
        return len(self._jobs)

    def job(self, key: Key) -> JobRecord | None:
        """Return a job, None where there is none."""
        return self._jobs.get(key)

    def jobs(self) -> Iterator[JobRecord]:
        """Give every job."""
        return iter(self._jobs.values())

    def children(self, key: Key) -> Children:
        """Return the children of a job."""
        return self._children.get(key, _NONE)

    def put_job(self, key: Key, record: JobRecord | None) -> None:
        """Take over a job as it is now; None where it is gone."""
        if record is None:
            self._jobs.pop(key, None)
        else:
            self._jobs[key] = record
        self._changed(key)

    def put_child(self, kind: str, place: tuple[str, str], record: Child | None) -> None:
        """Take over a child as it is now.

        Args:
            kind: Its Kubernetes kind.
            place: Its namespace and name.
            record: What is kept of it; None where it is gone.
        """
        identity = (kind, *place)
        # A job's Pods may be in two namespaces, all else is in the job's own.
        name = "/".join(place) if kind == "Pod" else place[1]
        parent = self._parents.get(identity) if record is None else record.key
        if parent is None:
            return
        children = self._children.setdefault(parent, Children())
        if record is None:
            del self._parents[identity]
            children.drop(kind, name)
            if not children:
                del self._children[parent]
        else:
            self._parents[identity] = parent
            children.put(kind, name, record)
        self._changed(parent)
