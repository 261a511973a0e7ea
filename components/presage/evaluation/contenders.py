"""The contenders of a job: which forecasters are judged, and how each is fitted."""

from __future__ import annotations

import hashlib
from collections import Counter
from dataclasses import dataclass, replace

from presage.features.config import FeatureConfig
from presage.frame import FloatArray, Frame
from presage.models.combination import combine
from presage.models.contract import Forecaster, Task
from presage.models.registry import baselines, load, trainer
from presage.spec.evaluation import Evaluation
from presage.spec.job import PredictionJobSpec
from presage.spec.models import BASELINE_NAMES, Model, ModelName
from presage.tasks import single_threaded

_COMBINATION: ModelName = "mean_combination"


@dataclass(frozen=True)
class Contender:
    """One forecaster of a job.

    Attributes:
        name: The model's name; a second model of that name is called `ridge_2`, a third `ridge_3`.
        model: The model with its parameters.
        baseline: Whether it is one of the baselines.
    """

    name: str
    model: Model
    baseline: bool

    @property
    def combines(self) -> bool:
        """Whether it is the mean of the job's other candidates instead of being fitted itself."""
        return self.model.name == _COMBINATION


def contenders(spec: PredictionJobSpec, task: Task, levels: FloatArray) -> tuple[Contender, ...]:
    """Return who forecasts: the baselines that always do, those that the job adds, then its candidates in their order.

    A baseline that the job lists with the settings that it has anyway does not run twice.

    Args:
        spec: The job.
        task: What is learnt; its seed does not matter.
        levels: (n,) float64; the target's levels, NaN at gaps.

    Raises:
        NotSupportedError: The job's task is a Classification.
    """
    always = baselines(task, levels, spec.task)
    settings = [(model.name, model.settings) for model in always]
    listed = [model for model in spec.models if (model.name, model.settings) not in settings]
    added = [model for model in listed if model.name in BASELINE_NAMES]
    candidates = [model for model in listed if model.name not in BASELINE_NAMES]
    seen: Counter[str] = Counter()
    named = []
    for model in (*always, *added, *candidates):
        seen[model.name] += 1
        name = model.name if seen[model.name] == 1 else f"{model.name}_{seen[model.name]}"
        named.append(Contender(name, model, model.name in BASELINE_NAMES))
    return tuple(named)


def fit(training: Frame, task: Task, contender: Contender, label: int | str) -> Forecaster:
    """Return a contender fitted, dumped and loaded again: what is judged is what is exported.

    Args:
        training: The training window as it stood at the cut-off.
        task: What is learnt; the seed of the fit is derived from the job's seed in it.
        contender: Whom to fit; none that combines.
        label: The fold, for the seed.

    Raises:
        DataError: The window holds too few usable rows.
    """
    seeded = replace(task, seed=seed_of(task.seed, contender.name, label))
    fitted = trainer(contender.model).fit(training, seeded)
    return load(contender.model.name, fitted.dump())


def training_window(frame: Frame, evaluation: Evaluation) -> Frame:
    """Return the rows that a fit on all that is known now learns from: all, or a Rolling job's newest `trainSize`."""
    if evaluation.window == "Expanding" or evaluation.train_size is None:
        return frame
    return frame.rows(max(0, len(frame) - evaluation.train_size), len(frame))


def final_fit(
    frame: Frame, spec: PredictionJobSpec, contender: Contender, *, season: int, config: FeatureConfig
) -> Forecaster:
    """Return a contender fitted on all that is known now, dumped and loaded again.

    Args:
        frame: The frame as it stands now; a Rolling job trains on its newest `trainSize` rows.
        spec: The job.
        contender: One of `contenders`.
        season: Bars in a season.
        config: Features that were selected on all that is known now.

    Raises:
        DataError: The frame holds too few usable rows.
        NotSupportedError: `mean_combination` has nothing to combine.
    """
    task = Task(spec.target.transform, spec.target.horizon, season, spec.seed)
    known = training_window(frame, spec.evaluation).with_features(config.kept)
    with single_threaded():
        if not contender.combines:
            return fit(known, task, contender, "final")
        others = [other for other in contenders(spec, task, frame.level) if not (other.baseline or other.combines)]
        combined = combine({other.name: fit(known, task, other, "final") for other in others})
        return load(_COMBINATION, combined.dump())


def seed_of(seed: int, *labels: int | str) -> int:
    """Return a seed from 0 to 2^31 - 1 that depends on nothing but its arguments."""
    text = "/".join(str(part) for part in (seed, *labels))
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:4], "big") >> 1
