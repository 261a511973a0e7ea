"""The features of a job, each with its name, the bars it reads and the function that computes it.

sp500.Close.lag_1                       value 1, 2, ... bars back; 1 is the newest known bar
sp500.Close.difference_5                change over 5 bars; also percent_change_5, log_change_5
sp500.range_volatility.mean_22          statistic over a window; also std_22, min_22, max_22, zscore_22
sp500.Close.exponential_mean_10         exponentially weighted mean of span 10
sp500.range_volatility_5                range volatility from high and low over 5 bars
ratio(a.Close,b.Close)                  newest known value over newest known value
premium(a.Close,b.Close)                the same, minus 1
calendar.month_sin, calendar.month_cos  part of the first forecast period's date
"""

from __future__ import annotations

import difflib
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial

from presage.errors import DataError, JobError
from presage.features import kinds
from presage.features.dates import WAVES, Wave
from presage.frame import FloatArray
from presage.spec.features import CalendarPart, Change, ExponentialMean, Feature, Lag, RangeVolatility, Rolling
from presage.spec.job import PredictionJobSpec, Target

RANGE_VOLATILITY = "range_volatility"


@dataclass(frozen=True)
class BarFeature:
    """A feature of one source's bars.

    Attributes:
        name: Name of the feature.
        source: Name of the source.
        columns: The source's columns that `compute` takes, in its order.
        compute: From (n,) float64 a column to (n,) float64, one value a bar.
        lookback: Bars that a value depends on, its own included; None where it depends on all earlier ones.
    """

    name: str
    source: str
    columns: tuple[str, ...]
    compute: Callable[..., FloatArray]
    lookback: int | None


@dataclass(frozen=True)
class PairFeature:
    """A feature of two others, element by element at the forecast origins."""

    name: str
    first: BarFeature
    second: BarFeature
    compute: Callable[[FloatArray, FloatArray], FloatArray]


@dataclass(frozen=True)
class DateFeature:
    """A feature of the first forecast period's date."""

    name: str
    part: CalendarPart
    wave: Wave


Definition = BarFeature | PairFeature | DateFeature
Columns = Mapping[str, Sequence[str]]


def define(features: Sequence[Feature], target: Target, columns: Columns) -> tuple[Definition, ...]:
    """Return the definitions of a job's features in the job's order, each name once.

    Args:
        features: The job's features; where there are none, the target's newest value and its means over 5 and 22 bars.
        target: The job's target.
        columns: By source's name, the value columns of its bars.

    Raises:
        JobError: A feature refers to a source that is not in `columns`.
        DataError: A source lacks a column.
    """
    named = {
        definition.name: definition
        for feature in features or default_features(target)
        for definition in _of(feature, columns)
    }
    return tuple(named.values())


def default_features(target: Target) -> tuple[Feature, ...]:
    """Return what models see where a job lists no features."""
    reference = f"{target.source}.{target.column}"
    return (
        Feature(lag=Lag(columns=(reference,), steps=(1,))),
        Feature(rolling=Rolling(columns=(reference,), windows=(5, 22))),
    )


def require_column(source: str, column: str, columns: Columns) -> None:
    """Check that a source has a column.

    Raises:
        JobError: There is no such source.
        DataError: The source has no such column.
    """
    present = _columns_of(source, f"{source}.{column}", columns)
    if column not in present:
        raise DataError(
            f"source {source!r} has no column {column!r}{_nearest(column, present)}.",
            f"Columns that it has: {', '.join(present) or 'none'}.",
        )


def require_columns(spec: PredictionJobSpec, columns: Columns) -> None:
    """Check that the sources have all columns that a job's target and features need.

    Args:
        spec: The job.
        columns: By source's name, the value columns of its rows.

    Raises:
        JobError: The target or a feature refers to a source that the job does not list.
        DataError: A source lacks a column.
    """
    complete = {source: with_derived(present) for source, present in columns.items()}
    require_column(spec.target.source, spec.target.column, complete)
    define(spec.features, spec.target, complete)


def with_derived(columns: Sequence[str]) -> list[str]:
    """Return the columns of a source with `range_volatility`, where high and low columns let it be derived."""
    derived = [RANGE_VOLATILITY] if high_and_low(columns) and RANGE_VOLATILITY not in columns else []
    return [*columns, *derived]


def high_and_low(columns: Sequence[str]) -> tuple[str, str] | None:
    """Return the names of the high and low price columns, in any case, or None where one is missing."""
    by_name = {column.lower(): column for column in columns}
    return (by_name["high"], by_name["low"]) if by_name.keys() >= {"high", "low"} else None


