"""A run's metrics to a Prometheus Pushgateway, where they stay until the job's next run replaces them."""

from __future__ import annotations

import logging
from collections.abc import Iterable
from datetime import datetime
from http.client import HTTPException
from importlib import import_module
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from presage.errors import JobError, MissingExtraError
from presage.report.metrics import Gauge, run_gauges
from presage.steps.history import RunSummary
from presage.steps.promote import ROLLED_BACK

if TYPE_CHECKING:
    from prometheus_client.core import GaugeMetricFamily

PUSH_JOB = "presage"
"""Label `job` of all that is pushed; the PredictionJob is the label `prediction_job`."""
_SECONDS = 10.0
_LOG = logging.getLogger(__name__)


def require_pushgateway(url: str) -> None:
    """Raise what is wrong with a Pushgateway's address that can be told without asking it.

    Raises:
        JobError: It is none, or holds credentials.
        MissingExtraError: The `metrics` extra is not installed.
    """
    try:
        parts = urlsplit(url)
        is_address = parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
    except ValueError:
        is_address = False
    if "@" in url:
        raise JobError("--pushgateway: the address holds credentials.", "Take them out: http://host:9091.")
    if not is_address or parts.query or parts.fragment:
        raise JobError(f"--pushgateway: {url!r} is no address of a Pushgateway.", "Write http://host:9091.")
    try:
        import_module("prometheus_client")
    except ModuleNotFoundError as error:
        raise MissingExtraError(
            f"--pushgateway needs the Python package {error.name}, which is not installed.", "Install presage[metrics]."
        ) from error


def push_run(url: str, summary: RunSummary, *, made_at: datetime, seconds: float, held_back: bool = False) -> str:
    """Replace what a Pushgateway holds of a job by the metrics of its newest run.

    The group is `job="presage"`, `namespace` and `prediction_job`. A gateway that does not take them fails no run: that
    is kept by then, and the next one pushes anew.

    Args:
        url: Address of the gateway, which `require_pushgateway` takes.
        summary: What the run found.
        made_at: When the job was run, UTC.
        seconds: How long that took.
        held_back: Whether a rollback keeps the run from serving, whatever its verdict.

    Returns:
        What went wrong, as a sentence, which is logged too; empty where nothing did.
    """
    from prometheus_client import CollectorRegistry, push_to_gateway  # noqa: PLC0415  # an extra

    registry = CollectorRegistry()
    reason = ROLLED_BACK if held_back else None
    gauges = run_gauges(summary.scorecard, made_at=made_at, seconds=seconds, held_back=reason)
    registry.register(_Gauges(gauges))
    group = {"namespace": summary.namespace, "prediction_job": summary.job}
    try:
        push_to_gateway(url, job=PUSH_JOB, registry=registry, grouping_key=group, timeout=_SECONDS)
    except (OSError, HTTPException) as error:
        fault = f"the metrics of this run were not pushed to {url}: {error}."
        _LOG.warning("metrics not pushed", extra={"run": summary.run, "gateway": url, "fault": str(error)})
        return fault
    _LOG.info("metrics pushed", extra={"job": f"{summary.namespace}.{summary.job}", "run": summary.run, "gateway": url})
    return ""


class _Gauges:
    """Gives gauges to Prometheus' client."""

    def __init__(self, gauges: Iterable[Gauge]) -> None:
        self._gauges = tuple(gauges)

    def collect(self) -> Iterable[GaugeMetricFamily]:
        """Yield each gauge in the client's form."""
        from prometheus_client.core import GaugeMetricFamily  # noqa: PLC0415  # an extra

        for gauge in self._gauges:
            names = tuple(gauge.samples[0].labels)
            family = GaugeMetricFamily(gauge.name, gauge.help, labels=names)
            for sample in gauge.samples:
                family.add_metric([sample.labels[name] for name in names], sample.value)
            yield family
