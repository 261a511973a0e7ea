"""The report on predicted rows: its page, its files and its terminal tables."""

from __future__ import annotations

import csv
import io
from datetime import UTC, datetime
from functools import cache
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from rich.console import Console
from table_case import make_spec, make_table, observations

from presage.engine import LocalEngine
from presage.evaluation.conditions import conditions
from presage.evaluation.scorecard import Scorecard
from presage.report.tabular_data import TableReport
from presage.report.tabular_terminal import show_forecasts, show_report, show_scorecard
from presage.report.tabular_write import write_table_report
from presage.tabular.design import inputs_of
from presage.tabular.judge import judge_rows, with_features
from presage.tabular.predictions import RowForecast
from presage.tabular.rows import kinds_of
from presage.tabular.walk import entrants, fit_final, walk

HOSTILE = "<script>alert(1)</script>"


@cache
def report_of(task: str) -> TableReport:
    regression = task == "Regression"
    spec = make_spec(
        task=task,
        target={"source": "trips", "column": "price" if regression else "dear"},
        models=[{"name": "xgboost", "parameters": {"n_estimators": 20}}],
        evaluation={"folds": 3, "metric": "CRPS" if regression else "Brier"},
        source={"units": {"price": "USD"}},
    )
    data = make_table(6, signal=2.0, days=120).drop("dear" if regression else "price")
    data = data.with_columns(shop=pl.col("shop").replace("north", HOSTILE))
    seen = observations(data, spec)
    inputs = inputs_of(spec, kinds_of(seen.table))
    walked = walk(seen, inputs, spec, engine=LocalEngine(1))
    card, _ = judge_rows(walked, spec, procedure="p", history=(), incumbent=None, sources=())
    final = fit_final(walked, inputs, spec, entrants(spec)[1])
    card = with_features(card, final.config)
    return TableReport(
        job="trips",
        namespace="default",
        run="20220101T000000Z-0",
        digest="sha256:" + "0" * 64,
        created_at=datetime(2022, 1, 1, tzinfo=UTC),
        scorecard=card,
        conditions=conditions(card),
        back_test=walked,
        open_rows=3,
        config=final.config,
    )


def printed(report: TableReport) -> str:
    console = Console(file=io.StringIO(), width=100, highlight=False)
    show_report(report, console)
    return console.file.getvalue()  # type: ignore[attr-defined]


@pytest.mark.parametrize(("task", "titles"), [
    ("Regression", ["Residuals", "Coverage promised and held", "Skill in each fold"]),
    ("Classification", ["Reliability", "ROC curve", "Lift of xgboost", "Skill in each fold"]),
])  # fmt: skip
def test_the_page_shows_what_a_task_is_judged_by(task: str, titles: list[str], tmp_path: Path) -> None:
    files = write_table_report(tmp_path, report_of(task))
    page = files["report.html"].read_text()
    for title in titles:
        assert title in page, title
    assert HOSTILE not in page.replace("alert(1)<", "")
    assert "trips.shop=&lt;script&gt;" in page
    card = Scorecard.model_validate_json(files["scorecard.json"].read_bytes())
    assert card.digest() + "\n" == files["scorecard.digest"].read_text()
    assert card == report_of(task).scorecard


def test_the_page_says_what_pins_the_run_and_runs_no_script_but_its_own(tmp_path: Path) -> None:
    report = report_of("Regression")
    page = write_table_report(tmp_path, report)["report.html"].read_text()
    assert ": default/trips</title>" in page
    assert 'content="default-src &#x27;none&#x27;; script-src &#x27;sha256-' in page
    for pin in (report.run, report.digest, report.scorecard.digest()):
        assert f"<code>{pin}</code>" in page
    assert "The same job, data, seed and lock" in " ".join(page.split())
    for name in ("scorecard.json", "predictions.csv"):
        assert f'<a href="{name}">{name}</a>' in page
        assert (tmp_path / name).is_file()


def test_predictions_are_beside_what_came(tmp_path: Path) -> None:
    write_table_report(tmp_path, report_of("Regression"))
    rows = list(csv.DictReader((tmp_path / "predictions.csv").read_text().splitlines()))
    walked = report_of("Regression").back_test
    assert len(rows) == len(walked.rows)
    assert [float(row["actual"]) for row in rows] == walked.outcome.tolist()
    assert {row["scored"] for row in rows if row["fold"] == "0"} == {"false"}
    assert {row["q0.95"] for row in rows if row["fold"] == "0"} == {""}
    assert rows[-1].keys() >= {"row", "time", "median", "xgboost", "q0.05"}


@pytest.mark.parametrize("task", ["Regression", "Classification"])
def test_a_terminal_shows_the_verdict_its_numbers_and_what_is_open(task: str) -> None:
    text = printed(report_of(task))
    assert "CRPS by 1d" in text or "Brier by 1d" in text
    assert "3 rows whose outcome is not known" in text
    assert "scored rows of" in text
    assert "Residuals of" in text or "Reliability of" in text


def test_a_scorecard_that_was_kept_is_shown_as_its_task_has_it() -> None:
    console = Console(file=io.StringIO(), width=100, highlight=False)
    show_scorecard(report_of("Classification").scorecard, console, name="trips")
    assert "Calibration error" in console.file.getvalue()  # type: ignore[attr-defined]


@pytest.mark.parametrize("count", [0, 2, 30])
def test_issued_predictions_are_shown_newest_first_and_the_rest_is_counted(count: int) -> None:
    forecast = RowForecast(
        source="trips",
        issued_at=datetime(2022, 1, 1, tzinfo=UTC),
        row=tuple(f"row-{number}" for number in range(count)),
        time=np.datetime64("2021-12-01", "us") + np.arange(count) * np.timedelta64(1, "h"),
        classifies=True,
        mean=np.linspace(0, 1, count),
        probabilities=np.empty(0),
        quantiles=np.empty((count, 0)),
    )
    console = Console(file=io.StringIO(), width=100, highlight=False)
    show_forecasts(forecast, console)
    lines = console.file.getvalue().splitlines()  # type: ignore[attr-defined]
    assert lines[0] == f"{count} row{'' if count == 1 else 's'} of trips, issued at 2022-01-01 UTC"
    shown = [line for line in lines if "row-" in line]
    assert len(shown) == min(count, 20)
    assert not count or f"row-{count - 1}" in shown[0]
    assert ("10 rows more" in console.file.getvalue()) == (count == 30)  # type: ignore[attr-defined]
