"""Each metric against another formula for it: scikit-learn's, a closed form, or a sum by hand."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats
from sklearn import metrics as reference

from presage.errors import DataError
from presage.evaluation.metrics import displayed, hits, interval, measure, origin_losses, seasonal_scale
from presage.evaluation.scorecard import Metrics
from presage.frame import FloatArray
from presage.spec.evaluation import Metric

PROBABILITIES = np.array([0.025, 0.05, 0.1, 0.25, 0.5, 0.75, 0.9, 0.95, 0.975])
METRICS: tuple[Metric, ...] = ("MAE", "RMSE", "MAPE", "sMAPE", "MASE", "CRPS")


class Draw:
    """200 origins of 3 steps ahead: positive levels, and quantiles that are right in distribution."""

    def __init__(self, seed: int = 1) -> None:
        generator = np.random.default_rng(seed)
        self.level = 10 + generator.gamma(2.0, 1.0, 200)
        self.mean = self.level[:, None] + generator.normal(0, 0.5, (200, 3))
        self.outcome = self.mean + generator.normal(0, 1, (200, 3))
        self.quantiles = self.mean[..., None] + stats.norm.ppf(PROBABILITIES)
        self.scale = np.where(np.arange(200) < 100, 0.5, 2.0)

    def losses(self, metric: Metric) -> FloatArray:
        return origin_losses(
            metric,
            self.outcome,
            self.mean,
            quantiles=self.quantiles,
            probabilities=PROBABILITIES,
            scale=self.scale,
        )

    def measure(self) -> Metrics:
        return measure(
            self.outcome,
            self.mean,
            quantiles=self.quantiles,
            probabilities=PROBABILITIES,
            level=self.level,
            scale=self.scale,
            coverage_level=0.9,
        )


def test_errors_are_those_of_scikit_learn() -> None:
    draw = Draw()
    found = draw.measure()
    truth, forecast = draw.outcome.ravel(), draw.mean.ravel()
    assert found.mae == pytest.approx(reference.mean_absolute_error(truth, forecast))
    assert found.rmse == pytest.approx(reference.root_mean_squared_error(truth, forecast))
    assert found.mape == pytest.approx(100 * reference.mean_absolute_percentage_error(truth, forecast))
    pinball = [
        reference.mean_pinball_loss(truth, draw.quantiles[..., place].ravel(), alpha=probability)
        for place, probability in enumerate(PROBABILITIES)
    ]
    assert found.pinball == pytest.approx(np.mean(pinball))


def test_scaled_and_relative_errors_are_those_summed_by_hand() -> None:
    draw = Draw()
    found = draw.measure()
    symmetric, scaled, model, naive = 0.0, 0.0, 0.0, 0.0
    for row in range(200):
        for step in range(3):
            y, f, x = draw.outcome[row, step], draw.mean[row, step], draw.level[row]
            symmetric += 200 * abs(y - f) / (abs(y) + abs(f)) / 600
            scaled += abs(y - f) / draw.scale[row] / 600
            model += ((f - y) / x) ** 2
            naive += ((x - y) / x) ** 2
    assert found.smape == pytest.approx(symmetric)
    assert found.mase == pytest.approx(scaled)
    assert found.theil_u == pytest.approx((model / naive) ** 0.5)


def test_the_mean_of_the_origins_losses_is_the_metric() -> None:
    draw = Draw()
    found = draw.measure()
    values = (found.mae, found.rmse, found.mape, found.smape, found.mase, found.crps)
    for metric, value in zip(METRICS, values, strict=True):
        losses = draw.losses(metric)
        assert losses.shape == (200,)
        assert displayed(metric, losses) == pytest.approx(value), metric


def test_crps_of_evenly_spread_quantiles_is_that_of_their_empirical_distribution() -> None:
    # The energy form, E|X - y| - E|X - X'| / 2, knows nothing of quantiles or pinball losses.
    generator = np.random.default_rng(2)
    members = np.sort(generator.normal(3, 2, (50, 1, 40)), axis=-1)
    outcome = generator.normal(3, 2, (50, 1))
    spread = np.abs(members[..., :, None] - members[..., None, :]).mean(axis=(-1, -2))
    energy = np.abs(members - outcome[..., None]).mean(axis=-1) - spread / 2
    found = origin_losses(
        "CRPS",
        outcome,
        members.mean(axis=-1),
        quantiles=members,
        probabilities=(np.arange(40) + 0.5) / 40,
        scale=np.ones(50),
    )
    assert found == pytest.approx(energy[:, 0])


def test_crps_on_nine_probabilities_is_within_four_percent_of_the_closed_form_of_the_normal() -> None:
    generator = np.random.default_rng(3)
    outcome = generator.normal(0, 1, (20_000, 1))
    quantiles = np.broadcast_to(stats.norm.ppf(PROBABILITIES), (20_000, 1, 9))
    found = origin_losses(
        "CRPS", outcome, 0 * outcome, quantiles=quantiles, probabilities=PROBABILITIES, scale=np.ones(20_000)
    ).mean()
    # Gneiting & Raftery, Journal of the American Statistical Association 102, 2007, equation 5.
    exact = (outcome * (2 * stats.norm.cdf(outcome) - 1) + 2 * stats.norm.pdf(outcome) - 1 / np.sqrt(np.pi)).mean()
    assert 0.96 * exact < found < exact


def test_crps_of_a_point_forecast_is_its_absolute_error() -> None:
    draw = Draw()
    draw.quantiles = np.repeat(draw.mean[..., None], 9, axis=-1)
    assert draw.losses("CRPS") == pytest.approx(draw.losses("MAE"))


@pytest.mark.parametrize(
    ("forecast", "accuracy"),
    [
        pytest.param([11.0, 9.0, 11.0, 9.0], 1.0, id="always on the right side"),
        pytest.param([9.0, 11.0, 9.0, 11.0], 0.0, id="always on the wrong side"),
        pytest.param([10.0, 10.0, 10.0, 10.0], 0.5, id="no change counts one half"),
        pytest.param([11.0, 11.0, 10.0, 10.0], 0.5, id="one right, one wrong, two undecided"),
    ],
)
def test_directional_accuracy(forecast: list[float], accuracy: float) -> None:
    outcome = np.array([12.0, 8.0, 12.0, 8.0, 10.0])[:, None]
    mean = np.array([*forecast, 99.0])[:, None]  # the last outcome did not move, so its forecast does not count
    found = measure(
        outcome,
        mean,
        quantiles=mean[..., None],
        probabilities=np.array([0.5]),
        level=np.full(5, 10.0),
        scale=np.ones(5),
        coverage_level=0.0,
    )
    assert found.directional_accuracy == accuracy


def test_the_naive_forecast_has_a_theil_u_of_one_and_no_direction() -> None:
    draw = Draw()
    draw.mean = np.repeat(draw.level[:, None], 3, axis=1)
    found = draw.measure()
    assert found.theil_u == pytest.approx(1)
    assert found.directional_accuracy == 0.5


def test_what_is_not_defined_is_none() -> None:
    zeros, ones = np.zeros((5, 1)), np.ones((5, 1))
    found = measure(
        zeros,
        ones,
        quantiles=ones[..., None],
        probabilities=np.array([0.5]),
        level=np.zeros(5),
        scale=np.full(5, np.nan),
        coverage_level=0.0,
    )
    assert (found.mape, found.mase, found.theil_u, found.directional_accuracy) == (None, None, None, None)
    assert (found.mae, found.smape, found.coverage) == (1.0, 200.0, 0.0)


def test_a_perfect_forecast_of_zero_has_no_symmetric_error() -> None:
    zeros = np.zeros((5, 1))
    found = origin_losses(
        "sMAPE", zeros, zeros, quantiles=zeros[..., None], probabilities=np.array([0.5]), scale=np.ones(5)
    )
    assert found.tolist() == [0.0] * 5


@pytest.mark.parametrize(("metric", "what"), [("MAPE", "2 of 600 scored outcomes are 0"), ("MASE", "3 of 200 scored")])
def test_a_loss_that_is_not_defined_stops_with_what_to_do(metric: Metric, what: str) -> None:
    draw = Draw()
    draw.outcome[4, :2] = 0
    draw.scale[:2], draw.scale[2] = 0, np.nan
    with pytest.raises(DataError, match=what) as caught:
        draw.losses(metric)
    assert "evaluation.metric" in caught.value.remedy


def test_a_forecast_too_large_for_its_square_has_an_infinite_loss_and_no_warning() -> None:
    draw = Draw()
    draw.mean[0] = 1e200
    assert np.isinf(draw.losses("RMSE")[0])
    assert draw.measure().rmse is None


@pytest.mark.parametrize(
    ("level", "season", "scale"),
    [
        pytest.param([1.0, 2.0, 4.0], 1, 1.5, id="consecutive changes"),
        pytest.param([1.0, 2.0, 4.0, 0.0], 2, 2.5, id="changes over a season"),
        pytest.param([1.0, np.nan, 4.0, 6.0], 1, 2.0, id="a gap is skipped"),
        pytest.param([1.0, 2.0], 2, np.nan, id="no two levels a season apart"),
    ],
)
def test_the_seasonal_scale(level: list[float], season: int, scale: float) -> None:
    assert seasonal_scale(np.array(level), season) == pytest.approx(scale, nan_ok=True)


def test_an_interval_holds_its_own_ends() -> None:
    quantiles = np.array([[[1.0, 2.0, 3.0]]] * 4)
    outcome = np.array([[0.9], [1.0], [3.0], [3.1]])
    found = hits(0.9, outcome, quantiles, np.array([0.05, 0.5, 0.95]))
    assert found[:, 0].tolist() == [False, True, True, False]


def test_an_interval_needs_both_of_its_probabilities() -> None:
    assert interval(0.8, PROBABILITIES) == (2, 6)
    with pytest.raises(KeyError):
        interval(0.7, PROBABILITIES)
