"""The scorecard's tables, as grids."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Final

from presage.bars import Bars
from presage.evaluation.scorecard import Condition, Contender, Metrics, Scorecard
from presage.report.data import IssuedForecast
from presage.report.facts import Interval, intervals, metric_unit, subject
from presage.report.grid import Column, Grid
from presage.report.numbers import UNDEFINED, aligned, count, level_name, moment, number, percent

GAPS_SHOWN: Final = 20

_ERRORS: Final[Sequence[tuple[str, Callable[[Metrics], float | None]]]] = (
    ("MAE", lambda metrics: metrics.mae),
    ("RMSE", lambda metrics: metrics.rmse),
    ("MASE", lambda metrics: metrics.mase),
    ("Theil's U", lambda metrics: metrics.theil_u),
    ("CRPS", lambda metrics: metrics.crps),
    ("Pinball", lambda metrics: metrics.pinball),
    ("MAPE", lambda metrics: metrics.mape),
    ("sMAPE", lambda metrics: metrics.smape),
)
_SHARES: Final[Sequence[tuple[str, Callable[[Metrics], float | None]]]] = (
    ("Direction", lambda metrics: metrics.directional_accuracy),
    ("Coverage", lambda metrics: metrics.coverage),
)
_NARROW: Final = ("RMSE", "MASE", "Direction", "Coverage")


def contenders(scorecard: Scorecard) -> Grid:
    """Return all contenders with all metrics, the smallest loss first; what is served is marked."""
    ranked = sorted(scorecard.contenders, key=lambda one: (one.loss, one.name))
    columns = (
        Column("Contender", kind="name"),
        Column("Skill", unit="%"),
        Column("Superior", kind="name", narrow=False),
        *_metric_columns(scorecard),
    )
    cells = [
        [_served(scorecard, one) for one in ranked],
        _percents([one.skill for one in ranked]),
        ["baseline" if one.baseline else "yes" if one.superior else "no" for one in ranked],
        *_metric_cells([one.metrics for one in ranked]),
    ]
    marked = next(place for place, one in enumerate(ranked) if one.name == scorecard.verdict.champion)
    return Grid("Contenders, best first", columns, _rows(cells), marked)


def folds(scorecard: Scorecard) -> Grid:
    """Return each fold of the contender that the verdict is about."""
    about = subject(scorecard)
    columns = (
        Column("Fold"),
        Column("First origin", unit="UTC", kind="name"),
        Column("Last origin", unit="UTC", kind="name"),
        Column("Origins"),
        Column(scorecard.metric, unit=metric_unit(scorecard, scorecard.metric)),
        Column("Skill", unit="%"),
    )
    cells = [
        [str(fold.fold) for fold in about.folds],
        [moment(fold.start) for fold in about.folds],
        [moment(fold.end) for fold in about.folds],
        [f"{fold.origins:,}" for fold in about.folds],
        aligned([fold.loss for fold in about.folds]),
        _percents([fold.skill for fold in about.folds]),
    ]
    return Grid(f"Folds of {about.name}", columns, _rows(cells))


def steps(scorecard: Scorecard) -> Grid:
    """Return the errors at each step ahead of the contender that the verdict is about."""
    about = subject(scorecard)
    columns = (Column("Step", unit=f"bars of {scorecard.frequency}"), *_metric_columns(scorecard))
    cells = [[str(step.step) for step in about.steps], *_metric_cells([step.metrics for step in about.steps])]
    return Grid(f"Errors of {about.name} by step", columns, _rows(cells))


def coverage(scorecard: Scorecard) -> Grid:
    """Return what the champion's intervals promised and held."""
    champion = scorecard.contender(scorecard.verdict.champion)
    levels = sorted(champion.coverage, key=lambda one: one.level)
    columns = (
        Column("Promised", unit="%"),
        Column("Held", unit="%"),
        Column("Band from", unit="%"),
        Column("Band to", unit="%"),
        Column("Mean width", unit=scorecard.unit),
        Column("Inside", kind="name"),
    )
    cells = [
        [level_name(one.level).removesuffix(" %") for one in levels],
        _percents([one.coverage for one in levels]),
        _percents([one.lower for one in levels]),
        _percents([one.upper for one in levels]),
        aligned([one.width for one in levels]),
        ["yes" if one.inside else "no" for one in levels],
    ]
    return Grid(f"Intervals of {champion.name}", columns, _rows(cells))


