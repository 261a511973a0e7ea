"""Feature selection inside one training window: prune what says the same twice, then keep what trees find useful."""

from __future__ import annotations

import numpy as np

from presage.features.config import Dropped, FeatureConfig
from presage.frame import FloatArray, Frame, to_change
from presage.spec.features import Selection
from presage.spec.job import TransformName

MINIMUM_ROWS = 10
"""Below this many rows with a known outcome nothing is judged."""
TREES = 100
_ROUNDING = 1e-12


def select(frame: Frame, *, transform: TransformName, selection: Selection, seed: int) -> FeatureConfig:
    """Return which features training should use.

    1. A feature without a value, or with the same one, in all rows that have a known outcome goes.
    2. Of two features whose absolute Pearson correlation is above `max_correlation`, the one less correlated with what
       is learnt goes; of two that are equally so, the later one.
    3. The rest is ranked by its share of the total gain (the sum over all splits; Chen and Guestrin, "XGBoost", KDD
       2016, eq. 7) of 100 trees of depth 3; the first `max_features` whose share is at least `min_importance` stay,
       and at least one.

    What is learnt is the mean, over the steps ahead, of the standardised change. Where fewer than 10 rows have one,
    or it is the same in all, nothing can be judged and every feature stays.

    Args:
        frame: The training window as it stood at the cut-off (`Frame.known_by`): only known outcomes count.
        transform: What is learnt of the target.
        selection: The job's selection; method None keeps all features.
        seed: Seed of the trees.
    """
    if selection.method == "None":
        return keep_all(frame.feature_names)
    outcome = _standardised_change(frame, transform)
    rows = np.flatnonzero(np.isfinite(outcome))
    if len(rows) < MINIMUM_ROWS:
        return keep_all(frame.feature_names)
    features = np.ascontiguousarray(frame.features[rows].T)
    reasons = _uninformative(features)
    candidates = [place for place in range(len(features)) if place not in reasons]
    reasons |= _correlated(frame.feature_names, features, outcome[rows], candidates, selection.max_correlation)
    candidates = [place for place in candidates if place not in reasons]
    share = _gain_shares(features[candidates], outcome[rows], seed)
    reasons |= _unimportant(candidates, share, selection)
    return FeatureConfig(
        kept=tuple(name for place, name in enumerate(frame.feature_names) if place not in reasons),
        dropped=tuple(Dropped(frame.feature_names[place], reasons[place]) for place in sorted(reasons)),
        importance={frame.feature_names[place]: float(part) for place, part in zip(candidates, share, strict=True)}
        if share.any()
        else {},
    )


def keep_all(names: tuple[str, ...]) -> FeatureConfig:
    """Return the config that keeps every feature, of which nothing is known."""
    return FeatureConfig(kept=names, dropped=(), importance={})


def _standardised_change(frame: Frame, transform: TransformName) -> FloatArray:
    """Return (n,) float64: the mean over known steps of each step's change over its standard deviation."""
    change = to_change(transform, frame.level[:, None], frame.target_level)
    total = np.zeros(len(frame))
    steps = np.zeros(len(frame))
    for step in change.T:
        known = np.isfinite(step)
        spread = step[known].std() if known.any() else 0.0
        if spread > 0:
            total[known] += (step[known] - step[known].mean()) / spread
            steps[known] += 1
    return np.where(steps > 0, total / np.maximum(steps, 1), np.nan)


def _uninformative(features: FloatArray) -> dict[int, str]:
    """Return, by place, the features without two different values; `features` is (p, n)."""
    reasons = {}
    for place, values in enumerate(features):
        present = values[~np.isnan(values)]
        if not len(present):
            reasons[place] = "it has no value in the training window"
        elif present.min() == present.max():
            reasons[place] = f"it is {present[0]:g} throughout the training window"
    return reasons


