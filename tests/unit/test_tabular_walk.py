"""The walk over rows, its judgement and the model that is exported."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from table_case import NOW, START, make_spec, make_table, observations

from presage.engine import LocalEngine
from presage.errors import DataError, LakeError, NotSupportedError
from presage.evaluation.folds import Period
from presage.evaluation.scorecard import Scorecard
from presage.evaluation.trials import merge
from presage.spec.job import PredictionJob, PredictionJobSpec
from presage.tabular.design import inputs_of
from presage.tabular.folds import make_row_folds, periods_of
from presage.tabular.judge import judge_rows, with_features
from presage.tabular.model import read_model, write_model
from presage.tabular.predictions import predict_open, prediction_table
from presage.tabular.rows import kinds_of
from presage.tabular.walk import Walk, entrants, fit_final, walk

HERE = LocalEngine(1)


def walk_over(data: pl.DataFrame, spec: PredictionJobSpec, *, workers: int = 1) -> Walk:
    seen = observations(data, spec)
    return walk(seen, inputs_of(spec, kinds_of(seen.table)), spec, engine=LocalEngine(workers))


def judge(walked: Walk, spec: PredictionJobSpec, **choices: object) -> Scorecard:
    settled = {"procedure": "p", "history": (), "incumbent": None, "sources": ()} | choices
    return judge_rows(walked, spec, **settled)[0]


def classification(**parts: object) -> PredictionJobSpec:
    document: dict[str, object] = {
        "task": "Classification",
        "target": {"source": "trips", "column": "dear"},
        "models": [{"name": "xgboost", "parameters": {"n_estimators": 30}}],
        "evaluation": {"folds": 4, "metric": "LogLoss"},
    }
    return make_spec(**(document | parts))


def test_folds_are_whole_periods_in_the_order_of_time() -> None:
    spec = make_spec()
    settled = observations(make_table(1, signal=1.0, days=61, trips=7), spec).settled
    folds = make_row_folds(settled, spec)
    periods = periods_of(settled.time, spec)
    assert [fold.number for fold in folds] == [0, 1, 2, 3, 4]
    assert folds[-1].test_stop == len(settled)
    for before, fold in pairwise(folds):
        assert before.test_stop == fold.test_start
        assert periods[fold.test_start - 1] < periods[fold.test_start]


def test_nothing_that_was_not_known_at_the_cut_off_trains() -> None:
    spec = make_spec(source={"availability": {"lag": "20d"}}, evaluation={"folds": 2, "embargo": 8})
    settled = observations(make_table(1, signal=1.0), spec).settled
    for fold in make_row_folds(settled, spec):
        assert fold.cutoff == settled.time[fold.test_start - 9]
        assert settled.known_at[fold.training].max() <= fold.cutoff
        assert settled.time[fold.training].max() <= fold.cutoff - np.timedelta64(20, "D")


def test_a_rolling_window_keeps_the_newest_rows() -> None:
    spec = make_spec(evaluation={"folds": 3, "window": "Rolling", "trainSize": 100})
    settled = observations(make_table(1, signal=1.0), spec).settled
    assert {len(fold.training) for fold in make_row_folds(settled, spec)} == {100}


@pytest.mark.parametrize(("days", "parts", "sentence"), [
    (5, {}, "20 rows with a known outcome and 4 folds need"),
    (40, {"frequency": "1mo"}, "in whole periods of 1mo"),
    (200, {"source": {"availability": {"lag": "150d"}}}, "rows to learn from"),
])  # fmt: skip
def test_too_few_rows_are_refused_with_what_is_needed(days: int, parts: dict[str, object], sentence: str) -> None:
    spec = make_spec(**parts)
    with pytest.raises(DataError, match=sentence):
        make_row_folds(observations(make_table(1, signal=1.0, days=days), spec).settled, spec)


@pytest.mark.parametrize(("evaluation", "blocks"), [
    ({"folds": 3}, [40, 40, 40]),
    ({"folds": 3, "testSize": 50}, [48, 52, 20]),
    ({"folds": 3, "window": "Rolling", "trainSize": 100, "embargo": 4}, [40, 40, 40]),
])  # fmt: skip
def test_a_span_of_time_is_divided_into_whole_periods_that_start_in_it(
    evaluation: dict[str, object], blocks: list[int]
) -> None:
    spec = make_spec(evaluation=evaluation, source={"availability": {"lag": "2d"}})
    settled = observations(make_table(1, signal=1.0), spec).settled
    # The first day has begun at noon, so that it is not of the span; the last one is, whole.
    span = Period(np.datetime64("2020-03-31T12:00", "us"), np.datetime64("2020-04-30T00:00", "us"))
    folds = make_row_folds(settled, spec, span)
    assert str(settled.time[folds[1].test_start])[:16] == "2020-04-01T08:00"
    assert str(settled.time[folds[-1].test_stop - 1])[:16] == "2020-04-30T11:00"
    assert [fold.test_stop - fold.test_start for fold in folds[1:]] == blocks
    assert folds[0].test_stop == folds[1].test_start
    assert folds[0].test_stop - folds[0].test_start >= 20
    periods = periods_of(settled.time, spec)
    for before, fold in pairwise(folds):
        assert before.test_stop == fold.test_start
        assert periods[fold.test_start - 1] < periods[fold.test_start]
        assert settled.known_at[fold.training].max() <= fold.cutoff < settled.time[fold.test_start]
        assert settled.time[fold.training].max() <= fold.cutoff - np.timedelta64(2, "D")


@pytest.mark.parametrize(("start", "end", "sentence"), [
    ("2020-01-03", "2020-03-01", "there are 8 rows with a known outcome before 2020-01-03T00:00:00, and 88 are needed"),
    ("2025-04-01", "2025-05-01", "there are 0 rows with a known outcome, and 3 folds are asked for"),
    ("2020-06-01", "2020-06-02", "in whole periods of 1d"),
])  # fmt: skip
def test_a_span_without_enough_before_or_in_it_is_refused(start: str, end: str, sentence: str) -> None:
    spec = make_spec(evaluation={"folds": 3})
    settled = observations(make_table(1, signal=1.0), spec).settled
    with pytest.raises(DataError, match=sentence):
        make_row_folds(settled, spec, Period(np.datetime64(start, "us"), np.datetime64(end, "us")))


@pytest.mark.parametrize(("start", "end", "parts", "remedy"), [
    ("2020-06-01", "2020-06-02", {}, "Give a longer period (--start, --end), fewer folds"),
    ("2020-06-01", "2020-06-01", {"evaluation": {"folds": 5}}, "Give a longer period inside the history (--start"),
    ("2020-02-01", "2020-04-01", {"source": {"availability": {"lag": "30d"}}}, "Give a later --start"),
])  # fmt: skip
def test_a_span_that_is_refused_is_to_be_another_one(
    start: str, end: str, parts: dict[str, object], remedy: str
) -> None:
    spec = make_spec(**({"evaluation": {"folds": 3}} | parts))
    settled = observations(make_table(1, signal=1.0), spec).settled
    with pytest.raises(DataError) as told:
        make_row_folds(settled, spec, Period(np.datetime64(start, "us"), np.datetime64(end, "us")))
    assert told.value.remedy.startswith(remedy)


def test_what_comes_later_changes_no_earlier_prediction() -> None:
    spec = make_spec(selection={}, models=[{"name": "ridge"}, {"name": "xgboost"}])
    data = make_table(4, signal=1.0, days=60).drop("dear")
    whole = walk_over(data, spec)
    last = whole.folds[-1].test_start
    changed = data.with_columns(
        price=pl.when(pl.int_range(pl.len()) >= last).then(-50 * pl.col("price")).otherwise("price"),
        shop=pl.when(pl.int_range(pl.len()) >= last).then(pl.lit("new")).otherwise("shop"),
        mood=pl.when(pl.int_range(pl.len()) >= last).then(1e6 * pl.col("mood")).otherwise("mood"),
    )
    other = walk_over(changed, spec)
    before = whole.rows < last
    for name, predictions in whole.predictions.items():
        assert predictions.mean[before].tolist() == other.predictions[name].mean[before].tolist()
        np.testing.assert_array_equal(predictions.quantiles[before], other.predictions[name].quantiles[before])


@pytest.mark.slow
def test_one_and_two_workers_find_the_same() -> None:
    spec = classification(selection={}, evaluation={"folds": 2, "metric": "LogLoss"})
    data = make_table(5, signal=1.0, days=60).drop("price")
    first, second = (judge(walk_over(data, spec, workers=workers), spec) for workers in (1, 2))
    assert first.digest() == second.digest()


def test_a_planted_signal_is_promoted_with_intervals_that_hold() -> None:
    spec = make_spec()
    card = judge(walk_over(make_table(6, signal=2.0).drop("dear"), spec), spec)
    assert card.verdict.reason == "BetterThanBaseline"
    assert card.verdict.champion == "ridge"
    assert (card.task, card.rows, card.evidence.origins) == ("Regression", 320, 80)
    ridge = card.contender("ridge")
    assert all(coverage.inside for coverage in ridge.coverage)
    assert ridge.metrics.mae is not None
    assert (ridge.metrics.theil_u, ridge.metrics.directional_accuracy, ridge.metrics.mase) == (None, None, None)


def test_a_planted_class_is_promoted_and_its_probabilities_are_measured() -> None:
    spec = classification()
    card = judge(walk_over(make_table(7, signal=3.0).drop("price"), spec), spec)
    assert card.verdict.champion == "xgboost"
    found = card.contender("xgboost").classification
    assert found is not None
    assert found.auc is not None
    assert found.auc > 0.8
    assert sum(one.rows for one in found.bins) == card.rows
    assert card.contender("prevalence").classification is not None
    assert card.contender("xgboost").coverage == ()


def test_losses_are_averaged_by_period_and_metrics_count_rows() -> None:
    spec = make_spec()
    data = make_table(8, signal=1.0).drop("dear")
    busy = pl.concat([data, data.head(4 * 197).tail(4).select(pl.all().repeat_by(10).explode())])
    walked = walk_over(busy, spec)
    card = judge(walked, spec).contender("ridge")
    scored = walked.fold > 0
    error = np.abs(walked.outcome - walked.predictions["ridge"].mean)[scored]
    days = [error[walked.period[scored] == day].mean() for day in np.unique(walked.period[scored])]
    assert card.loss == pytest.approx(np.mean(days))
    assert card.metrics.mae == pytest.approx(error.mean())
    assert card.metrics.mae != pytest.approx(card.loss, rel=1e-3)


@pytest.mark.slow
def test_noise_is_promoted_no_more_often_than_declared() -> None:
    spec = make_spec(evaluation={"folds": 2}, promotion={"effectSize": 0.3, "replications": 200, "significance": 0.1})
    promoted = 0
    for seed in range(40):
        data = make_table(1000 + seed, signal=0.0, days=160).select("at", "miles", "mood", "price")
        promoted += judge(walk_over(data, spec), spec).verdict.promoted
    assert promoted <= 8, "more than 8 of 40 at a level of 10 % have a chance below 2 %"


def test_too_few_periods_are_no_verdict() -> None:
    spec = make_spec(promotion={"effectSize": 0.1})
    assert judge(walk_over(make_table(6, signal=2.0).drop("dear"), spec), spec).verdict.reason == "InsufficientEvidence"


def test_what_was_tried_before_counts() -> None:
    spec = make_spec()
    walked = walk_over(make_table(9, signal=0.2).drop("dear"), spec)
    _, own = judge_rows(walked, spec, procedure="p", history=(), incumbent=None, sources=())
    history = merge((), [replace(trial, procedure=f"earlier {number}") for number in range(30) for trial in own])
    once, often = judge(walked, spec), judge(walked, spec, history=history)
    assert (once.tried, often.tried) == (1, 31)
    assert once.test is not None
    assert often.test is not None
    assert often.test.p_value >= once.test.p_value


def test_a_refit_of_the_served_model_needs_no_new_proof() -> None:
    spec = make_spec()
    walked = walk_over(make_table(6, signal=2.0).drop("dear"), spec)
    _, own = judge_rows(walked, spec, procedure="p", history=(), incumbent=None, sources=())
    card = judge(walked, spec, incumbent=own[0])
    assert card.verdict.reason == "NotWorseThanIncumbent"


def test_a_seasonal_metric_is_refused_and_a_percentage_of_zero_too() -> None:
    data = make_table(6, signal=2.0).drop("dear")
    seasonal = make_spec(evaluation={"folds": 4, "metric": "MASE"})
    with pytest.raises(NotSupportedError, match="MASE divides by the error of a seasonal naive forecast"):
        judge(walk_over(data, seasonal), seasonal)
    share = make_spec(evaluation={"folds": 4, "metric": "MAPE"})
    nought = walk_over(data.with_columns(price=pl.lit(0.0)), share)
    with pytest.raises(DataError, match="MAPE divides by the outcome, and 320 of 320"):
        judge(nought, share)


def test_log_loss_that_clips_a_probability_says_so() -> None:
    spec = classification()
    walked = walk_over(make_table(7, signal=3.0, days=60).drop("price"), spec)
    sure = replace(walked.predictions["xgboost"], mean=np.round(walked.predictions["xgboost"].mean))
    card = judge(replace(walked, predictions={**walked.predictions, "xgboost": sure}), spec)
    assert any("probabilities of xgboost are so near to 0 or 1" in caveat for caveat in card.caveats)


def test_probabilities_that_are_off_are_told() -> None:
    spec = classification()
    walked = walk_over(make_table(7, signal=3.0).drop("price"), spec)
    for off in (0.02, 0.2):
        told = replace(walked.predictions["xgboost"], mean=off + (1 - 2 * off) * walked.outcome)
        card = judge(replace(walked, predictions={**walked.predictions, "xgboost": told}), spec)
        assert any(f"xgboost's probabilities are {100 * off:.0f} % off" in one for one in card.caveats) == (off > 0.05)


def test_a_search_ends_with_parameters_of_its_range_and_is_counted() -> None:
    ranged = {"trials": 4, "folds": 2, "parameters": {"alpha": {"low": 0.001, "high": 1000.0, "log": True}}}
    spec = make_spec(models=[{"name": "ridge", "search": ranged}])
    data = make_table(6, signal=2.0, days=80).drop("dear")
    walked = walk_over(data, spec)
    seen = observations(data, spec)
    final = fit_final(walked, inputs_of(spec, kinds_of(seen.table)), spec, entrants(spec)[1])
    assert final.model.search is None
    assert 0.001 <= float(final.model.parameters["alpha"]) <= 1000
    assert judge(walked, spec).tried == 4
    assert walk_over(data, spec).predictions["ridge"].mean.tolist() == walked.predictions["ridge"].mean.tolist()


def test_what_a_search_tries_inside_the_windows_costs_no_proof() -> None:
    ranged = {"trials": 40, "folds": 2, "parameters": {"alpha": {"choices": [1.0]}}}
    fixed = {"parameters": {"alpha": 1.0}}
    data = make_table(9, signal=0.2).drop("dear")
    alone, found = (
        judge(walk_over(data, spec), spec)
        for spec in (make_spec(models=[{"name": "ridge"} | more]) for more in (fixed, {"search": ranged}))
    )
    assert alone.test is not None
    assert found.test is not None
    assert found.test.p_value == alone.test.p_value
    assert found.tried == 40
    assert not any("Scored at other origins" in caveat for caveat in found.caveats)


def test_a_search_leaves_outcomes_out_on_which_its_metric_is_not_defined() -> None:
    ranged = {"trials": 3, "folds": 2, "parameters": {"alpha": {"low": 0.5, "high": 2.0}}}
    spec = make_spec(evaluation={"folds": 2, "metric": "MAPE"}, models=[{"name": "ridge", "search": ranged}])
    data = make_table(6, signal=2.0).drop("dear")
    nought = pl.when(pl.int_range(pl.len()) == 280).then(0.0).otherwise(pl.col("price").abs() + 1)
    card = judge(walk_over(data.with_columns(price=nought), spec), spec)
    assert card.contender("ridge").loss > 0


def job_of(spec: PredictionJobSpec) -> PredictionJob:
    document = {"apiVersion": "presage.dev/v1alpha1", "kind": "PredictionJob", "metadata": {"name": "trips"}}
    return PredictionJob.model_validate(
        {**document, "spec": spec.model_dump(by_alias=True, mode="json", exclude_none=True)}
    )


@pytest.mark.parametrize("spec", [make_spec(models=[{"name": "xgboost"}]), classification()],
                         ids=["regression", "classification"])  # fmt: skip
def test_a_bundle_predicts_open_rows_as_the_fit_that_wrote_it(spec: PredictionJobSpec, tmp_path: Path) -> None:
    data = make_table(6, signal=2.0, days=80).drop("dear" if spec.task == "Regression" else "price")
    seen = observations(data, spec, now=START + timedelta(days=80))
    inputs = inputs_of(spec, kinds_of(seen.table))
    walked = walk(seen, inputs, spec, engine=HERE)
    final = fit_final(walked, inputs, spec, entrants(spec)[1])
    write_model(tmp_path / "bundle", job_of(spec), final, walked.probabilities, lock_digest="sha256:0", now=NOW)
    model = read_model(tmp_path / "bundle")
    target = spec.target.column
    waiting = observations(data.with_columns(pl.when(pl.int_range(pl.len()) < 300).then(target).alias(target)), spec)
    forecast = predict_open(waiting, model, now=NOW)
    assert len(forecast) == 20
    features = final.design.matrix(waiting.open.table)
    kept = features[:, [final.design.names.index(name) for name in final.config.kept]]
    assert forecast.mean.tolist() == final.fitted.predict(kept).tolist()
    table = prediction_table(forecast)
    assert table["issued_at"].unique().to_list() == [datetime(2022, 1, 1, tzinfo=UTC)]
    if spec.task == "Regression":
        assert (table["q0.05"] <= table["q0.95"]).all()
    else:
        assert table["probability"].is_between(0, 1).all()
    assert with_features(judge(walked, spec), final.config).features == final.config.kept


def test_a_damaged_bundle_is_refused(tmp_path: Path) -> None:
    spec = make_spec()
    data = make_table(6, signal=2.0, days=80).drop("dear")
    seen = observations(data, spec)
    inputs = inputs_of(spec, kinds_of(seen.table))
    walked = walk(seen, inputs, spec, engine=HERE)
    write_model(
        tmp_path / "bundle",
        job_of(spec),
        fit_final(walked, inputs, spec, entrants(spec)[0]),
        walked.probabilities,
        lock_digest="sha256:0",
        now=NOW,
    )
    design = tmp_path / "bundle" / "design.json"
    design.write_text(design.read_text().replace("mood", "food"))
    with pytest.raises(LakeError, match=r"design\.json"):
        read_model(tmp_path / "bundle")