def _of(feature: Feature, columns: Columns) -> Iterator[Definition]:
    yield from _on_bars(feature, columns)
    if feature.ratio is not None:
        yield _pair("ratio", kinds.ratio, (feature.ratio.numerator, feature.ratio.denominator), columns)
    if feature.premium is not None:
        yield _pair("premium", kinds.premium, (feature.premium.price, feature.premium.reference), columns)
    if feature.calendar is not None:
        for part in feature.calendar.parts:
            yield from (DateFeature(f"calendar.{part}_{wave}", part, wave) for wave in WAVES)


def _on_bars(feature: Feature, columns: Columns) -> Iterator[BarFeature]:
    if feature.lag is not None:
        yield from _lags(feature.lag, columns)
    if feature.difference is not None:
        yield from _changes("difference", kinds.difference, feature.difference, columns)
    if feature.percent_change is not None:
        yield from _changes("percent_change", kinds.percent_change, feature.percent_change, columns)
    if feature.log_change is not None:
        yield from _changes("log_change", kinds.log_change, feature.log_change, columns)
    if feature.rolling is not None:
        yield from _rolling(feature.rolling, columns)
    if feature.exponential_mean is not None:
        yield from _exponential_means(feature.exponential_mean, columns)
    if feature.range_volatility is not None:
        yield from _range_volatilities(feature.range_volatility, columns)


def _bar_feature(
    reference: str, name: str, compute: Callable[..., FloatArray], lookback: int | None, columns: Columns
) -> BarFeature:
    source, _, column = reference.partition(".")
    require_column(source, column, columns)
    return BarFeature(f"{reference}.{name}", source, (column,), compute, lookback)


def _lag(reference: str, step: int, columns: Columns) -> BarFeature:
    return _bar_feature(reference, f"lag_{step}", partial(kinds.lag, step=step), step, columns)


def _lags(lag: Lag, columns: Columns) -> Iterator[BarFeature]:
    return (_lag(reference, step, columns) for reference in lag.columns for step in lag.steps)


def _changes(name: str, kind: Callable[..., FloatArray], change: Change, columns: Columns) -> Iterator[BarFeature]:
    for reference in change.columns:
        for periods in change.periods:
            compute = partial(kind, periods=periods)
            yield _bar_feature(reference, f"{name}_{periods}", compute, periods + 1, columns)


def _rolling(rolling: Rolling, columns: Columns) -> Iterator[BarFeature]:
    for reference in rolling.columns:
        for window in rolling.windows:
            for statistic in rolling.statistics:
                compute = partial(kinds.rolling, window=window, statistic=statistic)
                yield _bar_feature(reference, f"{statistic}_{window}", compute, window, columns)


def _exponential_means(mean: ExponentialMean, columns: Columns) -> Iterator[BarFeature]:
    for reference in mean.columns:
        for span in mean.spans:
            compute = partial(kinds.exponential_mean, span=span)
            yield _bar_feature(reference, f"exponential_mean_{span}", compute, None, columns)


def _pair(
    name: str, compute: Callable[[FloatArray, FloatArray], FloatArray], references: tuple[str, str], columns: Columns
) -> PairFeature:
    first, second = (_lag(reference, 1, columns) for reference in references)
    return PairFeature(f"{name}({','.join(references)})", first, second, compute)


def _range_volatilities(volatility: RangeVolatility, columns: Columns) -> Iterator[BarFeature]:
    for source in volatility.sources:
        present = _columns_of(source, f"{source}.{RANGE_VOLATILITY}", columns)
        pair = high_and_low(present)
        if pair is None:
            raise DataError(
                f"source {source!r} has no high and low columns, which range volatility is computed from.",
                f"Columns that it has: {', '.join(present) or 'none'}; `columns` of the source can rename them.",
            )
        for window in volatility.windows:
            compute = partial(kinds.range_volatility, window=window)
            yield BarFeature(f"{source}.{RANGE_VOLATILITY}_{window}", source, pair, compute, window)


def _columns_of(source: str, user: str, columns: Columns) -> Sequence[str]:
    if source not in columns:
        raise JobError(
            f"{user} names the source {source!r}, which the job does not list{_nearest(source, columns)}.",
            f"Sources of the job: {', '.join(columns)}.",
        )
    return columns[source]


def _nearest(name: str, names: Sequence[str] | Columns) -> str:
    lowered = {other.lower(): other for other in names}
    close = difflib.get_close_matches(name.lower(), lowered, n=1)
    return f"; the nearest is {lowered[close[0]]!r}" if close else ""
