"""What the server counts, for Prometheus."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from datetime import datetime

from prometheus_client import CollectorRegistry, Counter, Histogram, ProcessCollector, generate_latest
from prometheus_client.core import GaugeMetricFamily
from prometheus_client.metrics_core import Metric
from prometheus_client.registry import Collector

from presage_serving.forecast import Served

_BUCKETS = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0)


class Metrics:
    """The server's own registry: two servers in one process do not share it."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        self._requests = Counter(
            "presage_server_requests",
            "Requests to the inference protocols, without probes.",
            ["protocol", "code"],
            registry=self.registry,
        )
        self._seconds = Histogram(
            "presage_server_request_seconds",
            "Time from a request's first byte to the end of its answer.",
            ["protocol"],
            buckets=_BUCKETS,
            registry=self.registry,
        )
        self._refusals = Counter(
            "presage_server_directory_refusals",
            "Times that the model directory was found broken or out of reach; the last good forecast stays.",
            registry=self.registry,
        )
        ProcessCollector(registry=self.registry)

    def answered(self, protocol: str, code: int, seconds: float) -> None:
        """Count a request to a protocol: v1 or v2."""
        self._requests.labels(protocol, str(code)).inc()
        self._seconds.labels(protocol).observe(seconds)

    def refused(self) -> None:
        """Count a model directory that is broken or out of reach."""
        self._refusals.inc()

    def text(self) -> bytes:
        """Return all metrics in Prometheus' text format."""
        return generate_latest(self.registry)


class ForecastCollector(Collector):
    """Says at each scrape what is served and how old it is."""

    def __init__(self, name: str, served: Callable[[], Served | None], clock: Callable[[], datetime]) -> None:
        self._name = name
        self._served = served
        self._clock = clock

    def collect(self) -> Iterable[Metric]:
        """Yield the metrics of the served forecast; none while nothing is served."""
        forecast = self._served()
        info = GaugeMetricFamily("presage_server_model_info", "The model that is served.", labels=["model", "version"])
        issued = GaugeMetricFamily(
            "presage_server_forecast_issued_timestamp_seconds", "Moment that the served forecast was made for."
        )
        stale = GaugeMetricFamily(
            "presage_server_forecast_stale", "1 where the served forecast is too old to be relied on."
        )
        if forecast:
            info.add_metric([self._name, forecast.run], 1)
            issued.add_metric([], forecast.issued_at.timestamp())
            stale.add_metric([], float(forecast.stale(self._clock())))
        yield from (info, issued, stale)
