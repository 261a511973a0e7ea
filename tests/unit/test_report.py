"""The report: its words, its charts' numbers, its page, its terminal tables and its files."""

from __future__ import annotations

import base64
import io
import json
import re
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from html.parser import HTMLParser
from typing import get_args

import numpy as np
import polars as pl
import pytest
import report_case
from rich.console import Console

from presage.errors import JobError
from presage.evaluation.metrics import origin_losses
from presage.evaluation.scorecard import Reason, Scorecard, SeriesScore
from presage.frame import Panel
from presage.report import back_test_charts, chart, facts, forecast_charts, grids, numbers, score_charts, skill_charts
from presage.report.console import printable
from presage.report.data import Report
from presage.report.grid import Column, Grid
from presage.report.html import render
from presage.report.markup import Markup, element, json_script, script
from presage.report.numbers import UNDEFINED
from presage.report.tables import guarded, predictions_csv
from presage.report.terminal import print_forecast, print_forecasts, print_report, print_scorecard
from presage.report.write import write_report
from presage.spec.evaluation import CLASSIFICATION_METRICS, Metric

HOSTILE = "<script>alert('1')</script>&<b>\"</b>"


@pytest.fixture(scope="module")
def promoted() -> Report:
    return report_case.volatility_report()


@pytest.fixture(scope="module")
def refused() -> Report:
    return report_case.price_report()


@pytest.fixture(scope="module", params=[metric for metric in get_args(Metric) if metric not in CLASSIFICATION_METRICS])
def by_metric(request: pytest.FixtureRequest) -> Report:
    return report_case.volatility_report(horizon=2, metric=request.param)


@pytest.mark.parametrize(
    ("values", "shown"),
    [
        ((0.35012, 0.3762, 0.4), ["0.3501", "0.3762", "0.4000"]),
        ((1234.5, 10.0), ["1,234", "10"]),
        ((2500.0, 2400.0), ["2,500", "2,400"]),
        ((None, float("nan"), 1.0), [numbers.UNDEFINED, numbers.UNDEFINED, "1.000"]),
        ((0.0, -0.00001, 5.0), ["0.000", "0.000", "5.000"]),
        ((1e-9,), ["1.000e-09"]),
        ((0.0,), ["0.000"]),
        ((), []),
    ],
)
def test_numbers_of_a_column_have_equal_decimals(values, shown):
    assert numbers.aligned(values) == shown


@pytest.mark.parametrize(
    ("shown", "expected"),
    [
        (numbers.percent(0.0694), "6.9 %"),
        (numbers.percent(-0.0001), "0.0 %"),
        (numbers.percent(None), "\N{EN DASH}"),
        (numbers.level_name(0.95), "95 %"),
        (numbers.level_name(0.975), "97.5 %"),
        (numbers.p_value(0.0499), "0.050"),
        (numbers.p_value(0.000999), "0.001"),
        (numbers.p_value(0.0), "< 0.001"),
        (numbers.count(1, "fold"), "1 fold"),
        (numbers.count(2304, "origin"), "2,304 origins"),
        (numbers.listing(["a", "b", "c"]), "a, b and c"),
        (numbers.listing(["a"]), "a"),
        (numbers.listing([]), "none"),
        (numbers.moment(datetime(2020, 1, 2, tzinfo=UTC)), "2020-01-02"),
        (numbers.moment(datetime(2020, 1, 2, 3, 4, 5, tzinfo=UTC)), "2020-01-02 03:04:05"),
        (numbers.moment(np.datetime64("1969-12-31T23:30", "us")), "1969-12-31 23:30"),
    ],
)
def test_a_number_or_time_is_written_as_people_read_it(shown, expected):
    assert shown == expected


def test_every_reason_of_the_gate_has_a_headline_that_names_what_is_served(promoted):
    verdict = promoted.scorecard.verdict
    for reason in get_args(Reason):
        changed = verdict.model_copy(update={"reason": reason})
        words = facts.headline(promoted.scorecard.model_copy(update={"verdict": changed}))
        assert verdict.champion in words
        assert "{" not in words


