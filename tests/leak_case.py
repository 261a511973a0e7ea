"""Leaks planted in real data: the S&P 500 and the VIX of the `arch` package, with a column that should not be there."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pandas as pd
from feature_bars import NEW_YORK, table

from presage.lake.tables import Lake
from presage.spec.job import PredictionJob
from presage.steps.ingest import Ingested, ingest
from presage.steps.leak_check import LeakReport, check_leaks
from presage.steps.workdir import WorkDirectory

NOW = datetime(2018, 12, 2, tzinfo=UTC)
Column = Callable[[pd.Series], pd.Series]


def history() -> pd.DataFrame:
    """Five years of closes of the S&P 500 and of the VIX, by day."""
    days = table("sp500", "2014", "2018-11-30")[["Close"]].join(table("vix")[["vix"]], how="inner")
    return days.rename(columns={"Close": "close"})


def bar_job(**spec: object) -> PredictionJob:
    """A job that forecasts the S&P 500 with a column `x` of a file beside it."""
    source = {"timeZone": NEW_YORK, "time": "day", "availability": {"lag": "0s"}}
    document = {
        "apiVersion": "presage.dev/v1alpha1",
        "kind": "PredictionJob",
        "metadata": {"name": "planted"},
        "spec": {
            "frequency": "1d",
            "target": {"source": "index", "column": "close", "transform": "LogChange"},
            "sources": [
                {"name": "index", "file": {"uri": "index.csv"}, "columns": {"close": "close"}} | source,
                {"name": "other", "file": {"uri": "other.csv"}, "columns": {"x": "x"}} | source,
            ],
            "features": [
                {"logChange": {"columns": ["index.close"], "periods": [1, 5]}},
                {"lag": {"columns": ["other.x"], "steps": [1]}},
            ],
            "models": [{"name": "ridge"}],
            "evaluation": {"folds": 3},
        },
    }
    document["spec"] |= spec  # type: ignore[operator]
    return PredictionJob.model_validate(document)


def write_bars(folder: Path, column: Column | None = None) -> None:
    """Write the two files of the job; `x` is the VIX, or what a function makes of the closes or of the VIX."""
    days = history()
    x = days["vix"] if column is None else column(days)
    write(folder / "index.csv", days[["close"]])
    write(folder / "other.csv", x.dropna().to_frame("x"))


def write(path: Path, days: pd.DataFrame) -> None:
    days.rename_axis("day").to_csv(path, date_format="%Y-%m-%d")


def look(job: PredictionJob, folder: Path, *, cutoffs: int = 4, sources: Mapping[str, str] | None = None) -> LeakReport:
    """Look for leaks of a job whose files stand in a folder, in all ways."""
    return check_leaks(
        job,
        base=folder,
        workdir=folder / "work",
        now=NOW,
        sources=sources or {},
        cutoffs=cutoffs,
        seed=0,
        workers=1,
        progress=lambda *_: None,
    )


def ingested(job: PredictionJob, folder: Path) -> tuple[Lake, Ingested]:
    """Read a job's files into a lake."""
    lake = Lake(WorkDirectory(folder / "work").lake.as_uri())
    return lake, ingest(job, lake, base=folder, now=NOW)


def leaks(report: LeakReport) -> set[tuple[str, str | None]]:
    """Return the column and cause of each leak that was found."""
    return {(one.column, one.cause) for one in report.checks if one.state == "fail"}


def noisy(values: pd.Series, share: float) -> pd.Series:
    """Return values with so much noise that they explain a share of themselves."""
    noise = np.random.default_rng(5).standard_normal(len(values)) * values.std() * np.sqrt(1 / share - 1)
    return values + noise
