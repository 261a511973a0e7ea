"""Tables of rows made for tests: several rows a day, with days that differ from each other."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import numpy as np
import polars as pl

from presage.sources.contract import Part, Table
from presage.spec.job import PredictionJobSpec
from presage.tabular.observations import Observations, observe
from presage.tabular.rows import TableRows, to_table

START = datetime(2020, 1, 1, tzinfo=UTC)
NOW = datetime(2022, 1, 1, tzinfo=UTC)


def make_spec(**parts: object) -> PredictionJobSpec:
    """A Regression of `price` on rows of `trips`, with a ridge regression in four folds."""
    source = {
        "name": "trips",
        "file": {"uri": "trips.csv"},
        "time": "at",
        "availability": {"lag": "0s"},
    } | dict(parts.pop("source", {}))
    document: dict[str, object] = {
        "task": "Regression",
        "frequency": "1d",
        "target": {"source": "trips", "column": "price"},
        "sources": [source],
        "selection": {"method": "None"},
        "models": [{"name": "ridge"}],
        "evaluation": {"folds": 4},
        "promotion": {"effectSize": 0.3, "replications": 200},
    }
    return PredictionJobSpec.model_validate(document | parts)


def make_table(seed: int, *, signal: float, days: int = 200, trips: int = 4) -> pl.DataFrame:
    """Rows whose price is `signal` times `miles`, plus a shock of the day and noise; `shop` and `mood` say nothing."""
    random = np.random.default_rng(seed)
    rows = days * trips
    day = np.repeat(np.arange(days), trips)
    miles = random.normal(size=rows)
    price = 10 + signal * miles + random.normal(size=days)[day] + random.normal(size=rows)
    return pl.DataFrame(
        {
            "at": [
                (START + timedelta(days=int(one), hours=8 + number % trips)).strftime("%Y-%m-%dT%H:%M:%SZ")
                for number, one in enumerate(day)
            ],
            "miles": miles,
            "shop": random.choice(["north", "south", "west"], size=rows),
            "mood": random.normal(size=rows),
            "price": price,
            "dear": (price > 10).astype(np.float64),
        }
    )


def read(data: pl.DataFrame, spec: PredictionJobSpec, **choices: object) -> TableRows:
    """Rows of a table as the job's source reads them."""
    table = Table(data, (Part("trips.csv", data.height, first_line=2),))
    return to_table(spec.sources[0], table, target=spec.target.column, **choices)


def observations(data: pl.DataFrame, spec: PredictionJobSpec, now: datetime = NOW) -> Observations:
    """Rows of a table as they stand at a moment."""
    return observe(read(data, spec).rows, spec, now)
