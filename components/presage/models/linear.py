"""Linear functions of standardised features, kept as their coefficients."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from pydantic import BaseModel, ConfigDict, ValidationError
from scipy.special import expit

from presage.frame import FloatArray, IntArray
from presage.models.direct import varying
from presage.models.state import unreadable
from presage.spec.models import ModelName


class _LinearFile(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, allow_inf_nan=False)

    intercept: float
    columns: tuple[int, ...]
    mean: tuple[float, ...]
    scale: tuple[float, ...]
    coefficient: tuple[float, ...]


@dataclass(frozen=True)
class Standardised:
    """The columns of a table that vary, each with mean 0 and standard deviation 1; a missing value counts as the mean.

    Attributes:
        columns: (c,) places of the columns.
        mean: (c,) mean of each.
        scale: (c,) standard deviation of each.
        values: (m, c) what they are after standardisation.
    """

    columns: IntArray
    mean: FloatArray
    scale: FloatArray
    values: FloatArray

    @classmethod
    def of(cls, features: FloatArray) -> Standardised:
        """Return the columns of (m, p) features that vary."""
        columns = np.flatnonzero(varying(features))
        kept = features[:, columns]
        mean, scale = np.nanmean(kept, axis=0), np.nanstd(kept, axis=0)
        return cls(columns, mean, scale, _standardise(kept, mean, scale))


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
        log_odds: Whether the value is the log odds of a probability, which is then what is predicted.
    """

    width: int
    intercept: float
    columns: IntArray
    mean: FloatArray
    scale: FloatArray
    coefficient: FloatArray
    log_odds: bool = False

    @property
    def suffix(self) -> str:
        """What its file's name ends with."""
        return "json"

    def predict(self, features: FloatArray) -> FloatArray:
        """Return (r,) values."""
        standardised = _standardise(np.take(features, self.columns, axis=1), self.mean, self.scale)
        # A matrix product may round a row differently among other rows.
        values = np.sum(standardised * self.coefficient, axis=1) + self.intercept
        return np.asarray(expit(values) if self.log_odds else values)

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


def load_linear(content: bytes, width: int, name: ModelName, *, log_odds: bool = False) -> LinearRegressor:
    """Return the function of p = width features that was dumped; raises LakeError for anything else."""
    try:
        file = _LinearFile.model_validate_json(content)
    except ValidationError as error:
        raise unreadable(f"a step of {name} is no linear function") from error
    lengths = {len(file.columns), len(file.mean), len(file.scale), len(file.coefficient)}
    if len(lengths) > 1 or any(not 0 <= column < width for column in file.columns):
        raise unreadable(f"a step of {name} is no linear function of {width} features")
    return LinearRegressor(
        width=width,
        intercept=file.intercept,
        columns=np.array(file.columns, dtype=np.intp),
        mean=np.array(file.mean),
        scale=np.array(file.scale),
        coefficient=np.array(file.coefficient),
        log_odds=log_odds,
    )


def _standardise(features: FloatArray, mean: FloatArray, scale: FloatArray) -> FloatArray:
    standardised = (features - mean) / scale
    return np.where(np.isnan(standardised), 0.0, standardised)
