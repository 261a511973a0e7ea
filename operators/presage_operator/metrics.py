"""The operator's metrics, in Prometheus' units and words; a label takes a job's namespace, and none its name."""

from __future__ import annotations

from collections import Counter as Tally
from collections.abc import Callable, Iterable

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram
from prometheus_client.core import GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from presage_operator.client import Resource

RESULTS = ("ok", "conflict", "waiting", "error")
"""How a reconcile ends."""
_SECONDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30)


class Metrics:
    """Counters and gauges of one operator process.

    Args:
        depth: Keys that a worker could take now.
        oldest_seconds: How long the oldest of them waits.
        phases: Namespace and phase of every job.
        watch_faults: How many kinds cannot be watched at present.
    """

    def __init__(
        self,
        depth: Callable[[], float],
        oldest_seconds: Callable[[], float],
        phases: Callable[[], Iterable[tuple[str, str]]],
        watch_faults: Callable[[], float],
    ) -> None:
        self.registry = CollectorRegistry()
        self.reconcile_seconds = Histogram(
            "presage_reconcile_seconds", "Time of one reconcile.", ("result",), buckets=_SECONDS, registry=self.registry
        )
        for result in RESULTS:
            # A series that begins with its first event hides that event from every rate.
            self.reconcile_seconds.labels(result)
        self.errors = Counter(
            "presage_reconcile_errors", "Reconciles that failed, by kind of error.", ("error",), registry=self.registry
        )
        self.actions = Counter("presage_actions", "Actions taken.", ("action", "reason"), registry=self.registry)
        self.requests = Counter(
            "presage_api_requests",
            "Requests to the API server.",
            ("method", "resource", "code"),
            registry=self.registry,
        )
        self.leader = Gauge("presage_leader", "1 where this replica works.", registry=self.registry)
        queue = Gauge("presage_queue_depth", "Jobs that wait for a reconcile.", registry=self.registry)
        queue.set_function(depth)
        age = Gauge("presage_queue_oldest_seconds", "Age of the oldest job that waits.", registry=self.registry)
        age.set_function(oldest_seconds)
        faults = Gauge("presage_watch_faults", "Kinds that cannot be watched at present.", registry=self.registry)
        faults.set_function(watch_faults)
        self.registry.register(_Phases(phases))

    def request(self, method: str, resource: Resource, code: int, _seconds: float) -> None:
        """Count a request to the API server."""
        self.requests.labels(method, resource.plural, str(code)).inc()


class _Phases(Collector):
    def __init__(self, phases: Callable[[], Iterable[tuple[str, str]]]) -> None:
        self._phases = phases

    def collect(self) -> Iterable[Metric]:
        """Give the number of jobs in each phase, counted when it is asked for."""
        # Not `namespace`: that is the operator's own, which a scrape adds.
        family = GaugeMetricFamily("presage_jobs", "Jobs by phase.", labels=["job_namespace", "phase"])
        for place, count in sorted(Tally(self._phases()).items()):
            family.add_metric(place, count)
        yield family