def _correlated(
    names: tuple[str, ...], features: FloatArray, outcome: FloatArray, candidates: list[int], limit: float
) -> dict[int, str]:
    """Return, by place, the features that say the same as another that says more about the outcome."""
    correlation = np.abs(correlations(np.vstack([features[candidates], outcome])))
    with_outcome = correlation[-1, :-1]
    reasons: dict[int, str] = {}
    stay: list[int] = []
    for place in np.argsort(-with_outcome, kind="stable").tolist():
        rivals = [other for other in stay if correlation[place, other] > limit]
        if not rivals:
            stay.append(place)
            continue
        rival = max(rivals, key=lambda other: correlation[place, other])
        more = with_outcome[rival] > with_outcome[place]
        reasons[candidates[place]] = (
            f"correlation {correlation[place, rival]:.3f} with {names[candidates[rival]]}, which says "
            f"{'more' if more else 'as much, and stands first,'} about the target "
            f"({with_outcome[rival]:.3f} against {with_outcome[place]:.3f})"
        )
    return reasons


def correlations(columns: FloatArray) -> FloatArray:
    """Return Pearson's correlations of all pairs of columns, each over the rows that both have.

    Args:
        columns: (p, n) float64, NaN where a value is missing.

    Returns:
        (p, p) float64 from -1 to 1; 0 where a pair shares fewer than 10 rows or one is constant in those.
    """
    present = ~np.isnan(columns)
    filled = np.where(present, columns, 0.0)
    count = np.maximum(present.sum(axis=1, keepdims=True), 1)
    centred = np.where(present, columns - filled.sum(axis=1, keepdims=True) / count, 0.0)
    spread = np.sqrt((centred**2).sum(axis=1, keepdims=True) / count)
    scaled = np.divide(centred, spread, out=np.zeros_like(centred), where=spread > 0)
    # einsum and not matmul: its sums do not depend on how many threads the BLAS library has.
    both = np.einsum("ik,jk->ij", present.astype(np.float64), present.astype(np.float64))
    total = np.einsum("ik,jk->ij", scaled, present.astype(np.float64))
    squares = np.einsum("ik,jk->ij", scaled**2, present.astype(np.float64))
    products = np.einsum("ik,jk->ij", scaled, scaled)
    variance = both * squares - total**2
    varies = variance > _ROUNDING * both * squares
    defined = (both >= MINIMUM_ROWS) & varies & varies.T
    scale = np.sqrt(np.where(defined, variance * variance.T, 1.0))
    result = np.where(defined, (both * products - total * total.T) / scale, 0.0)
    return np.clip(result, -1.0, 1.0)


def _gain_shares(features: FloatArray, outcome: FloatArray, seed: int) -> FloatArray:
    """Return each feature's share of the total gain; zeros where no tree splits. `features` is (p, n)."""
    gains = np.zeros(len(features))
    if len(features):
        import xgboost  # noqa: PLC0415  # slow to load, and a run that finds itself done needs none

        settings = {
            "max_depth": 3,
            "eta": 0.1,
            "objective": "reg:squarederror",
            "tree_method": "hist",
            "nthread": 1,
            "seed": seed,
        }
        data = xgboost.DMatrix(features.T, label=outcome, nthread=1)
        booster = xgboost.train(settings, data, num_boost_round=TREES)
        for name, gain in booster.get_score(importance_type="total_gain").items():
            gains[int(name.removeprefix("f"))] = gain
    return gains / gains.sum() if gains.any() else gains


def _unimportant(candidates: list[int], share: FloatArray, selection: Selection) -> dict[int, str]:
    """Return, by place, the features that rank too low; the first is always kept."""
    reasons = {}
    for rank, place in enumerate(np.argsort(-share, kind="stable").tolist()):
        if rank >= selection.max_features:
            reasons[candidates[place]] = (
                f"importance {share[place]:.4f} ranks {rank + 1} of {len(candidates)}, and "
                f"{selection.max_features} are kept"
            )
        elif rank and share[place] < selection.min_importance:
            reasons[candidates[place]] = f"importance {share[place]:.4f} is below {selection.min_importance:g}"
    return reasons