def test_a_promoted_model_is_shown_with_its_own_numbers(promoted):
    skill, loss, p_value, coverage = facts.key_numbers(promoted.scorecard)
    ridge = promoted.scorecard.contender("ridge")
    assert promoted.scorecard.verdict.promoted
    assert (skill.name, skill.value) == ("Skill of ridge", numbers.percent(ridge.skill))
    assert loss.value == numbers.number(ridge.metrics.mae)
    assert promoted.scorecard.verdict.baseline in loss.note
    assert p_value.value == numbers.p_value(promoted.scorecard.test.p_value)
    assert coverage.name == "90 % interval of ridge held"
    assert coverage.value == numbers.percent(ridge.metrics.coverage)


def test_a_refusal_shows_the_candidates_skill_and_the_coverage_of_what_is_served(refused):
    verdict = refused.scorecard.verdict
    skill, _, _, coverage = facts.key_numbers(refused.scorecard)
    assert not verdict.promoted
    assert skill.name == f"Skill of {verdict.candidate}"
    assert coverage.name.endswith(f"{verdict.champion} held")
    assert verdict.champion == verdict.baseline


def test_intervals_are_found_among_the_probabilities_widest_first():
    found = facts.intervals(np.array([0.05, 0.1, 0.5, 0.9, 0.95]))
    assert [(one.level, one.lower, one.upper) for one in found] == [(0.9, 0, 4), (0.8, 1, 3)]
    assert facts.intervals(np.array([0.5])) == ()
    assert facts.intervals(np.array([0.1, 0.5, 0.8])) == ()


def test_the_interval_that_is_drawn_is_the_one_that_the_gate_watches(promoted):
    assert facts.shown_interval(promoted.scorecard, report_case.PROBABILITIES).level == 0.9


def test_the_forecast_sentence_has_the_first_and_last_bar_with_their_intervals(refused):
    words = facts.forecast_sentence(refused.scorecard, refused.forecast)
    mean, quantiles = refused.forecast.mean, refused.forecast.quantiles
    for step in (0, -1):
        assert numbers.number(mean[step], 5) in words
        assert f"{numbers.number(quantiles[step, 1], 5)} to {numbers.number(quantiles[step, 7], 5)}" in words
    assert "2019-01-05 05:00" in words


def test_text_is_escaped_and_markup_is_not():
    inner = element("b", HOSTILE)
    assert element("p", inner, "<", title='"') == (
        '<p title="&quot;"><b>&lt;script&gt;alert(&#x27;1&#x27;)&lt;/script&gt;'
        "&amp;&lt;b&gt;&quot;&lt;/b&gt;</b>&lt;</p>"
    )
    assert element("p", None, class_="a", hidden=True, inert=False) == '<p class="a" hidden></p>'
    assert isinstance(inner, Markup)


def test_a_script_cannot_be_ended_by_its_content():
    with pytest.raises(ValueError, match="would end"):
        script("1</SCRIPT >")
    inside = re.fullmatch(r"<script[^>]*>(.*)</script>", json_script(json.dumps(HOSTILE))).group(1)
    assert "<" not in inside
    assert json.loads(inside) == HOSTILE


@pytest.mark.parametrize("size", [1, 4999, 5000, 5001, 60000])
def test_thinning_keeps_the_extremes_and_both_ends(size):
    values = np.random.default_rng(3).standard_normal(size).cumsum()
    kept = chart.thinned(values)
    assert len(kept) == size if size <= chart.DRAWN_AT_MOST else len(kept) <= chart.DRAWN_AT_MOST
    assert (np.diff(kept) > 0).all()
    assert {0, size - 1, int(values.argmin()), int(values.argmax())} <= set(kept.tolist())


def test_thinning_bears_stretches_without_numbers():
    kept = chart.thinned(np.full(20000, np.nan))
    assert 0 < len(kept) <= chart.DRAWN_AT_MOST


