"""The shuffled-target check: where outcomes have nothing to do with features, no learner may have skill.

The outcomes are shuffled in blocks, and the cheapest learner of the job walks forward through the real back-test. Skill
over the median of what it learnt from would mean that outcomes of a block reach the fit that forecasts it. Beside this
test there is a proof: what comes after the last fold's cut-off is changed, and its forecasts must stay what they are.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from presage.errors import DataError
from presage.evaluation.backtest import BackTest
from presage.evaluation.scores import score
from presage.evaluation.significance import diebold_mariano, loss_difference
from presage.evaluation.walk_forward import back_test
from presage.features.truncation import first_unequal
from presage.frame import FloatArray, Frame, IntArray, Panel, to_change, to_level
from presage.leakage.finding import Finding, leak, passed, skipped
from presage.spec.job import PredictionJobSpec
from presage.spec.models import Model, ModelName
from presage.tabular.observations import Observations
from presage.tasks import Engine

NAME = "shuffled target"
SIGNIFICANCE = 0.001
BENCHMARK: ModelName = "median"
_BY_COST: tuple[ModelName, ...] = (
    "ridge",
    "elastic_net",
    "logistic_regression",
    "xgboost",
    "lightgbm",
    "hist_gradient_boosting",
    "random_forest",
    "catboost",
)


def cheapest(spec: PredictionJobSpec) -> Model:
    """Return the cheapest of a job's learners, with its defaults; ridge where all it lists are of another kind."""
    listed = {model.name for model in spec.models}
    usual: ModelName = "logistic_regression" if spec.task == "Classification" else "ridge"
    return Model(name=next((name for name in _BY_COST if name in listed), usual))


def check_shuffled(panel: Panel, spec: PredictionJobSpec, *, season: int, engine: Engine, seed: int) -> Finding:
    """Walk forward over shuffled outcomes.

    Args:
        panel: The series.
        spec: The job.
        season: Bars in a season.
        engine: What runs the fits.
        seed: Seed of the shuffle.
    """
    learner = cheapest(spec)
    spec = spec.model_copy(update={"models": (learner, Model(name=BENCHMARK))})
    generator = np.random.default_rng(seed)
    shuffled = Panel.of([shuffle(frame, spec, generator) for frame in panel.frames])
    try:
        tested = back_test(shuffled, spec, season=season, engine=engine)
        changed = back_test(_changed(shuffled, tested), spec, season=season, engine=engine)
        scored = score(tested, "MAE", season)
    except DataError as error:
        return skipped(NAME, error.what)
    first = first_changed(tested, changed, learner.name)
    if first is not None:
        time = tested.frame.time[tested.rows[first]]
        return leak(
            NAME,
            "outcomes reach the fit",
            f"The forecast of {learner.name} from the bar at {time}Z changes with outcomes that are known after the "
            f"cut-off of its fold, {tested.folds[-1].cutoff}Z.",
            column=f"{spec.target.source}.{spec.target.column}",
        )
    losses = scored.losses
    return judge_skill(losses.by_contender[BENCHMARK], losses.by_contender[learner.name], losses.horizon, learner.name)


def judge_skill(benchmark: FloatArray, learner: FloatArray, horizon: int, name: str) -> Finding:
    """Tell whether a learner lost less than the median where there was nothing to learn.

    Args:
        benchmark: (d,) losses of the median.
        learner: (d,) losses of the learner at the same origins.
        horizon: Neighbouring origins whose losses share outcomes.
        name: Name of the learner.
    """
    test = diebold_mariano(loss_difference(benchmark, learner), horizon)
    if test is None:
        return skipped(NAME, f"{len(benchmark)} origins, or losses that do not vary, allow no test")
    skill = 1 - learner.mean() / benchmark.mean()
    found = (
        f"{name} has a skill of {100 * skill:.1f} % over the median (p = {test.p_value:.3f}, {len(learner)} origins)"
    )
    if test.p_value < SIGNIFICANCE:
        return leak(NAME, "outcomes reach the fit", f"On shuffled outcomes {found}.", column="")
    return passed(NAME, f"{found}; later outcomes change no forecast")


def first_changed(one: BackTest, other: BackTest, name: str) -> int | None:
    """Return the first place of the last fold at which two walks' forecasts differ in any bit; None for none."""
    last = np.flatnonzero(one.fold == one.folds[-1].number)
    ours, theirs = (walk.forecasts[name].mean[last] for walk in (one, other))
    row = first_unequal(ours, theirs)
    return None if row is None else int(last[row])


def shuffle(frame: Frame, spec: PredictionJobSpec, generator: np.random.Generator) -> Frame:
    """Return a series in which blocks of origins have changed their outcomes; levels and features stay."""
    order = block_order(len(frame), max(frame.horizon, round(len(frame) ** (1 / 3))), generator)
    transform, level = spec.target.transform, frame.level[:, None]
    outcome = to_level(transform, level, to_change(transform, level, frame.target_level)[order])
    known = np.isfinite(outcome) & np.isfinite(frame.target_level)
    return replace(frame, target_level=np.where(known, outcome, np.nan))


def shuffle_rows(observations: Observations, generator: np.random.Generator) -> Observations:
    """Return settled rows in which blocks have changed their outcomes."""
    order = block_order(len(observations), max(1, round(len(observations) ** (1 / 3))), generator)
    return replace(observations, outcome=observations.outcome[order])


def block_order(rows: int, block: int, generator: np.random.Generator) -> IntArray:
    """Return (rows,) places: blocks of neighbours in a random order, from a random start around the end."""
    start = int(generator.integers(rows)) if rows else 0
    blocks = np.array_split((np.arange(rows) + start) % max(rows, 1), max(1, rows // block))
    shuffled: Sequence[IntArray] = [blocks[place] for place in generator.permutation(len(blocks))]
    return np.concatenate(shuffled)


def _changed(panel: Panel, tested: BackTest) -> Panel:
    """Return a panel with other outcomes wherever they are known after the cut-off of the last fold."""
    cutoff = tested.folds[-1].cutoff
    frames = []
    for frame in panel.frames:
        later = frame.target_known_at > cutoff  # NaT compares as False
        other = frame.target_level + np.abs(frame.target_level) + 1
        frames.append(replace(frame, target_level=np.where(later, other, frame.target_level)))
    return Panel.of(frames)
