"""The forecasters by name, and the parameters that each takes."""

from __future__ import annotations

from typing import Annotated, ClassVar, Literal

from pydantic import Field, ValidationError, model_validator
from pydantic_core import PydanticCustomError

from presage.spec.base import SpecModel

ModelName = Literal[
    "naive",
    "seasonal_naive",
    "drift",
    "window_mean",
    "zero",
    "median",
    "ridge",
    "xgboost",
    "catboost",
    "theta",
    "mean_combination",
]
BASELINE_NAMES: tuple[ModelName, ...] = ("naive", "seasonal_naive", "drift", "window_mean", "zero", "median")


class NoParameters(SpecModel):
    """Parameters of a forecaster that has none."""


class WindowMeanParameters(SpecModel):
    """Parameters of `window_mean`."""

    window: Annotated[int, Field(ge=1, le=100000)] = 22
    """Newest bars to average."""


class RidgeParameters(SpecModel):
    """Parameters of `ridge`."""

    alpha: Annotated[float, Field(ge=0)] = 1.0
    """Weight of the penalty on standardised coefficients."""


class XGBoostParameters(SpecModel):
    """Parameters of `xgboost`, under the library's own names."""

    n_estimators: Annotated[int, Field(ge=1, le=10000)] = 200
    """Trees."""
    max_depth: Annotated[int, Field(ge=1, le=16)] = 3
    """Levels of a tree."""
    learning_rate: Annotated[float, Field(gt=0, le=1)] = 0.05
    """Share of each tree that is added."""
    min_child_weight: Annotated[float, Field(ge=0)] = 10.0
    """Least weight of rows in a leaf."""
    subsample: Annotated[float, Field(gt=0, le=1)] = 0.8
    """Share of rows that each tree sees."""
    colsample_bytree: Annotated[float, Field(gt=0, le=1)] = 1.0
    """Share of features that each tree sees."""
    reg_lambda: Annotated[float, Field(ge=0)] = 1.0
    """L2 penalty on leaf weights."""
    objective: Literal["reg:squarederror", "reg:absoluteerror"] = "reg:squarederror"
    """Loss to fit."""


class CatBoostParameters(SpecModel):
    """Parameters of `catboost`, under the library's own names."""

    iterations: Annotated[int, Field(ge=1, le=10000)] = 200
    """Trees."""
    depth: Annotated[int, Field(ge=1, le=12)] = 4
    """Levels of a tree."""
    learning_rate: Annotated[float, Field(gt=0, le=1)] = 0.05
    """Share of each tree that is added."""
    l2_leaf_reg: Annotated[float, Field(ge=0)] = 3.0
    """L2 penalty on leaf values."""
    loss_function: Literal["RMSE", "MAE"] = "RMSE"
    """Loss to fit."""


ModelParameters = NoParameters | WindowMeanParameters | RidgeParameters | XGBoostParameters | CatBoostParameters

PARAMETERS: dict[ModelName, type[ModelParameters]] = {
    "naive": NoParameters,
    "seasonal_naive": NoParameters,
    "drift": NoParameters,
    "window_mean": WindowMeanParameters,
    "zero": NoParameters,
    "median": NoParameters,
    "ridge": RidgeParameters,
    "xgboost": XGBoostParameters,
    "catboost": CatBoostParameters,
    "theta": NoParameters,
    "mean_combination": NoParameters,
}

ParameterValue = bool | int | float | str


class Model(SpecModel):
    """One forecaster to train and judge. Baselines are always judged beside those listed."""

    name: ModelName
    """Forecaster."""
    parameters: Annotated[dict[str, ParameterValue], Field(max_length=64)] = {}
    """The forecaster's own parameters, under their snake_case names; default: see the reference."""

    preserve_unknown: ClassVar[tuple[str, ...]] = ("parameters",)

    @property
    def settings(self) -> ModelParameters:
        """The parameters as the forecaster's own frozen type."""
        return PARAMETERS[self.name].model_validate(self.parameters, strict=True, by_alias=False, by_name=True)

    @model_validator(mode="after")
    def _parameters_fit_the_forecaster(self) -> Model:
        try:
            _ = self.settings
        except ValidationError as error:
            raise PydanticCustomError("parameters", "parameters of {name}", {"name": self.name}) from error
        return self
