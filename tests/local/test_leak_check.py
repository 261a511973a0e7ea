"""`presage leak-check`: leaks that were planted in real data are found, with their column and cause, and no others."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
import pandas as pd
import polars as pl
import pytest
import yaml
from commands import EXAMPLES, presage
from feature_bars import NEW_YORK, table
from leak_case import NOW, bar_job, history, ingested, leaks, look, noisy, write, write_bars
from source_case import SEEDS

from presage.engine import LocalEngine
from presage.errors import LeakageError
from presage.evaluation.season import season_of
from presage.features.definitions import BarFeature
from presage.frame import KEY, KNOWN_AT, SERIES, TIME, FloatArray, Panel
from presage.lake.tables import Lake
from presage.leakage.bars import definitions_of, sample_of, scored_since
from presage.leakage.knowledge import RawKnowledge
from presage.leakage.shuffled import check_shuffled
from presage.leakage.truncation import check_truncation, choose_cutoffs
from presage.spec.job import PredictionJob
from presage.spec.load import load_job
from presage.steps.ingest import Ingested, ingest
from presage.steps.ingest_rows import ingest_rows
from presage.steps.leak_check import LeakReport, check_leaks, require_no_leaks, require_no_row_leaks
from presage.steps.places import replace_sources
from presage.steps.reading import raw_table
from presage.steps.select import build_panel
from presage.steps.workdir import WorkDirectory
from presage.tabular.design import inputs_of
from presage.tabular.rows import kinds_of

COPY, SHIFT = "target among the features", "future shift"
FITTED, REVISED, OPEN, LATER = (
    "transform fitted on the future",
    "revision used too early",
    "unclosed bar",
    "rows known later",
)

IN_FILES: dict[str, tuple[Callable[[pd.DataFrame], pd.Series], str]] = {
    "the-next-close": (lambda days: days["close"].shift(-1), COPY),
    "the-next-close-scaled-and-turned": (lambda days: 3.7 - 0.02 * days["close"].shift(-1), COPY),
    "a-curve-of-the-next-return": (lambda days: np.exp(90 * days["close"].pct_change().shift(-1)), COPY),
    "the-close-in-two-days": (lambda days: days["close"].shift(-2), COPY),
    "a-centred-mean-of-closes": (lambda days: days["close"].rolling(3, center=True).mean(), COPY),
    "most-of-the-next-return": (lambda days: noisy(days["close"].pct_change().shift(-1).fillna(0), 0.75), SHIFT),
    "standardised-on-all-days": (lambda days: (days["vix"] - days["vix"].mean()) / days["vix"].std(), FITTED),
    "between-the-least-and-largest-of-all-days": (
        lambda days: (days["vix"] - days["vix"].min()) / (days["vix"].max() - days["vix"].min()),
        FITTED,
    ),
}


@pytest.mark.parametrize("name", IN_FILES)
def test_a_leak_in_a_file_is_caught_by_the_command_and_by_a_run(name: str, tmp_path: Path) -> None:
    column, cause = IN_FILES[name]
    job = bar_job()
    write_bars(tmp_path, column)
    found = look(job, tmp_path)
    assert leaks(found) == {("other.x", cause)}
    assert found.verdict == "LEAKS: other.x"
    first = next(one for one in found.checks if one.state == "fail")
    assert first.time is not None
    assert first.time <= datetime(2014, 1, 10, tzinfo=UTC)
    assert first.row in (0, 1)
    assert first.remedy
    _, data = ingested(job, tmp_path)
    with pytest.raises(LeakageError, match=rf"other\.x: {cause}"):
        require_no_leaks(job.spec, data.bars, build_panel(job, data.bars).panel)


def test_the_same_job_with_an_honest_column_is_clean(tmp_path: Path) -> None:
    job = bar_job()
    write_bars(tmp_path)
    found = look(job, tmp_path)
    assert (found.clean, found.verdict) == (True, "NO LEAK FOUND")
    assert {one.state for one in found.checks} == {"pass"}
    _, data = ingested(job, tmp_path)
    require_no_leaks(job.spec, data.bars, build_panel(job, data.bars).panel)


def test_bars_that_were_recorded_while_they_were_open_are_caught(tmp_path: Path) -> None:
    job = bar_job()
    write_bars(tmp_path)
    source = job.spec.source("index")
    lake = Lake(WorkDirectory(tmp_path / "work").lake.as_uri())
    closed = Lake((tmp_path / "other").as_uri())
    version = ingest(job, closed, base=tmp_path, now=NOW).tables["index"]
    rows = closed.read(version).drop("ingested_at")
    # At noon of every day from 2017 on another program wrote down what the close was so far.
    noon = rows.filter(pl.col(TIME) >= datetime(2017, 1, 1, tzinfo=UTC)).with_columns(
        (pl.col(TIME) + timedelta(hours=12)).alias(KNOWN_AT), pl.col("close") * 0.998
    )
    lake.merge(raw_table(job, source, ["close"]), noon, ingested_at=NOW - timedelta(days=1))
    found = look(job, tmp_path, cutoffs=8)
    failing = {one.name: one for one in found.checks if one.state == "fail"}
    assert (failing["known-at index"].column, failing["known-at index"].cause) == ("index.close", OPEN)
    assert failing["known-at index"].time == noon[TIME].min()
    assert ("index.close", OPEN) in {(one.column, one.cause) for one in found.checks if one.name == "truncation"}
    _, data = ingested(job, tmp_path)
    with pytest.raises(LeakageError, match=r"index\.close: unclosed bar"):
        require_no_leaks(job.spec, data.bars, build_panel(job, data.bars).panel)


def test_a_row_published_before_its_period_ended_is_refused_as_it_is_read(tmp_path: Path) -> None:
    write_bars(tmp_path)
    days = pd.read_csv(tmp_path / "index.csv").assign(published=lambda rows: rows["day"] + "T15:00:00Z")
    days.to_csv(tmp_path / "index.csv", index=False)
    document = bar_job().model_dump(mode="json", by_alias=True, exclude_none=True, exclude_defaults=True)
    document |= {"apiVersion": "presage.dev/v1alpha1", "kind": "PredictionJob"}
    document["spec"]["sources"][0]["availability"]["column"] = "published"
    (tmp_path / "job.yaml").write_text(yaml.safe_dump(document))
    ended = presage("leak-check", tmp_path / "job.yaml", "--workdir", tmp_path / "work", code=5)
    assert "before its period ends" in ended.err


def test_revisions_that_carry_the_first_time_of_publication_are_caught(tmp_path: Path) -> None:
    job = bar_job()
    write_bars(tmp_path)
    days = history()
    revised = days[["vix"]].iloc[::9] * 1.03
    write(
        tmp_path / "other.csv",
        pd.concat([days[["vix"]], revised]).sort_index(kind="stable").rename(columns={"vix": "x"}),
    )
    found = look(job, tmp_path)
    assert leaks(found) == {("other.x", REVISED)}
    (told,) = (one for one in found.checks if one.state == "fail")
    assert f"{len(revised)} times have several values" in told.message
    assert "the first 2014-01-03" in told.message
    # The same row twice is no revision.
    write(tmp_path / "other.csv", pd.concat([days[["vix"]], days[["vix"]].iloc[::9]]).rename(columns={"vix": "x"}))
    assert look(job, tmp_path).clean


def prices(target: str, **spec: object) -> PredictionJob:
    """A job over all prices of the S&P 500 that is given its newest close."""
    source: dict = {"name": "index", "file": {"uri": "prices.csv"}, "time": "day", "timeZone": NEW_YORK}
    source["availability"] = {"lag": "0s"}
    features = [{"lag": {"columns": ["index.Close"], "steps": [1]}}]
    return bar_job(target={"source": "index", "column": target}, sources=[source], features=features, **spec)


def test_a_close_that_tells_the_next_open_is_no_leak(tmp_path: Path) -> None:
    write(tmp_path / "prices.csv", table("sp500", "2014", "2018-11-30"))
    assert look(prices("Open"), tmp_path).clean


def test_revisions_of_what_a_volatility_is_made_of_are_caught(tmp_path: Path) -> None:
    days = table("sp500", "2014", "2018-11-30")
    revised = days.iloc[::9].assign(High=lambda one: one["High"] * 1.03)
    write(tmp_path / "prices.csv", pd.concat([days, revised]).sort_index(kind="stable"))
    assert leaks(look(prices("range_volatility"), tmp_path)) == {("index.High", REVISED)}


def test_bars_that_wait_for_hours_that_came_late_are_no_leak(tmp_path: Path) -> None:
    days = history()["vix"].to_numpy()[:240]
    time = np.datetime64("2017-01-01", "us") + np.arange(24 * 240) * np.timedelta64(1, "h")
    generator = np.random.default_rng(0)
    late = np.where(generator.random(len(time)) < 0.02, np.timedelta64(31, "h"), np.timedelta64(1, "h"))
    values = np.repeat(days, 24) + 0.1 * generator.standard_normal(len(time))
    pl.DataFrame({"time": time, "told": time + late, "x": values}).write_csv(tmp_path / "hours.csv")
    source = {"name": "hours", "file": {"uri": "hours.csv"}, "frequency": "1h", "columns": {"x": "x"}}
    target = {"source": "hours", "column": "x", "transform": "LogChange"}
    job = bar_job(sources=[source | {"availability": {"lag": "0s", "column": "told"}}], target=target, features=[])
    found = look(job, tmp_path, cutoffs=6)
    assert leaks(found) == set()
    assert "rows that came late" in next(one.message for one in found.checks if one.name == "truncation")


def by_definition(job: PredictionJob, folder: Path, compute: Callable[[FloatArray], FloatArray], name: str) -> set:
    """Return what the truncation check finds, from the rows of the lake on, where a feature is computed so."""
    lake, data = ingested(job, folder)
    panel = build_panel(job, data.bars).panel
    feature = BarFeature(f"other.x.{name}", "other", ("x",), compute, lookback=None)
    definitions = [*definitions_of(job.spec, data.bars), feature]
    with pytest.raises(LeakageError, match=rf"{feature.name}: "):
        require_no_leaks(job.spec, data.bars, panel, definitions=definitions)
    sample, part = sample_of(job.spec, data.bars, panel, series=1, seed=0, definitions=definitions)
    full = sample.frame(data.bars, part.names[0])
    assert full is not None
    since = scored_since(panel, job.spec)
    cutoffs = choose_cutoffs([full], data.bars, since=since, count=4, seed=0)
    knowledge = RawKnowledge(job.spec, lake, data.tables, data.bars, sample.series)
    found = check_truncation(sample, knowledge, [full], cutoffs)
    assert all(one.time is not None and one.row is not None for one in found)
    return {(one.column, one.cause) for one in found}


def ahead(values: FloatArray) -> FloatArray:
    return np.append(values[1:], np.nan)


def centred(values: FloatArray) -> FloatArray:
    return (np.append(np.nan, values[:-1]) + values + np.append(values[1:], np.nan)) / 3


def standardised(values: FloatArray) -> FloatArray:
    return (values - np.nanmean(values)) / np.nanstd(values)


def between(values: FloatArray) -> FloatArray:
    # Of numbers that grow, as those of a day do: the largest is always the newest.
    grown = np.cumsum(np.nan_to_num(values))
    return grown / grown[-1]


def filled_from_behind(values: FloatArray) -> FloatArray:
    # Only every third value counts as measured.
    places = np.arange(len(values))
    return values[np.minimum(-(-places // 3) * 3, len(values) - 1)]


@pytest.mark.parametrize(
    ("compute", "cause"),
    [(ahead, LATER), (centred, LATER), (filled_from_behind, LATER), (standardised, FITTED), (between, FITTED)],
    ids=["ahead", "centred", "filled-from-behind", "standardised", "between"],
)
def test_a_feature_that_reads_the_future_is_caught(
    compute: Callable[[FloatArray], FloatArray], cause: str, tmp_path: Path
) -> None:
    write_bars(tmp_path)
    job = bar_job()
    assert by_definition(job, tmp_path, compute, compute.__name__) == {(f"other.x.{compute.__name__}", cause)}


def test_bars_that_were_overwritten_by_their_revisions_are_told_from_the_rows(tmp_path: Path) -> None:
    job = bar_job()
    write_bars(tmp_path)
    ingested(job, tmp_path)
    days = history()
    corrected = days["vix"] * np.where(np.arange(len(days)) % 4 == 0, 1.02, 1.0)
    write(tmp_path / "other.csv", corrected.to_frame("x"))
    later = NOW + timedelta(days=1)
    lake = Lake(WorkDirectory(tmp_path / "work").lake.as_uri())
    data = ingest(job, lake, base=tmp_path, now=later)
    assert look(job, tmp_path).clean
    newest = data.bars["other"].rows.with_columns(pl.col(KNOWN_AT).first().over(SERIES, TIME))
    newest = newest.unique((SERIES, TIME), keep="last", maintain_order=True).sort(KEY)
    wrong = {**data.bars, "other": replace(data.bars["other"], rows=newest)}
    sample, part = sample_of(job.spec, wrong, build_panel(job, wrong).panel, series=1, seed=0)
    cutoffs = choose_cutoffs(part.frames, wrong, since=scored_since(part, job.spec), count=3, seed=0)
    knowledge = RawKnowledge(job.spec, lake, data.tables, data.bars, sample.series)
    found = check_truncation(sample, knowledge, part.frames, cutoffs)
    assert {(one.column, one.cause) for one in found} == {("other.x.lag_1", REVISED)}


class PeekingEngine:
    """An engine for tests that hands each fit the block that it is to forecast."""

    def __init__(self) -> None:
        self.engine = LocalEngine(1)

    def map(self, function: Callable, tasks: Iterable) -> tuple:
        return self.engine.map(function, [self._peeking(task) for task in tasks])

    def _peeking(self, task):
        if not hasattr(task, "spans"):
            return task
        spans = tuple((first, stop, start, stop) for first, _, start, stop in task.spans)
        return replace(task, spans=spans, fold=replace(task.fold, cutoff=np.datetime64("2100-01-01", "us")))


def shuffled(job: PredictionJob, folder: Path, engine) -> object:
    _, data = ingested(job, folder)
    panel: Panel = build_panel(job, data.bars).panel
    return check_shuffled(
        panel, job.spec, season=season_of(job.spec, data.bars[job.spec.target.source].calendar), engine=engine, seed=0
    )


def test_an_evaluation_that_fits_on_the_block_it_forecasts_is_caught(tmp_path: Path) -> None:
    job = bar_job()
    write_bars(tmp_path)
    honest = shuffled(job, tmp_path, LocalEngine(1))
    assert honest.state == "pass"
    assert "later outcomes change no forecast" in honest.message
    peeking = shuffled(job, tmp_path, PeekingEngine())
    assert (peeking.state, peeking.cause) == ("fail", "outcomes reach the fit")


def row_job(task: str, **target: object) -> PredictionJob:
    document = {
        "apiVersion": "presage.dev/v1alpha1",
        "kind": "PredictionJob",
        "metadata": {"name": "rows"},
        "spec": {
            "task": task,
            "frequency": "1d",
            "target": {"source": "days", "column": "target", **target},
            "sources": [{"name": "days", "file": {"uri": "days.csv"}, "time": "day", "availability": {"lag": "1d"}}],
            "models": [{"name": "ridge" if task == "Regression" else "logistic_regression"}],
            "evaluation": {"folds": 3, "metric": "MAE" if task == "Regression" else "LogLoss"},
        },
    }
    return PredictionJob.model_validate(document)


def days_of(target: Callable[[pd.DataFrame], pd.Series]) -> pd.DataFrame:
    """Return days of the VIX and of the last return, and what is to be told of them."""
    days = history()
    days = days.assign(last=days["close"].pct_change(), target=target(days))
    return days[["vix", "last", "target"]].dropna()


def rises(days: pd.DataFrame) -> pd.Series:
    return (days["close"].shift(-1) > days["close"]).astype(float)


def moves(days: pd.DataFrame) -> pd.Series:
    return days["close"].pct_change().abs()


IN_ROWS: dict[str, tuple[str, Callable[[pd.DataFrame], pd.Series], Callable[[pd.DataFrame], object], str]] = {
    "the-class-under-another-name": ("Classification", rises, lambda days: 7 - 3 * days["target"], COPY),
    "a-text-that-names-the-class": (
        "Classification",
        rises,
        lambda days: np.where(days["target"] == 1, "long", "short"),
        COPY,
    ),
    "the-target-rounded": ("Regression", moves, lambda days: (days["target"] * 100).round(3), COPY),
    "the-target-but-for-a-little-noise": ("Regression", moves, lambda days: noisy(days["target"], 0.9999), COPY),
    "standardised-on-all-rows": (
        "Regression",
        moves,
        lambda days: (days["vix"] - days["vix"].mean()) / days["vix"].std(ddof=0),
        FITTED,
    ),
}


@pytest.mark.parametrize("name", IN_ROWS)
def test_a_leak_among_rows_is_caught_by_the_command_and_by_a_run(name: str, tmp_path: Path) -> None:
    task, target, column, cause = IN_ROWS[name]
    job, days = row_job(task), days_of(target)
    write(tmp_path / "days.csv", days.assign(x=column(days)))
    assert leaks(look(job, tmp_path)) == {("days.x", cause)}
    lake = Lake(WorkDirectory(tmp_path / "work").lake.as_uri())
    observations = ingest_rows(job, lake, base=tmp_path, now=NOW).observations
    with pytest.raises(LeakageError, match=r"days\.x: "):
        require_no_row_leaks(observations, inputs_of(job.spec, kinds_of(observations.table)))


@pytest.mark.parametrize(
    ("task", "target"), [("Classification", rises), ("Regression", moves)], ids=["class", "number"]
)
def test_honest_rows_are_clean(task: str, target: Callable[[pd.DataFrame], pd.Series], tmp_path: Path) -> None:
    write(tmp_path / "days.csv", days_of(target))
    found = look(row_job(task), tmp_path)
    assert leaks(found) == set()
    assert {one.state for one in found.checks} == {"pass"}


def test_a_target_that_is_named_as_a_feature_is_a_leak(tmp_path: Path) -> None:
    write(tmp_path / "days.csv", days_of(rises))
    job = row_job("Classification")
    named = job.spec.model_copy(update={"features": load_features()})
    assert leaks(look(job.model_copy(update={"spec": named}), tmp_path)) == {("days.target", COPY)}


def load_features() -> tuple:
    spec = row_job("Classification").spec
    document = spec.model_dump(mode="json", by_alias=True, exclude_none=True)
    document["features"] = [{"columns": {"columns": ["days.target", "days.vix"]}}]
    return type(spec).model_validate(document).features


def replayed(name: str, shared_data: Path, folder: Path) -> tuple[dict[str, str], datetime]:
    """Return where an example's sources are read from, and the moment to stand at."""
    if name in SEEDS:
        return {source: str(shared_data / file) for source, file in SEEDS[name].items()}, datetime(
            2024, 1, 1, tzinfo=UTC
        )
    if name.startswith("chicago"):
        return {"trips": str(shared_data / "chicago_taxi" / "data.csv.gz")}, datetime(2024, 1, 1, tzinfo=UTC)
    if name == "stock-panel":
        stocks = shared_data / "sp500_stocks_5yr" / "sp500_stocks_5yr.csv.gz"
        return {"stocks": str(stocks)}, datetime(2018, 2, 10, tzinfo=UTC)
    if name.startswith("crypto"):
        return candles(name, shared_data / "bitfinex_1m", folder), datetime(2019, 1, 1, tzinfo=UTC)
    return {}, datetime(2024, 1, 1, tzinfo=UTC)


