"""The forecasters by name, and the parameters that each takes."""

from __future__ import annotations

from typing import Annotated, ClassVar, Literal, get_args

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
    "prevalence",
    "ridge",
    "elastic_net",
    "logistic_regression",
    "random_forest",
    "hist_gradient_boosting",
    "xgboost",
    "lightgbm",
    "catboost",
    "theta",
    "auto_arima",
    "auto_ets",
    "prophet",
    "mean_combination",
    "weighted_combination",
]
BASELINE_NAMES: tuple[ModelName, ...] = (
    "naive",
    "seasonal_naive",
    "drift",
    "window_mean",
    "zero",
    "median",
    "prevalence",
)
CLASSIFIER_NAMES: tuple[ModelName, ...] = (
    "prevalence",
    "logistic_regression",
    "random_forest",
    "hist_gradient_boosting",
    "xgboost",
    "lightgbm",
    "catboost",
)
"""Those that give a probability, for Classification."""
REGRESSOR_NAMES: tuple[ModelName, ...] = (
    "median",
    "ridge",
    "elastic_net",
    "random_forest",
    "hist_gradient_boosting",
    "xgboost",
    "lightgbm",
    "catboost",
)
"""Those that learn from features alone, for Regression."""
FORECASTER_NAMES: tuple[ModelName, ...] = tuple(
    name for name in get_args(ModelName) if name not in ("prevalence", "logistic_regression")
)
"""Those that forecast, for Forecast."""
TASK_MODELS: dict[str, tuple[ModelName, ...]] = {
    "Forecast": FORECASTER_NAMES,
    "Regression": REGRESSOR_NAMES,
    "Classification": CLASSIFIER_NAMES,
}
"""By task, the models that it takes."""
COMBINATION_NAMES: tuple[ModelName, ...] = ("mean_combination", "weighted_combination")
"""Those that are made of the job's other candidates."""


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


class ElasticNetParameters(SpecModel):
    """Parameters of `elastic_net`, under scikit-learn's own names; features and outcomes are standardised."""

    alpha: Annotated[float, Field(gt=0)] = 0.01
    """Weight of the penalty."""
    l1_ratio: Annotated[float, Field(gt=0, le=1)] = 0.5
    """Share of the L1 penalty in it."""


class LogisticRegressionParameters(SpecModel):
    """Parameters of `logistic_regression`, under scikit-learn's own names; features are standardised."""

    C: Annotated[float, Field(gt=0)] = 1.0
    """Inverse of the weight of the L2 penalty."""


class RandomForestParameters(SpecModel):
    """Parameters of `random_forest`, under scikit-learn's own names."""

    n_estimators: Annotated[int, Field(ge=1, le=10000)] = 100
    """Trees."""
    max_depth: Annotated[int, Field(ge=1, le=64)] = 8
    """Levels of a tree."""
    min_samples_leaf: Annotated[int, Field(ge=1, le=1000000)] = 10
    """Least rows in a leaf."""
    max_features: Annotated[float, Field(gt=0, le=1)] = 0.5
    """Share of features that each split looks at."""


class HistGradientBoostingParameters(SpecModel):
    """Parameters of `hist_gradient_boosting`, under scikit-learn's own names."""

    max_iter: Annotated[int, Field(ge=1, le=10000)] = 200
    """Trees."""
    max_depth: Annotated[int, Field(ge=1, le=64)] = 3
    """Levels of a tree."""
    learning_rate: Annotated[float, Field(gt=0, le=1)] = 0.05
    """Share of each tree that is added."""
    min_samples_leaf: Annotated[int, Field(ge=1, le=1000000)] = 20
    """Least rows in a leaf."""
    l2_regularization: Annotated[float, Field(ge=0)] = 1.0
    """L2 penalty on leaf values."""
    loss: Literal["squared_error", "absolute_error"] = "squared_error"
    """Loss to fit; a classifier fits log loss."""


