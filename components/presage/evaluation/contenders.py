"""The contenders of a job: which forecasters are judged, and how each is fitted."""

from __future__ import annotations

import hashlib
from collections import Counter
from dataclasses import dataclass, field, replace

import numpy as np

from presage.errors import NotSupportedError
from presage.evaluation.search import search
from presage.frame import Frame, Panel
from presage.models.contract import Forecaster, Task
from presage.models.registry import baselines, load, trainer
from presage.spec.evaluation import Evaluation
from presage.spec.job import PredictionJobSpec
from presage.spec.models import BASELINE_NAMES, COMBINATION_NAMES, Model, WeightedCombinationParameters

_OF_ONE_SERIES = frozenset({*BASELINE_NAMES, "theta", "auto_arima", "auto_ets", "prophet"})
_LEARN_NOTHING = frozenset({"naive", "seasonal_naive", "drift", "window_mean", "zero"})


@dataclass(frozen=True)
class Contender:
    """One forecaster of a job.

    Attributes:
        name: The model's name; a second model of that name is called `ridge_2`, a third `ridge_3`.
        model: The model with its parameters.
        baseline: Whether it is one of the baselines.
        evaluation: How the job judges, which a search of parameters does alike.
    """

    name: str
    model: Model
    baseline: bool
    evaluation: Evaluation = field(default_factory=Evaluation)

    @property
    def combines(self) -> bool:
        """Whether it is a mean of the job's other candidates instead of being fitted itself."""
        return self.model.name in COMBINATION_NAMES

    @property
    def weights_window(self) -> int | None:
        """Newest origins whose errors set the weights of a combination; None where all weigh the same."""
        settings = self.model.settings
        return settings.window if isinstance(settings, WeightedCombinationParameters) else None

    @property
    def learns(self) -> bool:
        """Whether its forecasts depend on what it was fitted on; those of others read the history up to the origin."""
        return self.model.name not in _LEARN_NOTHING

    @property
    def shared(self) -> bool:
        """Whether one fit learns from all series of a panel; else each series has its own."""
        return self.model.scope == "Global" or (self.model.scope == "Auto" and self.model.name not in _OF_ONE_SERIES)


def contenders(spec: PredictionJobSpec, task: Task, panel: Panel) -> tuple[Contender, ...]:
    """Return who forecasts: the baselines that always do, those that the job adds, then its candidates in their order.

    A baseline that the job lists with the settings that it has anyway does not run twice.

    Args:
        spec: The job.
        task: What is learnt; its seed does not matter.
        panel: All origins of the series.

    Raises:
        NotSupportedError: The job's task is a Classification, or a model that reads the history of one series is to
            learn from all.
    """
    for model in spec.models:
        if model.scope == "Global" and model.name in _OF_ONE_SERIES:
            raise NotSupportedError(
                f"spec.models: {model.name} reads the history of one series; scope Global asks it to learn from all.",
                "Leave its scope out.",
            )
    longest = max(int(np.isfinite(frame.level).sum()) for frame in panel.frames)
    always = [
        model
        for model in baselines(task, panel.whole.level, spec.task)
        if model.name != "seasonal_naive" or task.season < longest
    ]
    settings = [(model.name, model.settings) for model in always]
    listed = [model for model in spec.models if (model.name, model.settings) not in settings]
    added = [model for model in listed if model.name in BASELINE_NAMES]
    candidates = [model for model in listed if model.name not in BASELINE_NAMES]
    seen: Counter[str] = Counter()
    named = []
    for model in (*always, *added, *candidates):
        seen[model.name] += 1
        name = model.name if seen[model.name] == 1 else f"{model.name}_{seen[model.name]}"
        named.append(Contender(name, model, model.name in BASELINE_NAMES, spec.evaluation))
    return tuple(named)


def fit(training: Frame, task: Task, contender: Contender, label: int | str) -> Forecaster:
    """Return a contender fitted, dumped and loaded again: what is judged is what is exported.

    Parameters that the job lets search are searched first, on the training window alone.

    Args:
        training: The training window as it stood at the cut-off; of a panel, its series' rows in order of origin.
        task: What is learnt; the seed of the fit is derived from the job's seed in it.
        contender: Whom to fit; none that combines.
        label: The fold, for the seed.

    Raises:
        DataError: The window holds too few usable rows.
    """
    seeded = replace(task, seed=seed_of(task.seed, contender.name, label))
    fitted = trainer(search(contender.model, training, seeded, contender.evaluation)).fit(training, seeded)
    return load(contender.model.name, fitted.dump())


def seed_of(seed: int, *labels: int | str) -> int:
    """Return a seed from 0 to 2^31 - 1 that depends on nothing but its arguments."""
    text = "/".join(str(part) for part in (seed, *labels))
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:4], "big") >> 1