def candles(name: str, place: Path, folder: Path) -> dict[str, str]:
    """Write a year of real minutes of two pairs, and the days of one."""
    minutes = {}
    for pair in ("BTCUSD", "ETHUSD"):
        time = pl.from_epoch("timestamp_ms", time_unit="ms").dt.cast_time_unit("us").dt.replace_time_zone("UTC")
        rows = pl.read_csv((place / f"bitfinex_{pair}_1m_2018.csv.gz").read_bytes())
        prices = ("open", "high", "low", "close", "volume")
        minutes[pair] = rows.select(time.alias("time"), pl.lit(f"{pair[:3]}/{pair[3:]}").alias("symbol"), *prices)
    if name == "crypto-daily":
        pl.concat(minutes.values()).write_parquet(folder / "minutes.parquet")
        return {"candles": str(folder / "minutes.parquet")}
    minutes["ETHUSD"].drop("symbol").write_parquet(folder / "eth.parquet")
    day = minutes["BTCUSD"].sort("time").group_by_dynamic("time", every="1d")
    days = day.agg(pl.first("open"), pl.max("high"), pl.min("low"), pl.last("close"), pl.sum("volume"))
    days.write_parquet(folder / "btc.parquet")
    return {"btc": str(folder / "btc.parquet"), "eth_minutes": str(folder / "eth.parquet")}