def forecast_steps(forecast: IssuedForecast, unit: str = "", watched: Interval | None = None) -> Grid:
    """Return a forecast with its intervals, a row a step.

    Args:
        forecast: The forecast.
        unit: Unit of the target.
        watched: The interval to show where there is little room; default: that of 80 %, and the widest.
    """
    found = intervals(forecast.probabilities)
    # All numbers of the table line up with each other.
    texts = aligned([*forecast.mean, *forecast.quantiles.ravel()], 5)
    means, quantiles = texts[: len(forecast.mean)], texts[len(forecast.mean) :]
    columns = [Column("Bar", unit="UTC", kind="name"), Column("Forecast", unit=unit)]
    cells = [[moment(at) for at in forecast.target_time], means]
    for interval in reversed(found):
        narrow = interval == watched if watched else interval == found[0] or abs(interval.level - 0.8) < 1e-9
        columns.append(Column(f"{level_name(interval.level)} interval", unit=unit, narrow=narrow))
        lower, upper = (quantiles[place :: len(forecast.probabilities)] for place in (interval.lower, interval.upper))
        cells.append([f"{low} to {high}" for low, high in zip(lower, upper, strict=True)])
    return Grid("Forecast by bar", tuple(columns), _rows(cells))


def series(scorecard: Scorecard) -> Grid:
    """Return each series of a panel, the greatest skill first; those without a scored origin last."""
    about = subject(scorecard).name
    ranked = sorted(
        scorecard.series, key=lambda one: (one.skill is None, -(one.skill or 0.0), one.loss or 0.0, one.name)
    )
    columns = (
        Column("Series", kind="name"),
        Column("Origins"),
        Column(scorecard.metric, unit=metric_unit(scorecard, scorecard.metric)),
        Column("Skill", unit="%"),
        Column("Coverage", unit="%"),
    )
    cells = [
        [one.name for one in ranked],
        [f"{one.origins:,}" for one in ranked],
        aligned([one.loss for one in ranked]),
        _percents([one.skill for one in ranked]),
        _percents([one.coverage for one in ranked]),
    ]
    return Grid(f"Series of {about}, best first", columns, _rows(cells))


def forecasts(found: Sequence[IssuedForecast], unit: str = "", watched: float = 0.9) -> Grid:
    """Return the forecasts of many series, a row a series: its first step and, where there are more, its last.

    Args:
        found: The forecasts, all of the same horizon.
        unit: Unit of the target.
        watched: Nominal coverage of the interval to show.
    """
    horizon = len(found[0].mean)
    columns = [Column("Series", kind="name"), Column("Issued at", unit="UTC", kind="name", narrow=False)]
    cells = [[one.series for one in found], [moment(one.issued_at) for one in found]]
    for step in dict.fromkeys((0, horizon - 1)):
        ahead = f" {step + 1}" if horizon > 1 else ""
        shown = [min(intervals(one.probabilities), key=lambda i: abs(i.level - watched), default=None) for one in found]
        level = next((level_name(one.level) for one in shown if one is not None), "")
        columns += [
            Column(f"Bar{ahead}", unit="UTC", kind="name"),
            Column(f"Forecast{ahead}", unit=unit),
            *([Column(f"{level} interval{ahead}", unit=unit)] if level else []),
        ]
        cells += [[moment(one.target_time[step]) for one in found], [number(one.mean[step], 5) for one in found]]
        if level:
            cells.append([_ends(one, step, interval) for one, interval in zip(found, shown, strict=True)])
    return Grid("Forecast of each series", tuple(columns), _rows(cells))


def _ends(forecast: IssuedForecast, step: int, interval: Interval | None) -> str:
    if interval is None:
        return UNDEFINED
    return " to ".join(number(forecast.quantiles[step, place], 5) for place in (interval.lower, interval.upper))


