"""The scorecard's tables, as grids."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from typing import Final

from presage.bars import Bars
from presage.evaluation.scorecard import Condition, Contender, Metrics, Scorecard, SourceSummary
from presage.report.data import IssuedForecast
from presage.report.facts import ERRORS, Interval, intervals, metric_unit, subject
from presage.report.grid import Column, FilledColumn, Grid
from presage.report.numbers import UNDEFINED, aligned, count, level_name, moment, number, percent

GAPS_SHOWN: Final = 20

_NARROW: Final = ("RMSE", "MASE")


def contenders(scorecard: Scorecard) -> Grid:
    """Return all contenders with all metrics, the smallest loss first; what is served is marked."""
    found = best_first(scorecard)
    return comparison(scorecard, found, metrics=_metrics(scorecard, [one.metrics for one in found]))


def best_first(scorecard: Scorecard) -> list[Contender]:
    """Return all contenders, the smallest loss first."""
    return sorted(scorecard.contenders, key=lambda one: (one.loss, one.name))


def comparison(
    scorecard: Scorecard,
    found: Sequence[Contender],
    *,
    losses: Iterable[FilledColumn] = (),
    metrics: Iterable[FilledColumn],
) -> Grid:
    """Return contenders with their skill; what is served is marked.

    Args:
        scorecard: What the run found.
        found: The contenders, the best one first.
        losses: The columns between their names and their skill.
        metrics: The columns behind.
    """
    champion = scorecard.verdict.champion
    names = [one.name for one in found]
    superior = ["baseline" if one.baseline else "yes" if one.superior else "no" for one in found]
    return Grid.of(
        "Contenders, best first",
        (Column("Contender", kind="name"), [f"{name} (served)" if name == champion else name for name in names]),
        *losses,
        (Column("Skill", unit="%"), percents(one.skill for one in found)),
        (Column("Superior", kind="name", narrow=False), superior),
        *metrics,
        marked=names.index(champion),
    )


def folds(
    scorecard: Scorecard, *, first: str = "First origin", last: str = "Last origin", scored: str = "Origins"
) -> Grid:
    """Return each fold of the contender that the verdict is about, under the names of what was scored."""
    about = subject(scorecard)
    return Grid.of(
        f"Folds of {about.name}",
        (Column("Fold"), [str(fold.fold) for fold in about.folds]),
        (Column(first, unit="UTC", kind="name"), [moment(fold.start) for fold in about.folds]),
        (Column(last, unit="UTC", kind="name"), [moment(fold.end) for fold in about.folds]),
        (Column(scored), [f"{fold.origins:,}" for fold in about.folds]),
        (Column(scorecard.metric, unit=metric_unit(scorecard, scorecard.metric)), aligned(f.loss for f in about.folds)),
        (Column("Skill", unit="%"), percents(fold.skill for fold in about.folds)),
    )


def steps(scorecard: Scorecard) -> Grid:
    """Return the errors at each step ahead of the contender that the verdict is about."""
    about = subject(scorecard)
    return Grid.of(
        f"Errors of {about.name} by step",
        (Column("Step", unit=f"bars of {scorecard.frequency}"), [str(step.step) for step in about.steps]),
        *_metrics(scorecard, [step.metrics for step in about.steps]),
    )


def coverage(scorecard: Scorecard) -> Grid:
    """Return what the champion's intervals promised and held."""
    champion = scorecard.contender(scorecard.verdict.champion)
    levels = sorted(champion.coverage, key=lambda one: one.level)
    return Grid.of(
        f"Intervals of {champion.name}",
        (Column("Promised", unit="%"), [level_name(one.level).removesuffix(" %") for one in levels]),
        (Column("Held", unit="%"), percents(one.coverage for one in levels)),
        (Column("Band from", unit="%"), percents(one.lower for one in levels)),
        (Column("Band to", unit="%"), percents(one.upper for one in levels)),
        (Column("Mean width", unit=scorecard.unit), aligned(one.width for one in levels)),
        (Column("Inside", kind="name"), ["yes" if one.inside else "no" for one in levels]),
    )


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
    filled: list[FilledColumn] = [
        (Column("Bar", unit="UTC", kind="name"), [moment(at) for at in forecast.target_time]),
        (Column("Forecast", unit=unit), means),
    ]
    for interval in reversed(found):
        narrow = interval == watched if watched else interval == found[0] or abs(interval.level - 0.8) < 1e-9
        lower, upper = (quantiles[place :: len(forecast.probabilities)] for place in (interval.lower, interval.upper))
        column = Column(f"{level_name(interval.level)} interval", unit=unit, narrow=narrow)
        filled.append((column, [f"{low} to {high}" for low, high in zip(lower, upper, strict=True)]))
    return Grid.of("Forecast by bar", *filled)


def series(scorecard: Scorecard) -> Grid:
    """Return each series of a panel, the greatest skill first; those without a scored origin last."""
    found = sorted(
        scorecard.series, key=lambda one: (one.skill is None, -(one.skill or 0.0), one.loss or 0.0, one.name)
    )
    return Grid.of(
        f"Series of {subject(scorecard).name}, best first",
        (Column("Series", kind="name"), [one.name for one in found]),
        (Column("Origins"), [f"{one.origins:,}" for one in found]),
        (Column(scorecard.metric, unit=metric_unit(scorecard, scorecard.metric)), aligned(one.loss for one in found)),
        (Column("Skill", unit="%"), percents(one.skill for one in found)),
        (Column("Coverage", unit="%"), percents(one.coverage for one in found)),
    )


