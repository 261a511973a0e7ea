"""The walk-forward back-test: fit each contender on what was known, forecast the next block, move on.

Everything is fitted inside a fold: the selection of features, the models, and later the intervals at each origin. What
forecasts is what would be exported: a forecaster that was dumped and loaded again.

The walk has three parts, which may be done in different places: selecting in each fold, walking some contenders, and
gathering what all of them forecast.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence

import numpy as np

from presage.errors import DataError
from presage.evaluation.backtest import BackTest, FeatureConfig, Fold, Forecasts
from presage.evaluation.blocks import Blocks
from presage.evaluation.contenders import Contender, contenders, seed_of
from presage.evaluation.fits import Forecasting, Selecting, forecast_block, select_features
from presage.evaluation.folds import Period, make_folds
from presage.evaluation.intervals import calibrate_all, quantile_probabilities
from presage.evaluation.walk import Walk, combined, mean_shares
from presage.features.selection import keep_all
from presage.frame import BoolArray, IntArray, Panel
from presage.models.contract import Task
from presage.spec.job import PredictionJobSpec
from presage.tasks import Engine

SERIES_A_TASK = 50
"""Series whose own fits one task makes."""


class WalkForward:
    """A job's walk over the origins of its series.

    Args:
        panel: All origins of the series, as `presage.features.build` makes them.
        spec: The job.
        season: Bars in a season.
        period: Origins that are scored; default: the newest.

    Raises:
        DataError: There are too few rows.
        NotSupportedError: The job's task is a Classification.
    """

    def __init__(self, panel: Panel, spec: PredictionJobSpec, *, season: int, period: Period | None = None) -> None:
        self._spec = spec
        self._task = Task(spec.target.transform, spec.target.horizon, season, spec.seed)
        self._entrants = contenders(spec, self._task, panel)
        self._folds = make_folds(panel, spec.evaluation, period)
        self._blocks = Blocks(panel, self._folds)

    @property
    def entrants(self) -> tuple[Contender, ...]:
        """Who is fitted: baselines first, then candidates in the job's order; combinations are made of them."""
        return tuple(contender for contender in self._entrants if not contender.combines)

    def select(self, engine: Engine) -> tuple[FeatureConfig, ...]:
        """Return what each fold keeps of the features; the engine runs one task a fold."""
        spec, blocks = self._spec, self._blocks
        if spec.selection.method == "None":
            return (keep_all(blocks.panel.whole.feature_names),) * len(self._folds)
        tasks = [
            Selecting(
                frames=blocks.training(fold),
                cutoff=fold.cutoff,
                transform=spec.target.transform,
                selection=spec.selection,
                seed=seed_of(spec.seed, "selection", fold.number),
            )
            for fold in self._folds
        ]
        return engine.map(select_features, tasks)

    def walk(
        self, selections: Sequence[FeatureConfig], engine: Engine, only: Collection[str] | None = None
    ) -> dict[str, Walk]:
        """Return the walks of entrants by name.

        An entrant that learns from all series is fitted once a fold, on the rows of all of them in order of origin; any
        other once a fold and series, or once a series where it learns nothing. A series that holds too few usable rows
        for a fit of its own has no forecast in that fold, and so counts for no contender there.

        Args:
            selections: What each fold keeps of the features.
            engine: What runs the fits: one task an entrant and fold, or a group of series.
            only: Names of the entrants to walk; default: all.

        Raises:
            DataError: An entrant cannot be fitted for any series.
        """
        blocks, folds = self._blocks, self._folds
        fitted = [contender for contender in self.entrants if only is None or contender.name in only]
        places = [
            (contender, run, group)
            for contender in fitted
            for run in ([(fold,) for fold in folds] if contender.learns else [folds])
            for group in _groups(len(blocks.panel), contender)
        ]
        found = engine.map(
            forecast_block,
            [
                self._forecasting(contender, run, group=group, kept=selections[run[0].number].kept)
                for contender, run, group in places
            ],
        )
        width = len(blocks.rows)
        means = {contender.name: np.full((width, self._task.horizon), np.nan) for contender in fitted}
        shares: dict[str, dict[int, list[Mapping[str, float]]]] = {
            contender.name: {fold.number: [] for fold in folds} for contender in fitted
        }
        faults: dict[tuple[str, int], DataError] = {}
        for (contender, run, group), block in zip(places, found, strict=True):
            for series, mean in zip(group, block.means, strict=True):
                means[contender.name][blocks.places(series, run)] = mean
            shares[contender.name][run[0].number] += block.shares
            if block.fault is not None:
                faults.setdefault((contender.name, run[0].number), block.fault)
        for (name, number), fault in faults.items():
            if not shares[name][number]:
                raise DataError(f"{name} in fold {number}: {fault.what}", fault.remedy) from fault
        names = blocks.panel.whole.feature_names
        return {
            contender.name: Walk(
                mean=means[contender.name],
                shares=mean_shares(
                    [share for number in range(1, len(folds)) for share in shares[contender.name][number]], names
                ),
            )
            for contender in fitted
        }

    def gather(self, selections: Sequence[FeatureConfig], walks: Mapping[str, Walk]) -> BackTest:
        """Return the forecasts and quantiles of all contenders, combinations of them included.

        Args:
            selections: What each fold kept of the features.
            walks: The walks of all entrants, by name.

        Raises:
            DataError: No origin can be scored.
            NotSupportedError: A combination has nothing to combine.
        """
        spec, blocks, panel = self._spec, self._blocks, self._blocks.panel
        every = self._with_combinations(walks)
        probabilities = quantile_probabilities(spec.evaluation.intervals.levels)
        # All contenders side by side: what is done at each origin is done once for all of them.
        quantiles, _ = calibrate_all(
            [issued for contender in self._entrants for issued in blocks.issued(every[contender.name].mean)],
            transform=self._task.transform,
            probabilities=probabilities,
            intervals=spec.evaluation.intervals,
            minimum=spec.target.minimum,
        )
        forecasts = {
            contender.name: Forecasts(
                name=contender.name,
                baseline=contender.baseline,
                mean=every[contender.name].mean,
                quantiles=np.concatenate(quantiles[place * len(panel) : (place + 1) * len(panel)]),
                importance=every[contender.name].shares,
            )
            for place, contender in enumerate(self._entrants)
        }
        numbers = blocks.numbers
        return BackTest(
            panel=panel,
            folds=self._folds,
            rows=blocks.rows,
            fold=numbers,
            scored=_scored(panel, blocks.rows, numbers, forecasts),
            probabilities=probabilities,
            forecasts=forecasts,
            selections={fold.number: config for fold, config in zip(self._folds, selections, strict=True)},
        )

    def _with_combinations(self, walks: Mapping[str, Walk]) -> dict[str, Walk]:
        """Return the walks with those of combinations, which are made of the candidates' and not fitted again."""
        members = {one.name: walks[one.name] for one in self.entrants if not one.baseline}
        made = {one.name: combined(self._blocks, one, members) for one in self._entrants if one.combines}
        return {**walks, **made}

    def _forecasting(
        self, contender: Contender, run: Sequence[Fold], *, group: range, kept: tuple[str, ...]
    ) -> Forecasting:
        panel = self._blocks.panel
        frames, spans = [], []
        for series in group:
            start, stop = self._blocks.span(series, run)
            frames.append(panel.frames[series].rows(0, stop))
            spans.append((*panel.span(series, run[0].train_start, run[0].train_stop), start, stop))
        return Forecasting(tuple(frames), tuple(spans), run[0], contender, kept, self._task)


