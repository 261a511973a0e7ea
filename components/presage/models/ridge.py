"""Ridge regression (Hoerl & Kennard, Technometrics 12, 1970, pp. 55-67) on standardised features."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from pydantic import BaseModel, ConfigDict, ValidationError
from sklearn.linear_model import Ridge
from threadpoolctl import threadpool_limits

from presage.frame import FloatArray, IntArray
from presage.models.direct import DirectTrainer, varying
from presage.models.state import unreadable
from presage.spec.models import ModelName, RidgeParameters


class _LinearFile(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, allow_inf_nan=False)

    intercept: float
    columns: tuple[int, ...]
    mean: tuple[float, ...]
    scale: tuple[float, ...]
    coefficient: tuple[float, ...]


@dataclass(frozen=True)
class LinearRegressor:
    """A linear function of standardised features; a missing one counts as its mean.

    Attributes:
        width: Features there are, p.
        intercept: Value where every feature is at its mean.
        columns: (c,) places of the features that are used.
        mean: (c,) mean of each in the training window.
        scale: (c,) standard deviation of each in the training window.
        coefficient: (c,) weight of each after standardisation.
    """

    width: int
    intercept: float
    columns: IntArray
    mean: FloatArray
    scale: FloatArray
    coefficient: FloatArray

    @property
    def suffix(self) -> str:
        """What its file's name ends with."""
        return "json"

    def predict(self, features: FloatArray) -> FloatArray:
        """Return (r,) values."""
        standardised = _standardise(np.take(features, self.columns, axis=1), self.mean, self.scale)
        # A matrix product may round a row differently among other rows.
        return np.asarray(np.sum(standardised * self.coefficient, axis=1) + self.intercept)

    def importance(self) -> FloatArray:
        """Return (p,) the size of each weight."""
        weights = np.zeros(self.width)
        weights[self.columns] = np.abs(self.coefficient)
        return weights

    def dump(self) -> bytes:
        """Return the numbers as JSON, exact to the last bit."""
        file = _LinearFile(
            intercept=self.intercept,
            columns=tuple(self.columns.tolist()),
            mean=tuple(self.mean.tolist()),
            scale=tuple(self.scale.tolist()),
            coefficient=tuple(self.coefficient.tolist()),
        )
        return file.model_dump_json().encode()


@dataclass(frozen=True)
class RidgeEstimator:
    """Fits a ridge regression: least squares with a penalty of alpha times the sum of squared weights."""

    alpha: float

    @property
    def name(self) -> ModelName:
        """The forecaster's name."""
        return "ridge"

    def fit(self, features: FloatArray, outcome: FloatArray, seed: int) -> LinearRegressor:  # noqa: ARG002 - no chance in it
        """Fit on the columns of (m, p) features that vary."""
        columns = np.flatnonzero(varying(features))
        kept = features[:, columns]
        mean = np.nanmean(kept, axis=0)
        scale = np.nanstd(kept, axis=0)
        standardised = _standardise(kept, mean, scale)
        with threadpool_limits(1):
            # The singular value decomposition also stands alpha = 0 and columns that repeat one another.
            ridge = Ridge(alpha=self.alpha, solver="svd").fit(standardised, outcome)
        return LinearRegressor(
            width=features.shape[1],
            intercept=float(ridge.intercept_),
            columns=columns,
            mean=mean,
            scale=scale,
            coefficient=np.asarray(ridge.coef_, dtype=np.float64),
        )

    def load(self, content: bytes, width: int) -> LinearRegressor:
        """Return the regressor that `dump` wrote; raises LakeError for anything else."""
        try:
            file = _LinearFile.model_validate_json(content)
        except ValidationError as error:
            raise unreadable("a step of ridge is no linear function") from error
        lengths = {len(file.columns), len(file.mean), len(file.scale), len(file.coefficient)}
        if len(lengths) > 1 or any(not 0 <= column < width for column in file.columns):
            raise unreadable(f"a step of ridge is no linear function of {width} features")
        return LinearRegressor(
            width=width,
            intercept=file.intercept,
            columns=np.array(file.columns, dtype=np.intp),
            mean=np.array(file.mean),
            scale=np.array(file.scale),
            coefficient=np.array(file.coefficient),
        )


def trainer(settings: RidgeParameters) -> DirectTrainer:
    """Return the trainer of ridge regression."""
    return DirectTrainer(RidgeEstimator(alpha=settings.alpha))


def _standardise(features: FloatArray, mean: FloatArray, scale: FloatArray) -> FloatArray:
    standardised = (features - mean) / scale
    return np.where(np.isnan(standardised), 0.0, standardised)
