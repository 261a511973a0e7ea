"""Jobs whose rows come from a double of an exchange or from files, in tests of the lake's filling."""

from __future__ import annotations

from datetime import UTC, datetime

from doubles.exchange import ExchangeDouble

from presage.spec.job import PredictionJob

SMALL = 1
"""Bytes of a chunk that every table fills."""


def utc(text: str) -> datetime:
    """Return an ISO time as UTC."""
    return datetime.fromisoformat(text).replace(tzinfo=UTC)


def milliseconds(moment: datetime) -> int:
    """Return a moment as an exchange tells it."""
    return int(moment.timestamp() * 1000)


def exchange_job(double: ExchangeDouble, since: str, rows: str = "1h") -> PredictionJob:
    """Return a job on hours of BTC/USD, from rows of that length."""
    source = {
        "name": "btc",
        "exchange": {"name": "bitfinex", "symbols": ["BTC/USD"], "since": since, "uri": double.url},
        "frequency": rows,
        "availability": {"lag": "0s"},
    }
    return _job(source, "1h")


def file_job(uri: str, frequency: str = "1d", **source: object) -> PredictionJob:
    """Return a job on files of one-minute rows as `bitfinex_1m` has them."""
    whole = {
        "name": "btc",
        "file": {"uri": uri},
        "time": "timestamp_ms",
        "timeUnit": "ms",
        "frequency": "1m",
        "availability": {"lag": "0s"},
    }
    return _job(whole | source, frequency)


def table_job(uri: str) -> PredictionJob:
    """Return a job on a growing table of days."""
    table = {"uri": uri, "table": "rows", "incrementalColumn": "time"}
    return _job({"name": "btc", "sql": table, "availability": {"lag": "0s"}}, "1d")


def _job(source: dict[str, object], frequency: str) -> PredictionJob:
    return PredictionJob.model_validate(
        {
            "apiVersion": "presage.dev/v1alpha1",
            "kind": "PredictionJob",
            "metadata": {"name": "btc"},
            "spec": {
                "frequency": frequency,
                "target": {"source": "btc", "column": "close"},
                "sources": [source],
                "features": [{"lag": {"columns": ["btc.close"], "steps": [1]}}],
                "models": [{"name": "ridge"}],
            },
        }
    )