def _luminance(colour: str) -> float:
    # WCAG 2.2, definition of relative luminance.
    parts = [int(colour[place : place + 2], 16) / 255 for place in (1, 3, 5)]
    linear = [part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


def _contrast(first: str, second: str) -> float:
    lighter, darker = sorted((_luminance(first), _luminance(second)), reverse=True)
    return (lighter + 0.05) / (darker + 0.05)


@pytest.mark.parametrize("dark", [False, True], ids=["light", "dark"])
@pytest.mark.parametrize(
    ("colour", "least"),
    [(chart.INK, 7), (chart.MUTED, 4.5), (chart.ACCENT, 4.5), (chart.OPPOSITE, 3), (chart.NEUTRAL, 3)],
)
def test_colours_stand_out_from_their_paper(colour, least, dark):
    paper = chart.DARK[chart.PAPER] if dark else chart.PAPER
    assert _contrast(chart.DARK[colour] if dark else colour, paper) >= least


def _drawn(figure: chart.Chart, name: str) -> dict:
    return next(trace for trace in json.loads(figure.figure)["data"] if trace.get("name") == name)


def _values(encoded) -> np.ndarray:
    if isinstance(encoded, dict):
        return np.frombuffer(base64.b64decode(encoded["bdata"]), dtype=encoded["dtype"]).astype(float)
    return np.array(encoded, dtype=float)


def test_the_main_chart_draws_every_outcome_and_forecast_of_the_scored_folds(promoted):
    figure = back_test_charts.actual_against_forecast(promoted.scorecard, promoted.back_test)
    test = promoted.back_test
    rows = test.rows[test.fold >= 1]
    np.testing.assert_array_equal(_values(_drawn(figure, "actual")["y"]), test.frame.target_level[rows, 0])
    np.testing.assert_array_equal(
        _values(_drawn(figure, "forecast")["y"]), test.forecasts["ridge"].mean[test.fold >= 1, 0]
    )
    assert _drawn(figure, "actual")["x"][0] == str(test.frame.target_time[rows[0], 0].astype("datetime64[s]"))
    assert len(json.loads(figure.figure)["layout"]["shapes"]) == report_case.FOLDS // 2


def test_a_multi_step_job_is_drawn_at_its_last_step(refused):
    figure = back_test_charts.actual_against_forecast(refused.scorecard, refused.back_test)
    rows = refused.back_test.rows[refused.back_test.fold >= 1]
    expected = refused.back_test.frame.target_level[rows, -1]
    np.testing.assert_array_equal(_values(_drawn(figure, "actual")["y"]), expected)
    assert "issued 5 bars before" in figure.caption


def test_the_loss_saved_adds_up_to_the_difference_of_mean_losses(by_metric):
    scorecard, test = by_metric.scorecard, by_metric.back_test
    saved = _values(_drawn(skill_charts.advantage_over_time(scorecard, test), "saved")["y"])
    outcome = test.frame.target_level[test.rows[test.scored]]
    total = {}
    for name in (scorecard.verdict.baseline, facts.subject(scorecard).name):
        one = test.forecasts[name]
        losses = origin_losses(
            "MAE" if scorecard.metric == "MASE" else scorecard.metric,
            outcome,
            one.mean[test.scored],
            quantiles=one.quantiles[test.scored],
            probabilities=test.probabilities,
            scale=np.ones(len(outcome)),
        )
        total[name] = losses.sum()
    first, second = total.values()
    assert len(saved) == scorecard.evidence.origins
    assert saved[-1] == pytest.approx(first - second)


def test_skill_is_drawn_for_each_fold(promoted):
    figure = skill_charts.skill_by_fold(promoted.scorecard)
    folds = promoted.scorecard.contender("ridge").folds
    bars = json.loads(figure.figure)["data"][0]
    np.testing.assert_allclose(_values(bars["y"]), [100 * fold.skill for fold in folds])
    better = sum(fold.skill > 0 for fold in folds)
    assert f"better than window_mean in {better} of 12 folds" in figure.caption


def test_a_job_without_candidates_has_no_skill_to_draw(refused):
    alone = refused.scorecard.verdict.model_copy(update={"candidate": None})
    scorecard = refused.scorecard.model_copy(update={"verdict": alone})
    assert skill_charts.skill_by_fold(scorecard) is None
    assert skill_charts.advantage_over_time(scorecard, refused.back_test) is None
    assert "against itself" in facts.key_numbers(scorecard)[0].note
    assert "No model beats the best baseline" in render(replace(refused, scorecard=scorecard))


def test_a_price_is_forecast_behind_its_candles_and_another_target_beside_them(promoted, refused):
    fan = forecast_charts.fan(refused.scorecard, refused.back_test, refused.bars, refused.forecast)
    assert _drawn(fan, "prices")["type"] == "candlestick"
    assert forecast_charts.market(refused.scorecard, refused.bars, refused.forecast) is None
    fan = forecast_charts.fan(promoted.scorecard, promoted.back_test, promoted.bars, promoted.forecast)
    assert len(_drawn(fan, "actual")["x"]) == forecast_charts.HISTORY
    market = forecast_charts.market(promoted.scorecard, promoted.bars, promoted.forecast)
    assert _drawn(market, "prices")["type"] == "candlestick"


def test_candles_show_what_was_known_when_the_forecast_was_issued(refused):
    last = refused.bars.rows.tail(1)
    issued_at = refused.forecast.issued_at
    revised = last.with_columns(pl.lit(1.0).alias("Close"), known_at=pl.lit(issued_at + timedelta(hours=1)))
    earlier = last.with_columns(pl.lit(2.0).alias("Close"), known_at=pl.lit(issued_at - timedelta(hours=1)))
    rows = pl.concat([refused.bars.rows, revised.cast(last.schema), earlier.cast(last.schema)])
    candles = forecast_charts.newest_candles(replace(refused.bars, rows=rows), refused.forecast)
    assert candles["close"].to_list() == refused.bars.rows["Close"].tail(forecast_charts.HISTORY).to_list()


def test_bars_without_four_prices_give_no_candles(promoted):
    bars = replace(promoted.bars, rows=promoted.bars.rows.drop("Open"))
    assert forecast_charts.newest_candles(bars, promoted.forecast) is None
    assert forecast_charts.market(promoted.scorecard, bars, promoted.forecast) is None


def test_error_by_horizon_is_drawn_where_there_is_more_than_one_step(promoted, refused):
    assert score_charts.error_by_horizon(promoted.scorecard) is None
    figure = score_charts.error_by_horizon(refused.scorecard)
    errors = [step.metrics.mae for step in refused.scorecard.contender("ridge").steps]
    np.testing.assert_allclose(_values(_drawn(figure, "ridge")["y"]), errors)


def test_coverage_is_drawn_against_what_was_promised(promoted):
    figure = score_charts.coverage(promoted.scorecard)
    levels = promoted.scorecard.contender("ridge").coverage
    np.testing.assert_allclose(_values(_drawn(figure, "held")["x"]), [100 * one.coverage for one in levels])
    np.testing.assert_allclose(_values(_drawn(figure, "promised")["x"]), [50, 80, 90, 95])


def test_features_whose_shortened_names_are_equal_keep_their_own_bars(promoted):
    shares = {"a" * 40 + "1": 0.7, "a" * 40 + "2": 0.3}
    champion = promoted.scorecard.contender("ridge").model_copy(update={"importance": shares})
    others = [one for one in promoted.scorecard.contenders if one.name != "ridge"]
    figure = score_charts.importance(
        promoted.scorecard.model_copy(update={"contenders": (*others, champion)}), promoted.config
    )
    assert _values(json.loads(figure.figure)["data"][0]["x"]).tolist() == [30.0, 70.0]


def test_a_baseline_without_features_shows_what_selection_found(refused):
    figure = score_charts.importance(refused.scorecard, refused.config)
    assert "uses no features" in figure.caption
    assert score_charts.importance(refused.scorecard, replace(refused.config, importance={})) is None


class Outline(HTMLParser):
    """Collects a page's elements, its text, and its references."""

    def __init__(self) -> None:
        super().__init__()
        self.elements: list[str] = []
        self.references: list[str] = []
        self.identifiers: list[str] = []
        self.policy = ""
        self.words = ""

    def handle_starttag(self, tag, attrs):
        self.elements.append(tag)
        found = dict(attrs)
        self.references += [found[name] for name in ("src", "href", "action", "data") if name in found]
        if found.get("http-equiv") == "Content-Security-Policy":
            self.policy = found["content"]
        self.identifiers += [found["id"]] if "id" in found else []

    def handle_data(self, data):
        if self.elements and self.elements[-1] not in ("script", "style"):
            self.words += data


def _outline(page: str) -> Outline:
    outline = Outline()
    outline.feed(page)
    return outline


def test_the_page_stands_alone_and_answers_in_the_order_that_a_reader_asks(promoted):
    page = render(promoted)
    outline = _outline(page)
    assert set(outline.references) == {"#caveats", "scorecard.json", "predictions.csv"}
    assert page.count("plotly.js v") == 1
    assert outline.policy.startswith("default-src 'none'; script-src 'sha256-")
    assert len(outline.identifiers) == len(set(outline.identifiers))
    order = [
        "Promoted",
        "ridge is promoted",
        "Skill of ridge",
        "Live forecast",
        "Actual against forecast",
        "Coverage promised and held",
        "Contenders",
        "Sources",
        "Caveats",
        "How to reproduce it",
        promoted.run,
        promoted.scorecard.digest(),
    ]
    places = [outline.words.index(words) for words in order]
    assert places == sorted(places)


def test_the_same_report_gives_the_same_page(refused):
    assert render(refused) == render(report_case.price_report())


def test_every_metric_can_be_shown(by_metric):
    metric = by_metric.scorecard.metric
    assert f">{metric}" in render(by_metric)
    assert metric in _printed(by_metric)


def test_what_comes_from_data_cannot_act_on_the_page(promoted):
    report = report_case.renamed(promoted, "ridge", HOSTILE)
    scorecard = report.scorecard.model_copy(
        update={"target": HOSTILE, "unit": HOSTILE, "features": (HOSTILE,), "caveats": (HOSTILE,)}
    )
    condition = report.conditions[0].model_copy(update={"message": HOSTILE})
    page = render(replace(report, job=HOSTILE, run=HOSTILE, scorecard=scorecard, conditions=(condition,)))
    harmless = _outline(render(promoted))
    outline = _outline(page)
    assert outline.elements.count("script") == harmless.elements.count("script")
    assert "b" not in outline.elements
    assert HOSTILE in outline.words


def test_a_run_without_forecast_bars_gaps_or_caveats_is_shown(promoted):
    scorecard = promoted.scorecard.model_copy(update={"caveats": (), "dropped": (), "test": None, "features": ()})
    report = replace(promoted, scorecard=scorecard, bars=None, forecasts=(), conditions=())
    words = _outline(render(report)).words
    assert "None was issued in this run." in words
    assert "too few forecasts to test" in words
    assert "No feature was dropped." in words
    assert "Live forecast" not in _printed(report)


def _enlarged(report: Report, times: int) -> Report:
    test, frame = report.back_test, report.back_test.frame
    rows, count = len(test.rows), len(frame)
    span = np.timedelta64(9999, "D")
    later = [span * time for time in range(times)]
    big = replace(
        frame,
        time=np.concatenate([frame.time + shift for shift in later]),
        origin=np.concatenate([frame.origin + shift for shift in later]),
        level=np.tile(frame.level, times),
        features=np.tile(frame.features, (times, 1)),
        target_time=np.concatenate([frame.target_time + shift for shift in later]),
        target_level=np.tile(frame.target_level, (times, 1)),
        target_known_at=np.concatenate([frame.target_known_at + shift for shift in later]),
    )
    forecasts = {
        name: replace(one, mean=np.tile(one.mean, (times, 1)), quantiles=np.tile(one.quantiles, (times, 1, 1)))
        for name, one in test.forecasts.items()
    }
    bigger = replace(
        test,
        panel=Panel.of([big]),
        rows=np.tile(test.rows, times) + np.repeat(np.arange(times) * count, rows),
        fold=np.tile(test.fold, times),
        scored=np.tile(test.scored, times),
        forecasts=forecasts,
    )
    return replace(report, back_test=bigger)


def test_a_long_back_test_is_thinned_on_the_page_and_says_so(promoted):
    page = render(_enlarged(promoted, times=50))
    assert len(page.encode()) < 8e6
    assert re.search(r"Drawn are [45],\d{3} of 60,000 forecasts", page)
    assert re.search(r"Drawn are [45],\d{3} of 60,000 origins", page)
    assert "Drawn are" not in render(promoted)


def _printed(report: Report, **options) -> str:
    stream = io.StringIO()
    print_report(report, Console(file=stream, width=80, **options))
    return stream.getvalue()


@pytest.mark.parametrize("name", ["promoted", "refused"])
def test_the_terminal_report_is_plain_and_fits_80_columns(name, request):
    lines = _printed(request.getfixturevalue(name)).splitlines()
    assert max(map(len, lines)) <= 80
    assert lines[0].startswith({"promoted": "PROMOTED", "refused": "NOT PROMOTED"}[name])
    assert "\x1b" not in "".join(lines)


def test_the_terminal_report_has_the_facts_of_the_page(refused):
    words = " ".join(_printed(refused).split())
    for one in facts.key_numbers(refused.scorecard):
        assert f"{one.name} {one.value} {one.note}" in words
    for said in (facts.reason(refused.scorecard), *refused.scorecard.caveats, refused.run, refused.digest):
        assert " ".join(said.split()) in words


def test_data_can_neither_style_nor_steer_the_terminal(promoted):
    evil = "\x1b]0;title\x07[red]ridge[/red]"
    report = report_case.renamed(promoted, "ridge", evil)
    words = _printed(report)
    assert "\x1b" not in words
    assert "\x07" not in words
    assert "[red]ridge[/red]" in words
    assert printable("a\x9bb\nc") == "a\ufffdb\ufffdc"


def test_a_terminal_gets_colour():
    assert "\x1b[1;32mPROMOTED" in _printed(report_case.volatility_report(), force_terminal=True)


@pytest.mark.parametrize("width", [80, 100, 200])
@pytest.mark.parametrize("hour", [0, 5])
def test_no_time_or_number_of_the_sources_is_broken(width, hour, promoted):
    first, *others = promoted.scorecard.sources
    start, end = datetime(2013, 10, 6, hour, tzinfo=UTC), datetime(2018, 12, 31, hour, tzinfo=UTC)
    long = first.model_copy(
        update={"name": "realized_volatility", "start": start, "end": end, "rows": 1_234_567, "duplicates": 1_234}
    )
    scorecard = promoted.scorecard.model_copy(update={"sources": (long, *others)})
    stream = io.StringIO()
    print_scorecard(scorecard, Console(file=stream, width=width, force_terminal=True))
    lines = re.sub("\x1b\\[[0-9;]*m", "", stream.getvalue()).splitlines()
    row = next(line for line in lines if "1,234,567" in line)
    assert re.search(rf"{numbers.moment(start)}\s+{numbers.moment(end)}", row)
    assert row.startswith("  realized_volatility ")
    assert max(map(len, lines)) <= width
    assert ("1,234 " in row) == (width > 80)


def test_a_scorecard_and_a_forecast_are_printed_alone(refused):
    stream = io.StringIO()
    console = Console(file=stream, width=80)
    print_scorecard(refused.scorecard, console, name="default/sp500-price")
    print_forecast(refused.forecast, console)
    words = stream.getvalue()
    assert "NOT PROMOTED  default/sp500-price" in words
    assert "sp500, issued at 2019-01-01 05:00 UTC" in words
    assert f"{numbers.number(refused.forecast.quantiles[0, 0], 5)} to" in words
    assert max(map(len, words.splitlines())) <= 80


def test_a_table_too_long_for_a_terminal_says_how_much_is_left_out(promoted):
    ridge = promoted.scorecard.contender("ridge")
    many = ridge.model_copy(update={"folds": ridge.folds * 10})
    others = tuple(one for one in promoted.scorecard.contenders if one.name != "ridge")
    scorecard = promoted.scorecard.model_copy(update={"contenders": (*others, many)})
    assert "and 96 rows more, in the report" in _printed(replace(promoted, scorecard=scorecard))


def test_the_predictions_give_the_scorecards_errors(refused):
    table = pl.read_csv(predictions_csv(refused.back_test, "drift").encode(), try_parse_dates=True)
    scored = table.filter(pl.col("scored"))
    for name in ("naive", "drift", "window_mean", "ridge"):
        error = (scored["actual"] - scored[name]).abs().mean()
        assert error == pytest.approx(refused.scorecard.contender(name).metrics.mae)
    inside = scored["actual"].is_between(scored["q0.05"], scored["q0.95"]).mean()
    assert inside == pytest.approx(refused.scorecard.contender("drift").metrics.coverage)
    assert table.columns[:7] == ["series", "issued_at", "target_time", "step", "fold", "scored", "actual"]
    assert table.height == len(refused.back_test.rows) * 5
    assert table["step"].to_list()[:6] == [1, 2, 3, 4, 5, 1]
    assert table["fold"].unique().sort().to_list() == list(range(report_case.FOLDS + 1))


def test_predictions_have_iso_times_and_empty_cells_where_there_is_no_value(promoted):
    test = promoted.back_test
    level = test.frame.target_level.copy()
    level[test.rows[0]] = np.nan
    origin = test.frame.origin + np.timedelta64(1500, "ms")
    text = predictions_csv(
        replace(test, panel=Panel.of([replace(test.frame, target_level=level, origin=origin)])), "ridge"
    )
    header, first = text.splitlines()[:2]
    row = dict(zip(header.split(","), first.split(","), strict=True))
    assert row["actual"] == ""
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT05:00:01.500Z", row["issued_at"])
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT05:00:00Z", row["target_time"])
    assert "NaN" not in text


@pytest.mark.parametrize("text", ["=1+1", "+1", "-1", "@SUM(A1)", "\t=1", "\r=1"])
def test_text_that_a_spreadsheet_would_run_is_defused(text, promoted):
    assert guarded(text) == f"'{text}"
    frame = replace(promoted.back_test.frame, series=text)
    table = pl.read_csv(predictions_csv(replace(promoted.back_test, panel=Panel.of([frame])), "ridge").encode())
    assert table["series"][0] == f"'{text}"
    assert guarded("sp500") == "sp500"


def test_a_report_is_written_whole(tmp_path, refused):
    written = write_report(tmp_path / "new" / "run", refused)
    assert sorted(path.name for path in (tmp_path / "new" / "run").iterdir()) == sorted(written)
    assert sorted(written) == ["predictions.csv", "report.html", "scorecard.digest", "scorecard.json"]
    read_back = Scorecard.model_validate_json(written["scorecard.json"].read_bytes())
    assert read_back == refused.scorecard
    assert written["scorecard.digest"].read_text() == read_back.digest() + "\n"
    assert written["report.html"].read_text(encoding="utf-8") == render(refused)
    assert written["predictions.csv"].read_text() == predictions_csv(refused.back_test, "drift")


def test_a_place_that_cannot_be_written_to_is_named_and_left_as_it_was(tmp_path, refused):
    occupied = tmp_path / "occupied"
    occupied.write_text("kept")
    with pytest.raises(JobError, match="occupied"):
        write_report(occupied, refused)
    assert occupied.read_text() == "kept"
    (tmp_path / "run" / "scorecard.json").mkdir(parents=True)
    with pytest.raises(JobError, match="run"):
        write_report(tmp_path / "run", refused)
    assert [path.name for path in (tmp_path / "run").iterdir() if path.name.startswith(".")] == []


@pytest.fixture(scope="module")
def panel(promoted) -> Report:
    """The promoted report's series beside itself under a name that is no word of HTML, which counts half as often."""
    test = promoted.back_test
    count = len(test.frame)
    twice = {
        name: replace(one, mean=np.tile(one.mean, (2, 1)), quantiles=np.tile(one.quantiles, (2, 1, 1)))
        for name, one in test.forecasts.items()
    }
    half = test.scored & (np.arange(len(test.rows)) % 2 == 0)
    both = replace(
        test,
        panel=Panel.of([test.frame, replace(test.frame, series="<b>=x")]),
        rows=np.concatenate([test.rows, test.rows + count]),
        fold=np.tile(test.fold, 2),
        scored=np.concatenate([test.scored, half]),
        forecasts=twice,
    )
    scores = (
        SeriesScore(name="sp500", origins=1200, loss=0.25, skill=0.1, coverage=0.9),
        SeriesScore(name="<b>=x", origins=600, loss=0.2, skill=0.2, coverage=0.88),
        SeriesScore(name="new", origins=0, loss=None, skill=None, coverage=None),
    )
    bare = replace(promoted.forecast, series="new", probabilities=np.array([]), quantiles=np.empty((1, 0)))
    return replace(
        promoted,
        back_test=both,
        scorecard=promoted.scorecard.model_copy(update={"series": scores}),
        forecasts=(bare, promoted.forecast, replace(promoted.forecast, series="<b>=x")),
    )


def test_a_grid_has_the_cells_of_each_column_side_by_side():
    grid = Grid.of("Folds", (Column("Fold"), ["1", "2"]), (Column("Skill", unit="%"), ["3.0", "4.0"]), marked=1)
    assert grid == Grid("Folds", (Column("Fold"), Column("Skill", unit="%")), (("1", "3.0"), ("2", "4.0")), 1)
    assert Grid.of("Folds", (Column("Fold"), []), (Column("Skill"), [])).rows == ()
    with pytest.raises(ValueError, match="shorter"):
        Grid.of("Folds", (Column("Fold"), ["1"]), (Column("Skill"), []))


def test_a_panel_is_shown_series_by_series(panel):
    assert panel.shown.panel.names == ("sp500",)
    assert panel.forecast.series == "sp500"
    page = render(panel)
    assert page.count('<input type="search"') == 2
    assert "<b>=x" not in page
    words = _outline(page).words
    assert "3 series are forecast; sp500 is drawn." in words
    assert "Of the 2 series sp500 is drawn" in words
    assert [row[0] for row in grids.series(panel.scorecard).rows] == ["<b>=x", "sp500", "new"]
    assert grids.series(panel.scorecard).rows[2][1:] == ("0", UNDEFINED, UNDEFINED, UNDEFINED)


def test_a_panels_forecasts_are_a_row_a_series_and_one_without_an_interval_says_so(panel):
    grid = grids.forecasts(panel.forecasts, "percent", 0.9)
    assert [row[0] for row in grid.rows] == ["new", "sp500", "<b>=x"]
    assert grid.columns[-1].name == "90 % interval"
    assert grid.rows[0][-1] == UNDEFINED
    assert " to " in grid.rows[1][-1]
    stream = io.StringIO()
    print_forecasts(panel.forecasts, Console(file=stream, width=80))
    assert stream.getvalue().startswith("3 series, issued at ")
    assert "best first" in _printed(panel)


def test_predictions_of_a_panel_name_the_series_of_each_row(panel):
    table = pl.read_csv(predictions_csv(panel.back_test, "ridge").encode())
    rows = len(panel.back_test.rows) // 2
    assert table["series"].to_list() == ["sp500"] * rows + ["<b>=x"] * rows
    assert table["actual"].head(rows).equals(table["actual"].tail(rows))


def test_the_loss_that_a_panel_saved_is_averaged_by_date(panel, promoted):
    alone, both = (
        json.loads(skill_charts.advantage_over_time(one.scorecard, one.back_test).figure)["data"][0]
        for one in (promoted, panel)
    )
    assert both["x"] == alone["x"]