class LightGBMParameters(SpecModel):
    """Parameters of `lightgbm`, under the library's own names."""

    n_estimators: Annotated[int, Field(ge=1, le=10000)] = 200
    """Trees."""
    num_leaves: Annotated[int, Field(ge=2, le=4096)] = 15
    """Leaves of a tree."""
    learning_rate: Annotated[float, Field(gt=0, le=1)] = 0.05
    """Share of each tree that is added."""
    min_child_samples: Annotated[int, Field(ge=1, le=1000000)] = 20
    """Least rows in a leaf."""
    reg_lambda: Annotated[float, Field(ge=0)] = 1.0
    """L2 penalty on leaf values."""
    objective: Literal["regression", "regression_l1"] = "regression"
    """Loss to fit; a classifier fits log loss."""


class ProphetParameters(SpecModel):
    """Parameters of `prophet`, under the library's own names."""

    growth: Literal["linear", "flat"] = "linear"
    """Shape of the trend."""
    changepoint_prior_scale: Annotated[float, Field(gt=0)] = 0.05
    """How readily the trend bends."""
    seasonality_prior_scale: Annotated[float, Field(gt=0)] = 10.0
    """How strong seasons may be."""
    seasonality_mode: Literal["additive", "multiplicative"] = "additive"
    """How seasons join the trend."""
    yearly_seasonality: bool | Literal["auto"] = "auto"
    """Whether there is a season of a year."""
    weekly_seasonality: bool | Literal["auto"] = "auto"
    """Whether there is a season of a week."""
    daily_seasonality: bool | Literal["auto"] = "auto"
    """Whether there is a season of a day."""


class AutoARIMAParameters(SpecModel):
    """Parameters of `auto_arima`, under statsforecast's own names."""

    max_p: Annotated[int, Field(ge=0, le=20)] = 3
    """Most autoregressive terms."""
    max_q: Annotated[int, Field(ge=0, le=20)] = 3
    """Most moving-average terms."""
    seasonal: bool = False
    """Whether seasonal terms are tried."""


class AutoETSParameters(SpecModel):
    """Parameters of `auto_ets`, under statsforecast's own names."""

    model: Annotated[str, Field(pattern=r"^(A[NAZ][NAZ]|[MZ][NAZ][NAMZ]|[MZ]M[NMZ])$", max_length=3)] = "ZZN"
    """Error, trend and season: A additive, M multiplicative, N none, Z chosen by the corrected Akaike criterion."""
    damped: bool | None = None
    """Whether the trend is damped; default: as the criterion chooses."""


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


class WeightedCombinationParameters(SpecModel):
    """Parameters of `weighted_combination`."""

    window: Annotated[int, Field(ge=10, le=100000)] = 100
    """Newest origins with known outcomes whose squared errors set the weights: a member's weight is the inverse of its
    mean squared error (Bates & Granger, Operational Research Quarterly 20, 1969, pp. 451-468)."""


ModelParameters = (
    NoParameters
    | WindowMeanParameters
    | RidgeParameters
    | ElasticNetParameters
    | LogisticRegressionParameters
    | RandomForestParameters
    | HistGradientBoostingParameters
    | XGBoostParameters
    | LightGBMParameters
    | CatBoostParameters
    | AutoARIMAParameters
    | AutoETSParameters
    | ProphetParameters
    | WeightedCombinationParameters
)

PARAMETERS: dict[ModelName, type[ModelParameters]] = {
    "naive": NoParameters,
    "seasonal_naive": NoParameters,
    "drift": NoParameters,
    "window_mean": WindowMeanParameters,
    "zero": NoParameters,
    "median": NoParameters,
    "prevalence": NoParameters,
    "ridge": RidgeParameters,
    "elastic_net": ElasticNetParameters,
    "logistic_regression": LogisticRegressionParameters,
    "random_forest": RandomForestParameters,
    "hist_gradient_boosting": HistGradientBoostingParameters,
    "xgboost": XGBoostParameters,
    "lightgbm": LightGBMParameters,
    "catboost": CatBoostParameters,
    "theta": NoParameters,
    "auto_arima": AutoARIMAParameters,
    "auto_ets": AutoETSParameters,
    "prophet": ProphetParameters,
    "mean_combination": NoParameters,
    "weighted_combination": WeightedCombinationParameters,
}

ParameterValue = bool | int | float | str