def found_in(name: str, shared_data: Path, folder: Path) -> LeakReport:
    sources, now = replayed(name, shared_data, folder)
    job = load_job(EXAMPLES / f"{name}.yaml")
    return check_leaks(
        job,
        base=EXAMPLES,
        workdir=folder / "work",
        now=now,
        sources=sources,
        cutoffs=4,
        seed=0,
        workers=None,
        progress=lambda *_: None,
    )


@pytest.mark.parametrize("name", sorted(path.stem for path in EXAMPLES.glob("*.yaml")))
def test_no_example_is_alarmed_about(name: str, shared_data: Path, tmp_path: Path) -> None:
    found = found_in(name, shared_data, tmp_path)
    assert {one.state for one in found.checks} == {"pass"}, [one for one in found.checks if one.state != "pass"]
    assert found.clean
    sources, now = replayed(name, shared_data, tmp_path)
    job = replace_sources(load_job(EXAMPLES / f"{name}.yaml"), sources)
    lake = Lake(WorkDirectory(tmp_path / "work").lake.as_uri())
    if job.spec.is_tabular:
        observations = ingest_rows(job, lake, base=EXAMPLES, now=now).observations
        require_no_row_leaks(observations, inputs_of(job.spec, kinds_of(observations.table)))
    else:
        data: Ingested = ingest(job, lake, base=EXAMPLES, now=now)
        require_no_leaks(job.spec, data.bars, build_panel(job, data.bars).panel)