def forecasts(found: Sequence[IssuedForecast], unit: str = "", watched: float = 0.9) -> Grid:
    """Return the forecasts of many series, a row a series: its first step and, where there are more, its last.

    Args:
        found: The forecasts, all of the same horizon.
        unit: Unit of the target.
        watched: Nominal coverage of the interval to show.
    """
    horizon = len(found[0].mean)
    shown = [min(intervals(one.probabilities), key=lambda i: abs(i.level - watched), default=None) for one in found]
    level = next((level_name(one.level) for one in shown if one is not None), "")
    filled: list[FilledColumn] = [
        (Column("Series", kind="name"), [one.series for one in found]),
        (Column("Issued at", unit="UTC", kind="name", narrow=False), [moment(one.issued_at) for one in found]),
    ]
    for step in dict.fromkeys((0, horizon - 1)):
        ahead = f" {step + 1}" if horizon > 1 else ""
        filled += [
            (Column(f"Bar{ahead}", unit="UTC", kind="name"), [moment(one.target_time[step]) for one in found]),
            (Column(f"Forecast{ahead}", unit=unit), [number(one.mean[step], 5) for one in found]),
        ]
        if level:
            ends = [_ends(one, step, interval) for one, interval in zip(found, shown, strict=True)]
            filled.append((Column(f"{level} interval{ahead}", unit=unit), ends))
    return Grid.of("Forecast of each series", *filled)


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
    found = scorecard.sources
    return Grid.of(
        "What each source gave",
        (Column("Source", kind="name"), [one.name for one in found]),
        (Column("Bars"), [f"{one.rows:,}" for one in found]),
        (Column("First bar", unit="UTC", kind="name"), [moment(one.start) for one in found]),
        (Column("Last bar", unit="UTC", kind="name"), [moment(one.end) for one in found]),
        (Column("Gaps", unit="bars"), [f"{one.gaps:,}" for one in found]),
        (Column("Filled", unit="bars"), [f"{one.filled:,}" for one in found]),
        (Column("Duplicates", unit="rows"), [f"{one.duplicates:,}" for one in found]),
        (Column("Left out", unit="rows", narrow=False), [f"{one.dropped:,}" for one in found]),
        (Column("Lag", kind="name"), [one.lag for one in found]),
        (Column("Revised", kind="name"), ["yes" if one.revised else "no" for one in found]),
        units(found),
    )


def units(found: Iterable[SourceSummary]) -> FilledColumn:
    """Return the column of the units that sources declare."""
    cells = [", ".join(f"{name}: {unit}" for name, unit in sorted(one.units.items())) or UNDEFINED for one in found]
    return Column("Units", kind="sentence", narrow=False), cells


def gaps(bars: Bars) -> Grid:
    """Return the longest gaps of the target's bars, by time."""
    longest = sorted(bars.gaps, key=lambda gap: (-gap.periods, gap.series, gap.start))[:GAPS_SHOWN]
    longest.sort(key=lambda gap: (gap.series, gap.start))
    of = f", the longest {GAPS_SHOWN} of {len(bars.gaps):,}" if len(bars.gaps) > GAPS_SHOWN else ""
    return Grid.of(
        f"{count(len(bars.gaps), 'gap')} of {bars.source}{of}",
        (Column("Series", kind="name"), [gap.series for gap in longest]),
        (Column("First missing bar", unit="UTC", kind="name"), [moment(gap.start) for gap in longest]),
        (Column("Last missing bar", unit="UTC", kind="name"), [moment(gap.end) for gap in longest]),
        (Column("Missing", unit="bars"), [f"{gap.periods:,}" for gap in longest]),
        (Column("Filled", unit="bars"), [f"{gap.filled:,}" for gap in longest]),
    )


def conditions(found: Sequence[Condition]) -> Grid:
    """Return the job's conditions."""
    return Grid.of(
        "Conditions",
        (Column("Condition", kind="name"), [one.type for one in found]),
        (Column("Status", kind="name"), [one.status for one in found]),
        (Column("Reason", kind="name"), [one.reason for one in found]),
        (Column("Message", kind="sentence", narrow=False), [one.message for one in found]),
    )


def errors(
    scorecard: Scorecard, metrics: Sequence[Metrics], names: Iterable[str], narrow: Collection[str]
) -> list[FilledColumn]:
    """Return a column an error in `names`, shown where there is little room if it is in `narrow`."""
    return [
        (
            Column(name, unit=metric_unit(scorecard, name), narrow=name in narrow),
            aligned(ERRORS[name](one) for one in metrics),
        )
        for name in names
    ]


def percents(shares: Iterable[float | None]) -> list[str]:
    """Return shares as percent without its sign, which the column's unit is."""
    return [percent(share).removesuffix(" %") for share in shares]


def _metrics(scorecard: Scorecard, metrics: Sequence[Metrics]) -> list[FilledColumn]:
    return [
        *errors(scorecard, metrics, ERRORS, {scorecard.metric, *_NARROW}),
        (Column("Direction", unit="%"), percents(one.directional_accuracy for one in metrics)),
        (Column("Coverage", unit="%"), percents(one.coverage for one in metrics)),
    ]