class SearchRange(SpecModel):
    """Values that a search may give one parameter: a range, or a list."""

    low: float | None = None
    """Least value."""
    high: float | None = None
    """Greatest value."""
    log: bool = False
    """Whether the range is searched on a logarithmic scale."""
    choices: Annotated[tuple[ParameterValue, ...], Field(max_length=64)] = ()
    """The values, in place of a range."""

    @model_validator(mode="after")
    def _range_or_choices(self) -> SearchRange:
        is_range = self.low is not None and self.high is not None and self.low < self.high
        is_range = is_range and (not self.log or (self.low or 0.0) > 0)
        if self.choices and self.low is None and self.high is None:
            return self
        if self.choices or not is_range:
            raise PydanticCustomError("range", "either choices, or low below high, and above 0 on a logarithmic scale")
        return self


class Search(SpecModel):
    """Search of parameters inside each training window, by time-ordered validation; what was tried is counted."""

    trials: Annotated[int, Field(ge=2, le=1000)] = 20
    """Configurations to try."""
    folds: Annotated[int, Field(ge=1, le=20)] = 3
    """Blocks at the end of the training window that they are validated on."""
    parameters: Annotated[dict[str, SearchRange], Field(max_length=32)]
    """By parameter, one at least, the values that it may have."""

    preserve_unknown: ClassVar[tuple[str, ...]] = ("parameters",)

    @model_validator(mode="after")
    def _something_to_search(self) -> Search:
        if not self.parameters:
            raise PydanticCustomError("field", "one parameter at least", {"field": "parameters"})
        return self


class Model(SpecModel):
    """One forecaster to train and judge. Baselines are always judged beside those listed."""

    name: ModelName
    """Forecaster."""
    parameters: Annotated[dict[str, ParameterValue], Field(max_length=64)] = {}
    """The forecaster's own parameters, under their snake_case names; default: see the reference."""
    search: Search | None = None
    """Which parameters are searched for; default: none."""
    scope: Literal["Auto", "Global", "PerSeries"] = "Auto"
    """Whether one fit learns from all series of a panel, or each series has its own. Auto: those that learn from
    features are global, statistical ones and baselines per series."""

    preserve_unknown: ClassVar[tuple[str, ...]] = ("parameters",)

    @property
    def settings(self) -> ModelParameters:
        """The parameters as the forecaster's own frozen type."""
        return PARAMETERS[self.name].model_validate(self.parameters, strict=True, by_alias=False, by_name=True)

    @property
    def whole_parameters(self) -> frozenset[str]:
        """The parameters that are whole numbers."""
        fields = PARAMETERS[self.name].model_fields
        return frozenset(name for name, field in fields.items() if type(field.default) is int)

    @model_validator(mode="after")
    def _parameters_fit_the_forecaster(self) -> Model:
        try:
            _ = self.settings
        except ValidationError as error:
            raise PydanticCustomError("parameters", "parameters of {name}", {"name": self.name}) from error
        return self

    @model_validator(mode="after")
    def _search_fits_the_forecaster(self) -> Model:
        if self.search is None:
            return self
        names = () if self.name in (*BASELINE_NAMES, *COMBINATION_NAMES) else tuple(PARAMETERS[self.name].model_fields)
        for name, values in self.search.parameters.items():
            if name not in names:
                allowed = f"{name!r} is none of the parameters of {self.name} that can be searched"
                raise _search_fault(f"{allowed}: {', '.join(names) or 'it has none'}")
            if name in self.parameters:
                raise _search_fault(f"{name} is given in parameters as well; it is either given or searched")
            self._check_values(name, values)
        return self

    def _check_values(self, name: str, values: SearchRange) -> None:
        ends = tuple(end for end in (values.low, values.high) if end is not None)
        whole = name in self.whole_parameters
        for value in (*values.choices, *ends):
            tried = int(value) if whole and isinstance(value, float) and value.is_integer() else value
            try:
                PARAMETERS[self.name].model_validate(
                    {**self.parameters, name: tried}, strict=True, by_alias=False, by_name=True
                )
            except ValidationError as error:
                reason = error.errors(include_url=False)[0]["msg"]
                raise _search_fault(
                    f"{name} of {self.name} cannot be {value}: {reason[:1].lower()}{reason[1:]}"
                ) from error


def _search_fault(reason: str) -> PydanticCustomError:
    return PydanticCustomError("field", "{reason}", {"field": "search", "reason": reason})