def dropped(scorecard: Scorecard) -> Grid:
    """Return the features that selection dropped, and why."""
    columns = (Column("Dropped", kind="name"), Column("Why", kind="sentence"))
    return Grid("Features dropped", columns, tuple((one.name, one.reason) for one in scorecard.dropped))


def sources(scorecard: Scorecard) -> Grid:
    """Return what each source gave."""
    parts = scorecard.sources
    columns = (
        Column("Source", kind="name"),
        Column("Bars"),
        Column("First bar", unit="UTC", kind="name"),
        Column("Last bar", unit="UTC", kind="name"),
        Column("Gaps", unit="bars"),
        Column("Filled", unit="bars"),
        Column("Duplicates", unit="rows"),
        Column("Left out", unit="rows", narrow=False),
        Column("Lag", kind="name"),
        Column("Revised", kind="name"),
        Column("Units", kind="sentence", narrow=False),
    )
    cells = [
        [one.name for one in parts],
        [f"{one.rows:,}" for one in parts],
        [moment(one.start) for one in parts],
        [moment(one.end) for one in parts],
        [f"{one.gaps:,}" for one in parts],
        [f"{one.filled:,}" for one in parts],
        [f"{one.duplicates:,}" for one in parts],
        [f"{one.dropped:,}" for one in parts],
        [one.lag for one in parts],
        ["yes" if one.revised else "no" for one in parts],
        [", ".join(f"{name}: {unit}" for name, unit in sorted(one.units.items())) or UNDEFINED for one in parts],
    ]
    return Grid("What each source gave", columns, _rows(cells))


def gaps(bars: Bars) -> Grid:
    """Return the longest gaps of the target's bars, by time."""
    longest = sorted(bars.gaps, key=lambda gap: (-gap.periods, gap.series, gap.start))[:GAPS_SHOWN]
    longest.sort(key=lambda gap: (gap.series, gap.start))
    columns = (
        Column("Series", kind="name"),
        Column("First missing bar", unit="UTC", kind="name"),
        Column("Last missing bar", unit="UTC", kind="name"),
        Column("Missing", unit="bars"),
        Column("Filled", unit="bars"),
    )
    rows = tuple(
        (gap.series, moment(gap.start), moment(gap.end), f"{gap.periods:,}", f"{gap.filled:,}") for gap in longest
    )
    of = f", the longest {GAPS_SHOWN} of {len(bars.gaps):,}" if len(bars.gaps) > GAPS_SHOWN else ""
    return Grid(f"{count(len(bars.gaps), 'gap')} of {bars.source}{of}", columns, rows)


def conditions(found: Sequence[Condition]) -> Grid:
    """Return the job's conditions."""
    columns = (
        Column("Condition", kind="name"),
        Column("Status", kind="name"),
        Column("Reason", kind="name"),
        Column("Message", kind="sentence", narrow=False),
    )
    return Grid("Conditions", columns, tuple((one.type, one.status, one.reason, one.message) for one in found))


def _metric_columns(scorecard: Scorecard) -> list[Column]:
    narrow = {scorecard.metric, *_NARROW}
    errors = [Column(name, unit=metric_unit(scorecard, name), narrow=name in narrow) for name, _ in _ERRORS]
    return [*errors, *(Column(name, unit="%", narrow=name in narrow) for name, _ in _SHARES)]


def _metric_cells(metrics: Sequence[Metrics]) -> list[list[str]]:
    errors = [aligned([value(one) for one in metrics]) for _, value in _ERRORS]
    return [*errors, *(_percents([value(one) for one in metrics]) for _, value in _SHARES)]


def _served(scorecard: Scorecard, contender: Contender) -> str:
    return f"{contender.name} (served)" if contender.name == scorecard.verdict.champion else contender.name


def _percents(shares: Sequence[float | None]) -> list[str]:
    return [percent(share).removesuffix(" %") for share in shares]


def _rows(cells: Sequence[Sequence[str]]) -> tuple[tuple[str, ...], ...]:
    return tuple(zip(*cells, strict=True))
