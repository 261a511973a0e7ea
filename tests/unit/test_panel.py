"""Panels: many series in one walk, judged by date, fitted alone or together."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime

import numpy as np
import pytest
from model_frames import DAY, frame_of
from scipy import stats

from presage.engine import LocalEngine
from presage.errors import DataError, NotSupportedError
from presage.evaluation.backtest import BackTest
from presage.evaluation.contenders import contenders
from presage.evaluation.final_fit import final_fit, training_window
from presage.evaluation.folds import Period, make_folds
from presage.evaluation.judge import judge
from presage.evaluation.scorecard import Scorecard
from presage.evaluation.trials import Trial
from presage.evaluation.walk_forward import SERIES_A_TASK, back_test
from presage.features.config import FeatureConfig
from presage.frame import FloatArray, Frame, Panel, join, stack, to_table
from presage.models.baselines import Naive
from presage.models.bundle import Bundle, BundleSeries, ConformalState
from presage.models.contract import Task
from presage.spec.evaluation import Evaluation
from presage.spec.forecast import ForecastSummary
from presage.spec.job import PredictionJob, PredictionJobSpec
from presage.steps.forecast import forecast_summary, forecasts_table, next_forecasts

BARS = 240
START = datetime(2001, 1, 1, tzinfo=UTC)


def job(models: Sequence[dict[str, object]] = ({"name": "ridge"},), **parts: object) -> PredictionJobSpec:
    given: dict[str, object] = {
        "frequency": "1d",
        "target": {"source": "many", "column": "x", "transform": "Difference"},
        "sources": [{"name": "many", "file": {"uri": "x.csv"}, "availability": {"lag": "0s"}}],
        "models": list(models),
        "selection": {"method": "None"},
        "evaluation": {"folds": 3, "train_size": 120},
        "promotion": {"replications": 199},
    }
    return PredictionJobSpec.model_validate(given | parts)


def walks(names: str, *, seed: int = 0, bars: int = BARS, signal: float = 0.0, noise_features: int = 0) -> list[Frame]:
    """Return random walks that share half of their shocks; the first feature tells the next change, if it does."""
    random = np.random.default_rng(seed)
    common = random.standard_normal(bars)
    frames = []
    for name in names:
        told = random.standard_normal(bars)
        change = np.sqrt(0.5) * (common + random.standard_normal(bars)) + signal * np.append(0, told[:-1])
        features = np.column_stack([told, random.standard_normal((bars, noise_features))])
        labels = tuple(f"x_{place}" for place in range(noise_features + 1))
        frames.append(replace(frame_of(np.cumsum(change), features, names=labels, horizon=1), series=name))
    return frames


def walked(frames: Sequence[Frame], spec: PredictionJobSpec | None = None, workers: int = 1) -> BackTest:
    return back_test(Panel.of(frames), spec or job(), season=1, engine=LocalEngine(workers))


def judged(found: BackTest, spec: PredictionJobSpec | None = None) -> Scorecard:
    return tried(found, spec)[0]


def tried(
    found: BackTest,
    spec: PredictionJobSpec | None = None,
    *,
    history: Sequence[Trial] = (),
    incumbent: Trial | None = None,
) -> tuple[Scorecard, tuple[Trial, ...]]:
    return judge(
        found,
        spec or job(),
        procedure="sha256:a",
        history=history,
        incumbent=incumbent,
        sources=(),
        config=FeatureConfig(found.frame.feature_names, (), {}),
        unit="",
        season=1,
    )


def content(found: BackTest, rows: FloatArray | slice) -> bytes:
    parts = [found.rows[rows].tobytes(), found.fold[rows].tobytes()]
    for name, forecast in found.forecasts.items():
        parts += [name.encode(), forecast.mean[rows].tobytes(), forecast.quantiles[rows].tobytes()]
    return b"".join(parts)


# Frames of many series


def test_a_panel_holds_the_series_one_after_the_other_and_shares_their_memory():
    frames = walks("ABC")
    panel = Panel.of([frames[0], frames[1].rows(50, BARS), frames[2].rows(0, 100)])
    assert panel.names == ("A", "B", "C")
    assert panel.bounds == (0, 240, 430, 530)
    assert [len(frame) for frame in panel.frames] == [240, 190, 100]
    assert panel.frames[1].level.tolist() == frames[1].level[50:].tolist()
    assert np.shares_memory(panel.frames[1].features, panel.whole.features)
    assert panel.dates.tolist() == frames[0].time.tolist()
    assert panel.span(1, 40, 60) == (0, 10)
    assert panel.span(2, 90, 240) == (90, 100)
    table = to_table(panel)
    assert table["series"].to_list() == ["A"] * 240 + ["B"] * 190 + ["C"] * 100


def test_stacked_rows_are_in_the_order_of_their_origins():
    first, second = walks("AB")
    stacked = stack([first, replace(second, origin=second.origin + np.timedelta64(12, "h"))])
    assert (np.diff(stacked.origin) > np.timedelta64(0)).all()
    assert stacked.level[:4].tolist() == [first.level[0], second.level[0], first.level[1], second.level[1]]
    assert stack([first]) is first
    assert stacked.series == "A and 1 more"


def test_only_frames_of_the_same_features_can_be_joined():
    with pytest.raises(ValueError, match="same features and horizon"):
        join([*walks("A"), *walks("B", noise_features=1)])
    with pytest.raises(ValueError, match="no frame"):
        join([])


def test_a_panel_as_it_stood_earlier_has_no_series_that_began_later():
    frames = walks("ABC")
    panel = Panel.of([frames[0], frames[1].rows(100, BARS), frames[2].rows(0, 90)])
    then = panel.known_by(frames[0].origin[80])
    assert then.names == ("A", "C")
    assert len(then.frames[0]) == 81
    assert np.isnan(then.frames[0].target_level[-1]).all()
    rolling = training_window(panel, Evaluation(window="Rolling", train_size=100))
    assert rolling.names == ("A", "B")
    assert [len(frame) for frame in rolling.frames] == [100, 100]


# Folds by date


def test_folds_are_spans_of_dates_whatever_series_start_late_end_early_or_have_holes():
    frames = walks("ABCD")
    hole = frames[3].take(np.delete(np.arange(BARS), slice(100, 130)))
    panel = Panel.of([frames[0], frames[1].rows(150, BARS), frames[2].rows(0, 170), hole])
    alone = Panel.of(frames[:1])
    evaluation = Evaluation(folds=3)
    assert [replace(fold, cutoff=None) for fold in make_folds(panel, evaluation)] == [
        replace(fold, cutoff=None) for fold in make_folds(alone, evaluation)
    ]


def test_a_cutoff_is_no_later_than_any_origin_of_its_block():
    prompt, late = walks("AB")
    late = replace(late, origin=late.origin + 9 * DAY, target_known_at=late.target_known_at + 9 * DAY)
    panel = Panel.of([prompt, late])
    for fold in make_folds(panel, Evaluation(folds=3, embargo=2)):
        assert fold.cutoff <= prompt.origin[fold.test_start]
        assert fold.cutoff <= late.origin[fold.test_start]
        assert fold.cutoff > prompt.origin[fold.train_stop - 1]


def test_a_period_is_scored_whole_and_trained_before():
    panel = Panel.of(walks("AB", bars=600))
    period = Period(panel.dates[200], panel.dates[299])
    folds = make_folds(panel, Evaluation(folds=3), period)
    assert [(fold.number, fold.train_start, fold.test_start, fold.test_stop) for fold in folds] == [
        (0, 0, 167, 200),
        (1, 0, 200, 233),
        (2, 0, 233, 266),
        (3, 0, 266, 300),
    ]
    sized = make_folds(panel, Evaluation(folds=3, window="Rolling", train_size=50, test_size=40), period)
    assert [(fold.train_start, fold.test_start, fold.test_stop) for fold in sized] == [
        (110, 160, 200),
        (150, 200, 240),
        (190, 240, 280),
        (230, 280, 300),
    ]
    newest = make_folds(panel, Evaluation(folds=3), Period(panel.dates[500], panel.dates[-1] + 900 * DAY))
    assert newest[-1].test_stop == 599


@pytest.mark.parametrize(
    ("first", "last", "what"),
    [(10, 90, r"has \d+ usable dates before 2001-01-11"), (300, 301, "there are 2 dates"), (900, 950, "there are 0")],
)
def test_a_period_without_history_or_dates_is_refused(first, last, what):
    panel = Panel.of(walks("AB", bars=600))
    start = panel.dates[0]
    with pytest.raises(DataError, match=what):
        make_folds(panel, Evaluation(folds=3), Period(start + first * DAY, start + last * DAY))


# The walk


def test_a_global_model_learns_from_all_series_and_a_statistical_one_from_its_own():
    frames = walks("ABC", signal=0.5)
    models = [{"name": "ridge"}, {"name": "ridge", "scope": "PerSeries"}, {"name": "theta"}]
    together = walked(frames, job(models))
    alone = [walked([frame], job(models)) for frame in frames]
    for name in ("naive", "drift", "window_mean", "theta", "ridge_2"):
        parts = np.concatenate([found.forecasts[name].mean for found in alone])
        assert together.forecasts[name].mean.tobytes() == parts.tobytes(), name
    own = np.concatenate([found.forecasts["ridge"].mean for found in alone])
    assert not np.allclose(together.forecasts["ridge"].mean, own, rtol=1e-4)
    assert own.tobytes() == together.forecasts["ridge_2"].mean.tobytes()
    quantiles = np.concatenate([found.forecasts["theta"].quantiles for found in alone])
    assert together.forecasts["theta"].quantiles.tobytes() == quantiles.tobytes()


def test_nothing_known_later_in_any_series_reaches_a_forecast():
    frames = walks("ABC", signal=0.5)
    lag = 3 * DAY
    frames[1] = replace(frames[1], origin=frames[1].origin + lag, target_known_at=frames[1].target_known_at + lag)
    frames[2] = frames[2].rows(150, BARS)
    models = [{"name": "ridge"}, {"name": "theta"}, {"name": "weighted_combination"}]
    found = walked(frames, job(models))
    fold = found.folds[2]
    moment = frames[0].origin[fold.test_start + 4]
    random = np.random.default_rng(3)
    scrambled = []
    for frame in frames:
        later, unknown = frame.origin > moment, frame.target_known_at > moment
        scrambled.append(
            replace(
                frame,
                level=np.where(later, random.normal(0, 9, len(frame)), frame.level),
                features=np.where(later[:, None], random.normal(0, 9, frame.features.shape), frame.features),
                target_level=np.where(unknown, random.normal(0, 9, frame.target_level.shape), frame.target_level),
            )
        )
    other = walked(scrambled, job(models))
    before = found.frame.origin[found.rows] <= moment
    assert 50 < before.sum() < len(before)
    assert content(other, before) == content(found, before)
    assert content(other, slice(None)) != content(found, slice(None))


def test_two_workers_find_the_same_scorecard_as_one():
    frames = walks("ABCDE", signal=0.4)
    spec = job([{"name": "ridge"}, {"name": "theta"}, {"name": "mean_combination"}])
    one, two = (walked(frames, spec, workers) for workers in (1, 2))
    assert content(one, slice(None)) == content(two, slice(None))
    assert judged(one, spec).digest() == judged(two, spec).digest()


def test_series_beyond_one_task_find_their_places():
    names = [f"s{number:03}" for number in range(SERIES_A_TASK + 7)]
    base = walks("ABCDEFG", bars=90)
    frames = [replace(base[place % 7], series=name) for place, name in enumerate(names)]
    found = walked(frames, job([{"name": "naive"}], evaluation={"folds": 1, "train_size": 30}))
    naive = found.forecasts["naive"].mean[:, 0]
    assert naive.tolist() == found.frame.level[found.rows].tolist()
    assert found.series.tolist() == np.repeat(np.arange(len(names)), len(found.rows) // len(names)).tolist()


def test_a_late_starter_counts_once_every_contender_has_twenty_known_residuals():
    frames = walks("ABC")
    frames[2] = frames[2].rows(170, BARS)
    found = walked(frames)
    scored = found.scored[found.series == 2]
    # Drift has no forecast at the first bar of a series.
    assert not scored[:21].any()
    assert scored[21:].all()
    assert found.scored[found.series < 2].sum() == 2 * (found.fold[found.series == 0] > 0).sum()
    card = judged(found)
    assert [one.name for one in card.series] == ["A", "B", "C"]
    assert card.series[2].origins == scored.sum()
    assert card.evidence.origins == (found.fold[found.series == 0] > 0).sum()
    assert any("left out, for all contenders alike" in caveat for caveat in card.caveats)


def test_a_series_that_began_too_late_or_ended_too_early_is_named_with_no_score():
    frames = walks("ABC")
    frames[1] = frames[1].rows(BARS - 15, BARS)
    frames[2] = frames[2].rows(0, 60)
    spec = job([{"name": "ridge"}, {"name": "theta"}])
    card = judged(walked(frames, spec), spec)
    assert [(one.name, one.origins, one.loss) for one in card.series[1:]] == [("B", 0, None), ("C", 0, None)]


def test_a_model_that_no_series_can_be_fitted_with_is_named_with_its_fold():
    frames = [replace(frame, target_level=np.full((BARS, 1), np.nan)) for frame in walks("AB")]
    for frame in frames:
        frame.target_level[-60:-1] = 1.0
    with pytest.raises(DataError, match=r"^ridge in fold 0: series 'A and 1 more'"):
        walked(frames, job(evaluation={"folds": 3, "train_size": 60}))


def test_a_model_of_one_series_cannot_be_global():
    with pytest.raises(NotSupportedError, match="theta reads the history of one series"):
        walked(walks("AB"), job([{"name": "theta", "scope": "Global"}]))


# The judgement


def test_a_loss_is_averaged_over_the_series_of_a_date_first():
    frames = walks("ABC")
    frames[2] = frames[2].rows(150, BARS)
    found = walked(frames)
    card = judged(found)
    rows = found.rows[found.scored]
    error = np.abs(found.frame.target_level[rows] - found.forecasts["naive"].mean[found.scored])[:, 0]
    at = found.frame.time[rows]
    by_date = [error[at == time].mean() for time in np.unique(at)]
    assert card.contender("naive").loss == pytest.approx(np.mean(by_date), rel=1e-12)
    assert card.contender("naive").metrics.mae == pytest.approx(error.mean(), rel=1e-12)
    losses = {one.name: one.loss for one in card.series}
    mine = np.abs(found.frame.target_level[rows] - found.forecasts["ridge"].mean[found.scored])[:, 0]
    assert losses["C"] == pytest.approx(mine[found.series[found.scored] == 2].mean(), rel=1e-12)


def test_one_series_many_times_is_no_more_evidence_than_once():
    (frame,) = walks("A", seed=5, signal=0.35, bars=400)
    spec = job([{"name": "ridge", "scope": "PerSeries"}], evaluation={"folds": 3, "train_size": 150})
    once = judged(walked([frame], spec), spec)
    often = judged(walked([replace(frame, series=name) for name in "ABCDEFGH"], spec), spec)
    assert often.verdict.reason == once.verdict.reason
    assert often.evidence.origins == once.evidence.origins
    assert often.evidence.effective == pytest.approx(once.evidence.effective, rel=1e-6)
    assert often.test.p_value == pytest.approx(once.test.p_value, abs=1e-6)
    assert often.contender("ridge").loss == pytest.approx(once.contender("ridge").loss, rel=1e-9)
    for mine, theirs in zip(often.contender("ridge").coverage, once.contender("ridge").coverage, strict=True):
        assert (mine.coverage, mine.lower, mine.upper) == pytest.approx((theirs.coverage, theirs.lower, theirs.upper))


@pytest.mark.parametrize(("before", "after"), [("AB", "ABC"), ("ABC", "AB"), ("A", "AB"), ("AB", "A")])
def test_a_panel_of_other_series_is_no_refit_and_its_losses_are_not_compared(before, after):
    frames = walks("ABC", signal=3.0)
    frames[2] = replace(frames[2], level=frames[2].level * 100, target_level=frames[2].target_level * 100)
    _, then = tried(walked(frames[: len(before)]))
    found = walked(frames[: len(after)])
    alone, _ = tried(found)
    card, now = tried(found, history=[replace(then[0], procedure="sha256:b")], incumbent=then[0])
    assert card.verdict.reason == alone.verdict.reason == "InsufficientEvidence"
    assert card.tried == 2
    assert any("1 earlier configuration" in caveat for caveat in card.caveats), card.caveats
    assert now[0].question != then[0].question


def test_a_panel_whose_scored_series_stay_the_same_is_refitted():
    frames = walks("ABC", signal=3.0)
    _, then = tried(walked(frames[:2]))
    beginner = frames[2].rows(BARS - 15, BARS)
    card, now = tried(walked([*frames[:2], beginner]), history=then, incumbent=then[0])
    assert card.series[2].origins == 0
    assert now[0].question == then[0].question
    assert card.verdict.reason == "NotWorseThanIncumbent"


def test_the_question_of_one_series_names_no_series():
    _, (trial, *_) = tried(walked(walks("A")))
    assert trial.question == "MAE of many.x, 1 x 1d ahead"


def test_dates_stay_apart_where_a_series_that_ended_was_published_late():
    frames = walks("AB")
    late, lag = frames[1].rows(0, BARS - 40), 30 * DAY
    late = replace(late, origin=late.origin + lag, target_known_at=late.target_known_at + lag)
    alone, found = walked(frames[:1]), walked([frames[0], late])
    once, (before, *_) = tried(alone)
    often, (after, *_) = tried(found)
    assert often.evidence.origins == once.evidence.origins
    assert [fold.origins for fold in often.contenders[0].folds] == [fold.origins for fold in once.contenders[0].folds]
    scored = np.unique(found.panel.date[found.rows[found.scored]])
    assert after.origins.tolist() == found.panel.dates[scored].tolist()
    assert before.origins.tolist() == alone.frame.origin[alone.rows[alone.scored]].tolist()


def test_what_only_a_global_model_can_see_is_promoted():
    frames = walks("ABCDEFGHIJKL", seed=2, bars=460, signal=0.5, noise_features=40)
    evaluation = {"folds": 4, "train_size": 80, "window": "Rolling"}
    shared, own = (job([{"name": "ridge", "scope": scope}], evaluation=evaluation) for scope in ("Global", "PerSeries"))
    promoted = judged(walked(frames, shared), shared)
    assert promoted.verdict.promoted, promoted.verdict.message
    assert all(one.skill > 0 for one in promoted.series)
    refused = judged(walked(frames, own), own)
    assert refused.verdict.reason == "NotBetterThanBaseline"


def test_the_gate_keeps_its_size_on_panels_of_random_walks():
    trials, spec = 40, job(evaluation={"folds": 2, "train_size": 60})
    promoted = sum(
        judged(walked(walks("ABCD", seed=seed, bars=330), spec), spec).verdict.promoted for seed in range(trials)
    )
    assert promoted <= stats.binom.isf(0.01, trials, spec.promotion.significance)


def test_a_series_left_out_is_a_caveat():
    found = walked(walks("AB"))
    scorecard, _ = judge(
        found, job(), procedure="sha256:a", history=(), incumbent=None, sources=(),
        config=FeatureConfig((), (), {}), unit="", season=1, left_out={"C": "it has no bars."},
    )  # fmt: skip
    assert "1 series was left out, such as C: it has no bars." in scorecard.caveats


def test_a_scorecard_of_one_series_says_nothing_of_series_and_keeps_its_digest():
    card = judged(walked(walks("A")))
    assert "series" not in card.model_dump()
    assert Scorecard.model_validate_json(card.model_dump_json()) == card
    many = judged(walked(walks("AB")))
    assert Scorecard.model_validate_json(many.model_dump_json()) == many


def test_mase_leaves_out_a_series_that_has_no_scale_yet():
    frames = walks("ABC")
    frames[2] = frames[2].rows(199, BARS)
    spec = job(evaluation={"folds": 1, "train_size": 120, "metric": "MASE"})
    card = judged(walked(frames, spec), spec)
    assert card.contender("naive").loss > 0


# What is exported


def test_the_final_fit_gives_each_series_its_forecaster():
    frames = walks("ABC", signal=0.5)
    frames[2] = frames[2].rows(BARS - 5, BARS)
    panel, spec = Panel.of(frames), job([{"name": "ridge"}, {"name": "theta"}, {"name": "mean_combination"}])
    task = Task("Difference", 1, 1, 0)
    entrants = {one.name: one for one in contenders(spec, task, panel)}
    config = FeatureConfig(panel.whole.feature_names, (), {})
    ridge, theta, combined = (
        final_fit(panel, spec, entrants[name], season=1, config=config)
        for name in ("ridge", "theta", "mean_combination")
    )
    assert list(ridge) == ["A", "B", "C"]
    assert ridge["A"] is ridge["C"]
    assert list(theta) == list(combined) == ["A", "B"]
    newest = np.array([BARS - 1])
    mean = (ridge["B"].predict(frames[1], newest) + theta["B"].predict(frames[1], newest)) / 2
    np.testing.assert_allclose(combined["B"].predict(frames[1], newest), mean, rtol=1e-14)


def test_scope_is_told_by_the_model():
    spec = job([{"name": "ridge"}, {"name": "theta"}, {"name": "ridge", "scope": "PerSeries"}])
    found = contenders(spec, Task("Difference", 1, 1, 0), Panel.of(walks("AB")))
    assert {one.name: one.shared for one in found if not one.baseline} == {
        "ridge": True,
        "theta": False,
        "ridge_2": False,
    }
    assert not any(one.shared for one in found if one.baseline)


# What is issued


def bundle_of(panel: Panel, *, many: bool = True) -> Bundle:
    state = ConformalState(probabilities=(0.1, 0.9), offsets=((-1.0, 1.0),))
    parts = tuple(BundleSeries(name=name, conformal=ConformalState() if name == "B" else state) for name in panel.names)
    return Bundle(
        version="v2" if many else "v1",
        job="many", namespace="default", spec_digest="sha256:0", model="naive", transform="Difference", horizon=1,
        season=1, frequency="1d", train_start=START, train_end=START, created_at=START,
        conformal=ConformalState() if many else state, panel=parts if many else (),
    )  # fmt: skip


def test_series_that_go_on_are_forecast_and_one_without_calibrated_intervals_has_none():
    frames = walks("ABC")
    frames[2] = frames[2].rows(0, 100)
    panel = Panel.of(frames)
    files = {"forecaster.json": Naive(horizon=1).to_bytes()}
    issued = next_forecasts(panel, bundle_of(panel), files)
    assert [one.series for one in issued] == ["A", "B"]
    assert [one.mean.tolist() for one in issued] == [[frame.level[-1]] for frame in frames[:2]]
    assert issued[0].quantiles.tolist() == [[frames[0].level[-1] - 1, frames[0].level[-1] + 1]]
    assert issued[1].quantiles.shape == (1, 0)
    table = forecasts_table(issued)
    assert table["q0.1"].is_null().to_list() == [False, True]
    assert table["series"].to_list() == ["A", "B"]


def test_a_summary_of_one_series_keeps_its_shape_and_that_of_many_has_a_list():
    panel = Panel.of(walks("AB"))
    files = {"forecaster.json": Naive(horizon=1).to_bytes()}
    text = {"apiVersion": "presage.dev/v1alpha1", "kind": "PredictionJob", "metadata": {"name": "many"}}
    whole = PredictionJob.model_validate(text | {"spec": job().model_dump()})
    given = {"run": "r", "model": "naive", "promoted": False}
    many = forecast_summary(whole, next_forecasts(panel, bundle_of(panel), files), panel=True, **given)
    assert list(many.model_dump()) == [
        *("job", "namespace", "run", "model", "promoted", "issued_at", "stale_after", "panel"),
    ]
    assert [one.series for one in many.forecasts] == ["A", "B"]
    assert ForecastSummary.model_validate_json(many.model_dump_json()) == many
    alone = Panel.of(walks("A"))
    one = forecast_summary(whole, next_forecasts(alone, bundle_of(alone, many=False), files), panel=False, **given)
    assert list(one.model_dump()) == [
        *("job", "namespace", "series", "run", "model", "promoted", "issued_at", "stale_after", "steps"),
    ]
    assert one.forecasts[0].steps == one.steps == many.panel[0].steps


def test_a_champion_of_one_series_does_not_forecast_many():
    panel = Panel.of(walks("AB"))
    with pytest.raises(DataError, match="has 2 series now") as caught:
        next_forecasts(panel, bundle_of(panel, many=False), {})
    assert caught.value.remedy == "Run the job again."


def test_nothing_to_forecast_from_is_said_so():
    panel = Panel.of([replace(frame, level=np.full(BARS, np.nan)) for frame in walks("AB")])
    with pytest.raises(DataError, match="series 'A' has no bar to forecast from"):
        next_forecasts(panel, bundle_of(panel), {})
