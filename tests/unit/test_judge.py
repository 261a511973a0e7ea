"""A back-test on the S&P 500, judged: its scorecard, its trials and what an earlier history changes."""

from __future__ import annotations

import math
from dataclasses import replace
from datetime import UTC, datetime
from functools import cache

import numpy as np
import polars as pl
import pytest
from arch.data import sp500

from presage.errors import DataError
from presage.evaluation.backtest import BackTest, Dropped, FeatureConfig, Fold, Forecasts
from presage.evaluation.conditions import conditions
from presage.evaluation.judge import judge
from presage.evaluation.scorecard import Scorecard, SourceSummary
from presage.evaluation.trials import Trial, from_rows, merge, to_rows
from presage.frame import FloatArray, Frame, Panel
from presage.spec.job import PredictionJobSpec

PROBABILITIES = np.array([0.025, 0.05, 0.1, 0.25, 0.5, 0.75, 0.9, 0.95, 0.975])
FOLDS, BLOCK, TRAIN = 6, 200, 1000
CONFIG = FeatureConfig(("last", "mean_5"), (Dropped("lag_1", "correlation 1.000 with last"),), {"last": 1.0})
SOURCE = SourceSummary(
    name="sp500",
    rows=5031,
    start=datetime(1999, 1, 4, tzinfo=UTC),
    end=datetime(2018, 12, 31, tzinfo=UTC),
    gaps=0,
    filled=0,
    duplicates=0,
    dropped=0,
    lag="0s",
    revised=False,
    digest="sha256:" + "0" * 64,
)


def make_spec(**parts: object) -> PredictionJobSpec:
    document: dict[str, object] = {
        "frequency": "1d",
        "target": {"source": "sp500", "column": "range_volatility"},
        "sources": [{"name": "sp500", "availability": {"lag": "0s"}, "dataset": {"name": "arch/sp500"}}],
        "models": [{"name": "ridge"}, {"name": "xgboost"}],
    }
    return PredictionJobSpec.model_validate(document | parts)


@cache
def levels(column: str) -> FloatArray:
    """Return the newest 3,000 days: the close, or Parkinson's range volatility in percent a day."""
    table = sp500.load().tail(3000)
    if column == "Close":
        return table["Close"].to_numpy(dtype=np.float64)
    ratio = np.log(table["High"].to_numpy(dtype=np.float64) / table["Low"].to_numpy(dtype=np.float64))
    return 100 * np.abs(ratio) / math.sqrt(4 * math.log(2))


