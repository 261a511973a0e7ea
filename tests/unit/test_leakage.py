"""The checks for leaks, each on values made for it."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import numpy as np
import polars as pl
import pytest
from feature_bars import bars_of, listed, real_bars, spec_of

from presage.errors import LeakageError
from presage.features.build import build_frames
from presage.features.truncation import share_unequal, truncate
from presage.frame import KNOWN_AT, SERIES, TIME, FloatArray, Frame
from presage.leakage.bars import definitions_of
from presage.leakage.columns import Column, columns_read, newest_values
from presage.leakage.finding import leak, passed, require_clean
from presage.leakage.knowledge import BarKnowledge
from presage.leakage.known_at import check_contradictions, check_known_at, early_rows
from presage.leakage.rows import likeness
from presage.leakage.scale import scaled
from presage.leakage.shift import COPY, SHIFT, check_shift, explained
from presage.leakage.shuffled import block_order, cheapest, judge_skill, shuffle
from presage.leakage.truncation import choose_cutoffs, troubled
from presage.spec.base import Frequency

DAY = Frequency(1, "d")
SPEC = spec_of("index.Close", sources={"index": {"lag": "0s"}}, horizon=2, transform="LogChange")


def frame() -> Frame:
    (found,) = build_frames(SPEC, {"index": replace(real_bars("sp500", "2015"), source="index")})
    return found


def column(values: FloatArray, of: Frame, name: str = "other.x") -> Column:
    """A column whose values are of the bars of a frame, and known with them."""
    return Column(name, values, (of.time + np.timedelta64(1, "D")).astype("datetime64[us]").astype(np.float64))


def next_change(of: Frame) -> FloatArray:
    return np.log(of.target_level[:, 0] / of.level)


def noise(of: Frame, seed: int = 0) -> FloatArray:
    return np.random.default_rng(seed).standard_normal(len(of))


def test_noise_explains_next_to_nothing_and_a_copy_all() -> None:
    series = frame()
    assert explained(column(noise(series), series), series, 5).largest < 0.05
    for copy in (series.target_level[:, 0], -2 * next_change(series) + 1, np.exp(50 * next_change(series))):
        assert explained(column(copy, series), series, 5).shares[0, 0] == pytest.approx(1)


def test_what_the_targets_own_past_says_is_no_leak() -> None:
    series = frame()
    own = series.level + 0.5 * np.append(np.nan, series.level[:-1])
    assert explained(column(own, series), series, 5).largest < 0.05


def test_a_copy_of_a_later_bar_is_found_when_it_is_older() -> None:
    series = frame()
    told = explained(column(np.append(series.target_level[1:, 1], np.nan), series), series, 5)
    assert told.shares[0, 0] < COPY
    assert told.shares[2, 0] == pytest.approx(1)
    (found,) = check_shift([(series, [column(np.append(series.target_level[1:, 1], np.nan), series)])], 5)
    assert found.cause == "target among the features"


def test_what_goes_with_age_is_a_shift_and_what_stays_is_none() -> None:
    series = frame()
    change = np.nan_to_num(next_change(series))
    part = change + change.std() * noise(series) * np.sqrt(1 / 0.75 - 1)
    (found,) = check_shift([(series, [column(part, series)])], 5)
    assert (found.state, found.cause) == ("fail", "future shift")
    weaker = change + change.std() * noise(series) * np.sqrt(1 / (SHIFT - 0.15) - 1)
    (honest,) = check_shift([(series, [column(weaker, series)])], 5)
    assert honest.state == "pass"


def test_what_is_measured_while_the_outcome_comes_may_tell_it() -> None:
    series = frame()
    copy = column(series.target_level[:, 0], series)
    meanwhile = replace(copy, ended=copy.ended + 4 * 864e8)  # days into the outcome's own bar
    assert np.isnan(explained(meanwhile, series, 5).shares[0, 0])


def test_a_column_whose_source_tells_when_it_was_published_is_not_judged() -> None:
    series = frame()
    copy = column(series.target_level[:, 0], series)
    (found,) = check_shift([(series, [copy])], 5, dated=frozenset({"other.x"}))
    assert found.state == "skipped"
    (without,) = check_shift([(series, [])], 5)
    assert without.state == "skipped"


def test_too_few_rows_are_not_judged() -> None:
    series = frame().rows(0, 30)
    (found,) = check_shift([(series, [column(series.target_level[:, 0], series)])], 5)
    assert found.state == "skipped"


def test_a_season_of_the_target_is_its_own_past() -> None:
    # A pattern of 24 bars that the five newest do not tell.
    pattern = np.random.default_rng(1).standard_normal(24)
    wave = np.tile(pattern, 40) + 0.01 * np.random.default_rng(2).standard_normal(960)
    spec = spec_of("index.x", sources={"index": {"lag": "0s"}})
    (series,) = build_frames(spec, {"index": bars_of("index", listed(list(wave)))})
    other = np.roll(np.tile(pattern, 40), -1)[: len(series)] + 0.01 * noise(series)
    assert explained(column(other, series), series, 1).largest > COPY
    assert explained(column(other, series), series, 24).largest < SHIFT


@pytest.mark.parametrize("seed", range(5))
def test_honest_values_are_not_taken_for_scaled_ones(seed: int) -> None:
    generator = np.random.default_rng(seed)
    assert not scaled(generator.standard_normal(500))
    assert not scaled(generator.integers(0, 101, 500) / 100)
    assert not scaled(generator.random(500))
    assert not scaled(np.tile([-1.0, 1.0], 100))
    assert not scaled(np.linspace(0, 1, 29))


def test_scaled_values_are_told_how() -> None:
    values = np.cumsum(np.random.default_rng(3).standard_normal(500))
    assert "deviation" in scaled((values - values.mean()) / values.std())
    assert "deviation" in scaled(np.round((values - values.mean()) / values.std(ddof=1), 6))
    between = (values - values.min()) / (values.max() - values.min())
    assert "largest 1" in scaled(np.insert(between, 7, np.nan))
    # Both bounds were reached in the first half: nothing later was used.
    assert not scaled(np.concatenate([between, np.full(600, 0.5) + 0.1 * np.random.default_rng(4).random(600)]))


def test_rows_known_before_their_period_ended_are_counted() -> None:
    rows = listed([1.0, 2.0, 3.0]).with_columns(pl.lit("x").alias(SERIES)).drop("filled")
    assert not early_rows(rows, DAY, "UTC").any()
    soon = rows.with_columns(pl.when(pl.col("x") == 2).then(pl.col(KNOWN_AT) - timedelta(hours=1)).otherwise(KNOWN_AT))
    early = early_rows(soon, DAY, "UTC")
    assert early.tolist() == [False, True, False]
    found = check_known_at("x", soon.filter(pl.Series(early)), columns=["a", "b"], rows=3)
    assert (found.column, found.cause) == ("x.a, x.b", "unclosed bar")
    assert found.time == datetime(2020, 1, 2, tzinfo=UTC)
    assert check_known_at("x", soon.clear(), columns=["a"], rows=3).state == "pass"
    assert not len(early_rows(rows.clear(), DAY, "UTC"))


def test_values_of_one_time_and_publication_contradict_each_other() -> None:
    table = pl.DataFrame({"day": ["1", "2", "2", "3"], "told": ["1", "2", "3", "3"], "x": [1.0, 2.0, 2.5, 3.0]})
    found = check_contradictions("s", table, {TIME: "day"}, ["x"])
    assert (found.state, found.column, found.row) == ("fail", "s.x", 2)
    assert check_contradictions("s", table, {TIME: "day", "published": "told"}, ["x"]).state == "pass"
    assert check_contradictions("s", table, {TIME: "day"}, ["absent"]).state == "skipped"


def test_cutoffs_are_spread_over_the_scored_part_and_the_same_each_time() -> None:
    bars = {"index": replace(real_bars("sp500", "2015"), source="index")}
    series = frame()
    since = series.origin[400]
    chosen = choose_cutoffs([series], bars, since=since, count=8, seed=1)
    assert len(chosen) == 8
    assert (chosen >= since - np.timedelta64(1, "us")).all()
    assert (np.diff(chosen) > np.timedelta64(1, "D")).all()
    again = choose_cutoffs([series], bars, since=since, count=8, seed=1)
    assert (chosen == again).all()
    assert not len(choose_cutoffs([series], bars, since=series.origin[-1] + np.timedelta64(1, "D"), count=8, seed=1))


def test_moments_of_trouble_are_looked_at() -> None:
    rows = listed([1.0, 2.0, 3.0, 4.0, 5.0])
    second = rows[1:2].with_columns(pl.col(KNOWN_AT) + timedelta(days=2), pl.col("x") + 1)
    open_bar = rows[4:].with_columns(pl.col(KNOWN_AT) - timedelta(hours=9))
    bars = bars_of("index", pl.concat([rows[:4], second, open_bar]))
    moments = troubled(bars)
    revised = second[KNOWN_AT].to_numpy()[0]
    assert sorted(moments.tolist()) == sorted(
        [(revised - np.timedelta64(1, "us")).item(), open_bar[KNOWN_AT].to_numpy()[0].astype("datetime64[us]").item()]
    )


def test_an_open_bar_is_not_known_unless_it_is_let_in() -> None:
    rows = listed([1.0, 2.0, 3.0])
    early = rows.with_columns(pl.when(pl.col("x") == 3).then(pl.col(KNOWN_AT) - timedelta(hours=9)).otherwise(KNOWN_AT))
    bars = bars_of("index", early)
    noon = np.datetime64("2020-01-03T16", "us")
    assert truncate(bars, noon).rows.height == 2
    known = BarKnowledge({"index": bars})
    assert known.at(noon)["index"].rows.height == 2
    assert known.at(noon, "open bar")["index"].rows.height == 3


def test_revisions_are_known_from_the_first_on_where_they_are_let_in() -> None:
    rows = listed([1.0, 2.0, 3.0])
    revised = rows[:1].with_columns(pl.col(KNOWN_AT) + timedelta(days=9), pl.lit(7.0).alias("x"))
    known = BarKnowledge({"index": bars_of("index", pl.concat([rows, revised]))})
    cutoff = np.datetime64("2020-01-03T12", "us")
    assert known.at(cutoff)["index"].rows["x"].to_list() == [1.0, 2.0]
    assert known.at(cutoff, "revisions")["index"].rows["x"].to_list() == [7.0, 2.0]


def test_the_columns_that_features_read_are_probed_without_the_future() -> None:
    features = [
        {"ratio": {"numerator": "a.x", "denominator": "b.x"}},
        {"calendar": {"parts": ["month"]}},
        {"lag": {"columns": ["a.x", "a.y"], "steps": [1, 2]}},
    ]
    spec = spec_of("a.y", features=features, sources={"a": {"lag": "0s"}, "b": {"lag": "1d"}})
    values = np.arange(60.0)
    both = listed(list(values)).with_columns(y=pl.Series(values**2))
    late = listed(list(values)).with_columns(pl.col(KNOWN_AT) + timedelta(days=1))
    bars = {"a": bars_of("a", both), "b": bars_of("b", late)}
    columns = columns_read(definitions_of(spec, bars))
    assert columns == (("a", "x"), ("b", "x"), ("a", "y"))
    probed = newest_values(spec, bars, columns)
    assert probed is not None
    series, found = probed
    assert [one.name for one in found] == ["a.x", "b.x", "a.y"]
    there = np.isfinite(series.level)
    assert (found[0].values[there] == values).all()
    assert (found[1].values[there][1:] == values[:-1]).all()
    ends = (series.time + np.timedelta64(1, "D")).astype("datetime64[us]").astype(np.float64)
    assert (found[0].ended[there] == ends[there]).all()


def test_blocks_are_shuffled_whole_and_each_row_stays_once() -> None:
    order = block_order(100, 10, np.random.default_rng(0))
    assert sorted(order.tolist()) == list(range(100))
    assert (np.diff(order) % 100 == 1).sum() >= 85
    assert (np.diff(order) % 100 != 1).any()
    assert len(block_order(0, 1, np.random.default_rng(0))) == 0


def test_shuffled_outcomes_are_other_changes_of_the_same_levels() -> None:
    series = frame()
    mixed = shuffle(series, SPEC, np.random.default_rng(0))
    assert (mixed.level[np.isfinite(mixed.level)] == series.level[np.isfinite(series.level)]).all()
    before, after = (np.log(one.target_level / one.level[:, None]) for one in (series, mixed))
    there = np.isfinite(after).all(axis=1)
    assert abs(np.corrcoef(before[there, 0], after[there, 0])[0, 1]) < 0.1
    found = np.sort(after[there, 0])
    assert np.isin(np.round(found, 12), np.round(before[:, 0], 12)).mean() > 0.99


def test_skill_on_shuffled_outcomes_fails() -> None:
    generator = np.random.default_rng(0)
    benchmark = np.abs(generator.standard_normal(300))
    assert judge_skill(benchmark, benchmark + 0.01 * generator.standard_normal(300), 1, "ridge").state == "pass"
    assert judge_skill(benchmark, 0.5 * benchmark, 1, "ridge").cause == "outcomes reach the fit"
    assert judge_skill(benchmark[:10], 0.5 * benchmark[:10], 1, "ridge").state == "skipped"


@pytest.mark.parametrize(
    ("models", "name"),
    [(["theta", "xgboost", "ridge"], "ridge"), (["catboost", "xgboost"], "xgboost"), (["theta"], "ridge")],
)
def test_the_cheapest_learner_is_taken(models: list[str], name: str) -> None:
    spec = type(SPEC).model_validate(
        {**SPEC.model_dump(mode="json", by_alias=True, exclude_none=True), "models": [{"name": one} for one in models]}
    )
    assert cheapest(spec).name == name


def test_a_column_is_as_like_the_target_as_it_tells_of_it() -> None:
    generator = np.random.default_rng(0)
    outcome = generator.standard_normal(500)
    assert likeness(np.exp(outcome), outcome) == pytest.approx(1)
    assert likeness(generator.standard_normal(500), outcome) < 0.1
    classes = (outcome > 0).astype(float)
    assert likeness(-outcome, classes) == 1
    assert likeness(outcome[:10], outcome[:10]) == 0
    assert likeness(np.ones(500), outcome) == 0


def test_the_share_of_rows_that_differ_is_of_those_that_have_a_value() -> None:
    series = frame()
    name = series.feature_names[0]
    other = series.features.copy()
    other[-10:, 0] += 1
    assert share_unequal(series, replace(series, features=other), name) == pytest.approx(
        10 / np.isfinite(series.features[:, 0]).sum()
    )
    assert share_unequal(series, series, "level") == 0


def test_the_first_leak_ends_a_run_with_what_why_where_and_what_to_do() -> None:
    found = leak(
        "truncation", "rows known later", "It is 1, and 2.", column="a.x", time=datetime(2020, 1, 2, tzinfo=UTC)
    )
    with pytest.raises(LeakageError, match=r"a\.x: rows known later\. It is 1, and 2\. Its first row is of 2020-01-02"):
        require_clean([passed("scale", "none"), found])
    require_clean([passed("scale", "none")])