def test_the_command_tells_the_column_the_cause_and_ends_with_4(tmp_path: Path) -> None:
    write_bars(tmp_path, lambda days: days["close"].shift(-1))
    document = bar_job().model_dump(mode="json", by_alias=True, exclude_none=True, exclude_defaults=True)
    document |= {"apiVersion": "presage.dev/v1alpha1", "kind": "PredictionJob"}
    job = tmp_path / "job.yaml"
    job.write_text(yaml.safe_dump(document))
    words = ("leak-check", job, "--workdir", tmp_path / "work", "--cutoffs", "2", "--as-of", "2018-12-01")
    ended = presage(*words, code=4)
    assert "other.x: target among the features" in ended.out
    assert ended.out.splitlines()[-1] == "LEAKS: other.x"
    told = presage(*words, "-o", "json", code=4).json()
    assert told["clean"] is False
    (leak,) = (check for check in told["checks"] if check["state"] == "fail")
    assert (leak["column"], leak["cause"], leak["row"]) == ("other.x", COPY, 0)
    assert leak["time"] == "2014-01-03T05:00:00Z"
    # What was read stays in the lake as it was first published: a corrected file is read into another one.
    write_bars(tmp_path)
    clean = yaml.safe_load(presage(*words, "--workdir", tmp_path / "other", "-o", "yaml").out)
    assert (clean["clean"], clean["verdict"]) == (True, "NO LEAK FOUND")


def test_a_source_without_a_declared_lag_is_refused(tmp_path: Path) -> None:
    text = (EXAMPLES / "quickstart.yaml").read_text().replace("availability: {lag: 0s}", "availability: {}", 1)
    (tmp_path / "job.yaml").write_text(text)
    ended = presage("leak-check", tmp_path / "job.yaml", "--workdir", tmp_path / "work", code=2)
    assert "spec.sources[0].availability.lag: missing" in ended.err
    assert not (tmp_path / "work").exists()