@cache
def make_frame(column: str, horizon: int) -> Frame:
    level = levels(column)
    count = len(level)
    time = np.datetime64("2007-01-01", "us") + np.arange(count) * np.timedelta64(1, "D")
    later = np.arange(count)[:, None] + np.arange(1, horizon + 1)
    known = later < count
    place = np.minimum(later, count - 1)
    target_time = time[:, None] + np.arange(1, horizon + 1) * np.timedelta64(1, "D")
    return Frame(
        series="sp500",
        time=time,
        origin=time + np.timedelta64(1, "D"),
        level=level,
        features=np.column_stack([level, np.where(np.arange(count) < count * 3 // 4, np.nan, level)]),
        feature_names=CONFIG.kept,
        target_time=target_time,
        target_level=np.where(known, level[place], np.nan),
        target_known_at=np.where(known, target_time + np.timedelta64(1, "D"), np.datetime64("NaT", "us")),
    )


def trailing_mean(level: FloatArray, window: int) -> FloatArray:
    return np.array([level[max(0, row + 1 - window) : row + 1].mean() for row in range(len(level))])


def make_forecasts(frame: Frame, rows: slice, name: str, mean: FloatArray, *, baseline: bool) -> Forecasts:
    """Return forecasts whose quantiles are those of the newest 250 errors known at each origin."""
    mean = np.repeat(mean[:, None], frame.horizon, axis=1)
    error = frame.target_level - mean
    quantiles = np.empty((rows.stop - rows.start, frame.horizon, len(PROBABILITIES)))
    for step in range(frame.horizon):
        for place, row in enumerate(range(rows.start, rows.stop)):
            known = error[row - step - 250 : row - step, step]
            quantiles[place, step] = mean[row, step] + np.quantile(known, PROBABILITIES)
    return Forecasts(name, baseline, mean[rows], quantiles, {} if baseline else {"last": 0.4, "mean_5": 0.6})


@cache
def make_back_test(column: str = "range_volatility", horizon: int = 1) -> BackTest:
    """Return a walk whose ridge blends the newest level with its means over 5 and 22 days, by fixed weights."""
    frame = make_frame(column, horizon)
    level = frame.level
    starts = [TRAIN + 300 + place * BLOCK for place in range(FOLDS + 1)]
    folds = tuple(
        Fold(number, 0, start, start, start + BLOCK, frame.origin[start - 1]) for number, start in enumerate(starts)
    )
    rows = slice(folds[0].test_start, folds[-1].test_stop)
    week, month = trailing_mean(level, 5), trailing_mean(level, 22)
    noise = np.random.default_rng(0).normal(0, 0.1 * level.std(), len(level))
    means = {
        "naive": (True, level),
        "window_mean": (True, month),
        "ridge": (False, 0.15 * level + 0.45 * week + 0.4 * month),
        "xgboost": (False, month + noise),
    }
    forecasts = {
        name: make_forecasts(frame, rows, name, mean, baseline=baseline) for name, (baseline, mean) in means.items()
    }
    fold = np.repeat(np.arange(FOLDS + 1), BLOCK)
    return BackTest(
        panel=Panel.of([frame]),
        folds=folds,
        rows=np.arange(rows.start, rows.stop),
        fold=fold,
        scored=fold > 0,
        probabilities=PROBABILITIES,
        forecasts=forecasts,
        selections=dict.fromkeys(range(FOLDS + 1), CONFIG),
    )


def run(
    back_test: BackTest,
    spec: PredictionJobSpec | None = None,
    *,
    procedure: str = "sha256:a",
    history: tuple[Trial, ...] = (),
    incumbent: Trial | None = None,
    source: SourceSummary = SOURCE,
    leaking: tuple[str, ...] = (),
) -> tuple[Scorecard, tuple[Trial, ...]]:
    return judge(
        back_test,
        spec or make_spec(),
        procedure=procedure,
        history=history,
        incumbent=incumbent,
        sources=(source,),
        config=CONFIG,
        unit="percent",
        season=5,
        leaking=leaking,
    )


def later(trials: tuple[Trial, ...], days: int) -> tuple[Trial, ...]:
    return tuple(replace(trial, origins=trial.origins + np.timedelta64(days, "D")) for trial in trials)


# The scorecard


def test_range_volatility_is_promoted_with_its_numbers() -> None:
    scorecard, _ = run(make_back_test())
    verdict = scorecard.verdict
    assert (verdict.promoted, verdict.reason, verdict.champion) == (True, "BetterThanBaseline", "ridge")
    assert scorecard.baseline.name == "window_mean"
    assert scorecard.test is not None
    assert scorecard.test.p_value < 0.01
    assert scorecard.evidence.origins == 1200
    assert scorecard.evidence.required == 155 < scorecard.evidence.effective <= 1200
    assert scorecard.contender("ridge").superior
    assert not scorecard.contender("xgboost").superior


def test_the_closing_price_is_refused_and_the_best_baseline_is_served() -> None:
    spec = make_spec(target={"source": "sp500", "column": "Close"})
    scorecard, _ = run(make_back_test("Close"), spec)
    verdict = scorecard.verdict
    assert (verdict.promoted, verdict.reason, verdict.champion) == (False, "NotBetterThanBaseline", "naive")
    assert verdict.candidate == "ridge"
    assert verdict.message.startswith("ridge's MAE ")
    assert scorecard.champion.metrics == scorecard.contender("naive").metrics


def test_every_number_is_that_of_the_scored_origins() -> None:
    back_test = make_back_test()
    scorecard, _ = run(back_test)
    rows = back_test.rows[back_test.scored]
    outcome = back_test.frame.target_level[rows]
    error = {
        name: np.abs(outcome - forecasts.mean[back_test.scored]) for name, forecasts in back_test.forecasts.items()
    }
    for contender in scorecard.contenders:
        mine = error[contender.name]
        assert contender.loss == contender.metrics.mae == pytest.approx(mine.mean())
        assert contender.skill == pytest.approx(1 - mine.mean() / error["window_mean"].mean())
        assert [fold.origins for fold in contender.folds] == [BLOCK] * FOLDS
        assert [fold.loss for fold in contender.folds] == pytest.approx(mine.reshape(FOLDS, BLOCK).mean(axis=1))
        assert [interval.level for interval in contender.coverage] == [0.5, 0.8, 0.9, 0.95]
        assert contender.metrics.coverage == contender.coverage[2].coverage
    naive = scorecard.contender("naive").metrics
    assert (naive.theil_u, naive.directional_accuracy) == (pytest.approx(1), 0.5)
    assert (scorecard.start, scorecard.end) == (
        back_test.frame.time[rows[0]].item().replace(tzinfo=UTC),
        back_test.frame.time[rows[-1]].item().replace(tzinfo=UTC),
    )


def test_mase_is_scaled_by_each_folds_own_training_window() -> None:
    back_test = make_back_test()
    scorecard, _ = run(back_test)
    level = back_test.frame.level
    expected = []
    for fold in back_test.folds[1:]:
        window = level[: fold.train_stop]
        rows = np.arange(fold.test_start, fold.test_stop)
        error = np.abs(back_test.frame.target_level[rows, 0] - level[rows])
        expected.append(error.mean() / np.abs(window[5:] - window[:-5]).mean())
    assert scorecard.contender("naive").metrics.mase == pytest.approx(np.mean(expected))


def test_a_longer_horizon_has_metrics_for_each_step_and_a_block_that_spans_it() -> None:
    spec = make_spec(target={"source": "sp500", "column": "range_volatility", "horizon": 5})
    scorecard, _ = run(make_back_test(horizon=5), spec)
    ridge = scorecard.contender("ridge")
    assert [step.step for step in ridge.steps] == [1, 2, 3, 4, 5]
    assert ridge.metrics.mae == pytest.approx(np.mean([step.metrics.mae for step in ridge.steps]))
    assert ridge.steps[0].metrics.mae < ridge.steps[4].metrics.mae
    assert scorecard.test is not None
    assert scorecard.test.block_length >= 5
    assert scorecard.test.diebold_mariano is not None
    assert scorecard.test.diebold_mariano.lag >= 8


@pytest.mark.parametrize("metric", ["MAE", "RMSE", "MAPE", "sMAPE", "MASE", "CRPS"])
def test_the_loss_is_the_metric_of_the_same_name(metric: str) -> None:
    scorecard, _ = run(make_back_test(), make_spec(evaluation={"metric": metric}))
    for contender in scorecard.contenders:
        assert contender.loss == pytest.approx(getattr(contender.metrics, metric.lower()))
    assert f"'s {metric} " in scorecard.verdict.message


def test_the_digest_is_stable_over_repeats_and_over_a_round_trip() -> None:
    first, _ = run(make_back_test())
    again, _ = run(make_back_test())
    assert first.digest() == again.digest()
    assert Scorecard.model_validate_json(first.model_dump_json()).digest() == first.digest()


def test_the_digest_tells_another_verdict() -> None:
    first, _ = run(make_back_test())
    other, _ = run(make_back_test(), make_spec(promotion={"policy": "Manual"}))
    assert first.digest() != other.digest()


def test_a_leak_is_refused_whatever_the_skill() -> None:
    scorecard, _ = run(make_back_test(), leaking=("sp500.range_volatility.lag_1",))
    assert (scorecard.verdict.reason, scorecard.verdict.champion) == ("LeakageDetected", "window_mean")


def test_a_job_of_baselines_alone_has_a_scorecard() -> None:
    back_test = make_back_test()
    alone = {name: forecasts for name, forecasts in back_test.forecasts.items() if forecasts.baseline}
    scorecard, trials = run(replace(back_test, forecasts=alone))
    assert (scorecard.test, scorecard.tried, trials) == (None, 0, ())
    assert scorecard.verdict.candidate is None
    assert scorecard.champion.name == "window_mean"


def test_few_origins_are_insufficient_evidence_and_not_a_test() -> None:
    back_test = make_back_test()
    scored = back_test.scored & (np.cumsum(back_test.scored) <= 15)
    scorecard, _ = run(replace(back_test, scored=scored))
    assert scorecard.test is None
    assert scorecard.verdict.reason == "InsufficientEvidence"
    assert scorecard.verdict.champion == scorecard.baseline.name


def test_no_scored_origin_is_an_error_with_a_remedy() -> None:
    back_test = make_back_test()
    with pytest.raises(DataError, match="no forecast origin") as caught:
        run(replace(back_test, scored=np.zeros_like(back_test.scored)))
    assert "history" in caught.value.remedy


def test_a_candidate_too_large_to_score_is_left_out_and_said_so() -> None:
    back_test = make_back_test()
    wild = replace(back_test.forecasts["xgboost"], mean=np.full((len(back_test.rows), 1), 1e200))
    scorecard, trials = run(
        replace(back_test, forecasts={**back_test.forecasts, "xgboost": wild}), make_spec(evaluation={"metric": "RMSE"})
    )
    assert [contender.name for contender in scorecard.contenders] == ["naive", "window_mean", "ridge"]
    assert [trial.contender for trial in trials] == ["ridge"]
    assert any("xgboost was left out" in caveat for caveat in scorecard.caveats)
    assert scorecard.digest()


# Caveats and conditions


def test_revised_sources_and_impossible_rows_are_caveats() -> None:
    scorecard, _ = run(make_back_test(), source=SOURCE.model_copy(update={"revised": True, "dropped": 3}))
    assert scorecard.caveats[0].startswith("sp500 is revised by its publisher")
    assert scorecard.caveats[1].startswith("3 rows of sp500")


def test_origins_that_were_left_out_are_counted_in_a_caveat() -> None:
    back_test = make_back_test()
    complete, _ = run(back_test)
    scored = back_test.scored.copy()
    scored[np.flatnonzero(scored)[[5, 9]]] = False
    found, _ = run(replace(back_test, scored=scored))
    assert not any("left out" in caveat for caveat in complete.caveats)
    assert any(caveat.startswith("2 origins were left out") for caveat in found.caveats)


def test_a_feature_that_was_often_missing_is_a_caveat() -> None:
    found, _ = run(make_back_test())
    sentences = [sentence for sentence in found.caveats if "missing" in sentence]
    assert len(sentences) == 1
    assert sentences[0].startswith("The feature mean_5 was missing at ")


def test_folds_that_were_lost_and_few_folds_are_caveats() -> None:
    back_test = make_back_test()
    scorecard, _ = run(replace(back_test, scored=np.isin(back_test.fold, (1, 2))))
    assert any(caveat.startswith("Only 2 folds were scored") for caveat in scorecard.caveats)
    price, _ = run(make_back_test("Close"), make_spec(promotion={"policy": "Force"}))
    assert any("ridge lost to naive in 6 of 6 folds" in caveat for caveat in price.caveats)


@pytest.mark.parametrize(
    ("column", "policy", "promoted", "serving"),
    [
        ("range_volatility", "Gate", "True", "ChampionServed"),
        ("range_volatility", "Manual", "False", "BaselineServed"),
        ("Close", "Gate", "False", "BaselineServed"),
    ],
)
def test_conditions_say_what_was_promoted_and_what_is_served(
    column: str, policy: str, promoted: str, serving: str
) -> None:
    scorecard, _ = run(make_back_test(column), make_spec(promotion={"policy": policy}))
    found = {condition.type: condition for condition in conditions(scorecard)}
    assert list(found) == ["DataReady", "FeaturesReady", "Trained", "Evaluated", "Promoted", "Serving", "Ready"]
    assert (found["Promoted"].status, found["Promoted"].reason) == (promoted, scorecard.verdict.reason)
    assert found["Promoted"].message == scorecard.verdict.message
    assert (found["Serving"].status, found["Serving"].reason) == ("True", serving)
    assert scorecard.verdict.champion in found["Serving"].message
    assert all(condition.status == "True" for name, condition in found.items() if name != "Promoted")
    assert found["DataReady"].message == "sp500 5,031 bars"


# The job's history


def test_every_candidate_is_a_trial_and_a_repeat_adds_none() -> None:
    first, trials = run(make_back_test())
    assert [trial.contender for trial in trials] == ["ridge", "xgboost"]
    assert first.tried == 2
    again, repeated = run(make_back_test(), history=trials)
    assert again.tried == 2
    assert again.digest() == first.digest()
    assert len(merge(trials, repeated)) == 2


def test_earlier_configurations_at_the_same_origins_join_the_test() -> None:
    alone, own = run(make_back_test())
    noise = np.random.default_rng(1).normal(0, 0.3, (20, 1200))
    tried = tuple(
        replace(own[1], procedure=f"sha256:{place}", losses=own[1].losses + noise[place]) for place in range(20)
    )
    among, _ = run(make_back_test(), history=tried)
    assert among.tried == 22
    assert alone.test is not None
    assert among.test is not None
    assert among.test.p_value >= alone.test.p_value
    assert among.test.replications == alone.test.replications
    assert not any("not in the test" in caveat for caveat in among.caveats)


def test_an_earlier_configuration_that_was_better_promotes_nobody_else() -> None:
    spec = make_spec(target={"source": "sp500", "column": "Close"})
    _, own = run(make_back_test("Close"), spec)
    oracle = replace(own[0], procedure="sha256:oracle", losses=0.1 * own[0].losses)
    scorecard, _ = run(make_back_test("Close"), spec, history=(oracle,))
    assert scorecard.test is not None
    assert scorecard.test.p_value <= 0.05
    assert (scorecard.verdict.promoted, scorecard.verdict.reason) == (False, "NotBetterThanBaseline")
    assert "due to another configuration" in scorecard.verdict.message


def test_earlier_configurations_at_other_origins_raise_the_p_value() -> None:
    _, own = run(make_back_test())
    tried = tuple(trial for place in range(9) for trial in later((replace(own[0], procedure=f"sha256:{place}"),), -400))
    scorecard, _ = run(make_back_test(), history=tried)
    assert scorecard.tried == 11
    assert scorecard.test is not None
    assert scorecard.test.replications == 5500
    assert any("9 earlier configurations" in caveat for caveat in scorecard.caveats)


def test_an_earlier_configuration_under_another_loss_is_counted_and_not_compared() -> None:
    _, own = run(make_back_test(), make_spec(evaluation={"metric": "RMSE"}))
    scorecard, _ = run(make_back_test(), history=tuple(replace(trial, procedure="sha256:b") for trial in own))
    assert scorecard.tried == 4
    assert any("2 earlier configurations" in caveat for caveat in scorecard.caveats)


def test_trials_cover_origins_only_where_they_have_all_of_them() -> None:
    _, (trial, _) = run(make_back_test())
    assert trial.losses_at(trial.origins[100:200]) == pytest.approx(trial.losses[100:200])
    assert trial.losses_at(trial.origins[100:200] + np.timedelta64(1, "h")) is None
    assert trial.losses_at(np.append(trial.origins, trial.origins[-1] + np.timedelta64(1, "D"))) is None
    assert replace(trial, origins=trial.origins[:0], losses=trial.losses[:0]).losses_at(trial.origins) is None


def test_trials_come_back_from_their_rows() -> None:
    _, trials = run(make_back_test())
    rows = to_rows(trials)
    assert rows.height == 2400
    assert rows.schema["origin"] == pl.Datetime("us", "UTC")
    for written in (rows, rows.sample(fraction=1, shuffle=True, seed=1)):
        read = {trial.key: trial for trial in from_rows(written)}
        assert len(read) == len(trials)
        for trial in trials:
            assert read[trial.key].question == trial.question
            assert np.array_equal(read[trial.key].origins, trial.origins)
            assert np.array_equal(read[trial.key].losses, trial.losses)
    assert from_rows(to_rows(())) == ()


# Refits


def test_a_refit_of_the_same_procedure_needs_no_new_proof() -> None:
    spec = make_spec(target={"source": "sp500", "column": "Close"})
    back_test = make_back_test("Close")
    # A candidate that is as good as the baseline, so that it cannot be superior.
    level = back_test.frame.level[back_test.rows][:, None]
    equal = replace(back_test.forecasts["ridge"], mean=level, quantiles=back_test.forecasts["naive"].quantiles)
    back_test = replace(back_test, forecasts={**back_test.forecasts, "ridge": equal})
    fresh, own = run(back_test, spec)
    refit, _ = run(back_test, spec, incumbent=own[0])
    assert fresh.verdict.reason == "NotBetterThanBaseline"
    assert (refit.verdict.promoted, refit.verdict.reason) == (True, "NotWorseThanIncumbent")


def test_a_refit_that_lost_skill_leaves_the_incumbent() -> None:
    _, own = run(make_back_test())
    better = replace(own[0], losses=0.9 * own[0].losses)
    scorecard, _ = run(make_back_test(), incumbent=better)
    assert (scorecard.verdict.reason, scorecard.verdict.champion) == ("WorseThanIncumbent", "ridge")
    assert {condition.type: condition.reason for condition in conditions(scorecard)}["Serving"] == "IncumbentServed"


def test_the_margin_is_a_share_of_the_loss_that_is_shown() -> None:
    spec = make_spec(evaluation={"metric": "RMSE"})
    _, own = run(make_back_test(), spec)
    # A root that is 1.5 % smaller is a mean square that is 3 % smaller: inside the margin of 2 %.
    scorecard, _ = run(make_back_test(), spec, incumbent=replace(own[0], losses=0.985**2 * own[0].losses))
    assert scorecard.verdict.reason == "NotWorseThanIncumbent"
    assert "1." in scorecard.verdict.message


@pytest.mark.parametrize(
    "change",
    [
        pytest.param({"procedure": "sha256:b"}, id="another procedure"),
        pytest.param({"contender": "theta"}, id="a contender that is gone"),
        pytest.param({"question": "RMSE of something else"}, id="another question"),
        pytest.param({"origins": np.arange(1200).astype("datetime64[us]")}, id="no origin in common"),
    ],
)
def test_what_is_no_refit_goes_through_the_whole_gate(change: dict[str, object]) -> None:
    _, own = run(make_back_test())
    scorecard, _ = run(make_back_test(), incumbent=replace(own[0], **change))  # type: ignore[arg-type]
    assert scorecard.verdict.reason == "BetterThanBaseline"