def back_test(
    panel: Panel, spec: PredictionJobSpec, *, season: int, engine: Engine, period: Period | None = None
) -> BackTest:
    """Return every contender's forecasts and quantiles at the origins of the folds.

    The arguments and errors are those of `WalkForward` and its methods; the engine runs all of its tasks.
    """
    walk = WalkForward(panel, spec, season=season, period=period)
    selections = walk.select(engine)
    return walk.gather(selections, walk.walk(selections, engine))


def _groups(series: int, contender: Contender) -> list[range]:
    size = series if contender.shared else SERIES_A_TASK
    return [range(start, min(start + size, series)) for start in range(0, series, size)]


def _scored(panel: Panel, rows: IntArray, numbers: IntArray, forecasts: Mapping[str, Forecasts]) -> BoolArray:
    """Return which origins count for all contenders."""
    whole = panel.whole
    fair = (numbers > 0) & np.isfinite(whole.level[rows]) & np.isfinite(whole.target_level[rows]).all(axis=1)
    complete = {
        name: np.isfinite(forecast.mean).all(axis=1) & np.isfinite(forecast.quantiles).all(axis=(1, 2))
        for name, forecast in forecasts.items()
    }
    scored: BoolArray = np.logical_and.reduce([fair, *complete.values()])
    if not scored.any():
        least = min(complete, key=lambda name: int((fair & complete[name]).sum()))
        whose = f"Series {panel.names[0]!r}" if len(panel) == 1 else f"The panel of {len(panel)} series"
        raise DataError(
            f"{whose}: no origin can be scored; of {len(rows)} that were forecast {int(fair.sum())} "
            f"have a level and known outcomes, and {least} has forecasts and quantiles at "
            f"{int((fair & complete[least]).sum())} of these.",
            "Give more data or fewer gaps, or choose another target.transform or a smaller evaluation.season.",
        )
    return scored
