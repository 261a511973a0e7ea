"""The fit on all that is known now: what the champion's bundle holds."""

from __future__ import annotations

from collections.abc import Mapping

from presage.errors import DataError
from presage.evaluation.backtest import BackTest
from presage.evaluation.contenders import Contender, contenders, fit
from presage.features.config import FeatureConfig
from presage.frame import Panel, stack
from presage.models.combination import combine, weigh
from presage.models.contract import Forecaster, Task
from presage.models.registry import load
from presage.spec.evaluation import Evaluation
from presage.spec.job import PredictionJobSpec
from presage.tasks import single_threaded


def training_window(panel: Panel, evaluation: Evaluation) -> Panel:
    """Return the rows that a fit on all that is known now learns from: all, or a Rolling job's newest `trainSize`."""
    if evaluation.window == "Expanding" or evaluation.train_size is None:
        return panel
    return panel.newest(evaluation.train_size)


def final_fit(
    panel: Panel,
    spec: PredictionJobSpec,
    contender: Contender,
    *,
    season: int,
    config: FeatureConfig,
    tested: BackTest | None = None,
) -> Mapping[str, Forecaster]:
    """Return a contender fitted on all that is known now, dumped and loaded again.

    Args:
        panel: The series as they stand now; a Rolling job trains on the newest `trainSize` dates.
        spec: The job.
        contender: One of `contenders`.
        season: Bars in a season.
        config: Features that were selected on all that is known now.
        tested: The back-test, whose errors weigh the members of `weighted_combination`; without it they weigh the same.

    Returns:
        The forecaster of each series by its name, in the panel's order; one that learnt from all series is the same for
        each. A series of a panel that leaves too little to learn from has none.

    Raises:
        DataError: No series holds enough usable rows.
        NotSupportedError: A combination has nothing to combine.
    """
    task = Task(spec.target.transform, spec.target.horizon, season, spec.seed)
    known = training_window(panel, spec.evaluation).with_features(config.kept)
    with single_threaded():
        if not contender.combines:
            return _fitted(known, task, contender)
        others = [other for other in contenders(spec, task, panel) if not (other.baseline or other.combines)]
        members = {other.name: _fitted(known, task, other) for other in others}
        return {
            name: _combined(contender, {member: fitted[name] for member, fitted in members.items()}, tested, name)
            for name in known.names
            if all(name in fitted for fitted in members.values())
        }


def _fitted(known: Panel, task: Task, contender: Contender) -> dict[str, Forecaster]:
    if contender.shared:
        return dict.fromkeys(known.names, fit(stack(known.frames), task, contender, "final"))
    found: dict[str, Forecaster] = {}
    faults = []
    for frame in known.frames:
        try:
            found[frame.series] = fit(frame, task, contender, "final")
        except DataError as error:
            faults.append(error)
    if not found:
        raise faults[0]
    return found


def _combined(
    contender: Contender, members: Mapping[str, Forecaster], tested: BackTest | None, series: str
) -> Forecaster:
    weights = None
    if tested is not None and contender.weights_window is not None and members:
        own = tested.of(tested.panel.names.index(series))
        past = {name: own.forecasts[name].mean for name in members}
        outcome, origin = own.frame.target_level[own.rows], own.frame.origin[own.rows]
        weights = weigh(past, outcome, origin, contender.weights_window)
    return load(contender.model.name, combine(members, contender.model.name, weights).dump())
