"""Means of several forecasters: with equal weights, or with weights by past errors.

Equal weights are hard to beat: Makridakis, Spiliotis & Assimakopoulos, International Journal of Forecasting 36 (2020),
pp. 54-74 (M4), and Smith & Wallis, Oxford Bulletin of Economics and Statistics 71 (2009), pp. 331-355.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Annotated, Literal

import numpy as np
from pydantic import Field, model_validator

from presage.errors import NotSupportedError
from presage.frame import FloatArray, Frame, IntArray, TimeArray
from presage.models.contract import Forecaster
from presage.models.outcomes import LEAST_ROWS
from presage.models.state import STATE, State, read_name, read_state, unreadable
from presage.spec.models import ModelName

MEMBER = "member"
MemberName = Annotated[str, Field(pattern=r"^[a-z][a-z0-9_]{0,62}$")]
Weights = Mapping[str, FloatArray]
"""By member, the (h,) weight at each step; those of a step add up to 1."""


class CombinationState(State):
    """Which forecasters are combined."""

    name: Literal["mean_combination", "weighted_combination"]
    members: Annotated[tuple[MemberName, ...], Field(min_length=1)]
    """Names of the members; the files of each are under `member/<name>/`."""
    weights: tuple[tuple[Annotated[float, Field(ge=0, le=1)], ...], ...] | None = None
    """For each member, its weight at each step; none where all weigh the same."""

    @model_validator(mode="after")
    def _every_member_has_its_weights(self) -> CombinationState:
        if self.weights is not None and (
            len(self.weights) != len(self.members) or len({len(weights) for weights in self.weights}) != 1
        ):
            raise ValueError("every member needs one weight a step")
        return self


@dataclass(frozen=True)
class Combination:
    """Fitted forecasters and the say of each.

    Attributes:
        name: The combination's name.
        members: By contender's name.
        weights: By the same names; None where all weigh the same.
    """

    name: ModelName
    members: Mapping[str, Forecaster]
    weights: Weights | None = None

    def predict(self, frame: Frame, rows: IntArray) -> FloatArray:
        """Return (r, h) the mean of the members' levels; NaN where any member has none."""
        forecasts = {name: member.predict(frame, rows) for name, member in self.members.items()}
        if self.weights is None:
            return _sum(list(forecasts.values())) / len(forecasts)
        return _sum([self.weights[name] * forecast for name, forecast in forecasts.items()])

    def importance(self) -> Mapping[str, float]:
        """Return each feature's share, averaged over the members that have shares by their weight; empty for none."""
        shares = {name: member.importance() for name, member in self.members.items()}
        says = {
            name: 1.0 if self.weights is None else float(self.weights[name].mean())
            for name, share in shares.items()
            if share
        }
        total = sum(says.values())
        if not total > 0:
            return {}
        names = dict.fromkeys(feature for name in says for feature in shares[name])
        return {feature: sum(says[name] * shares[name].get(feature, 0.0) for name in says) / total for feature in names}

    def dump(self) -> Mapping[str, bytes]:
        """Return the members' names and weights, and their files under `member/`."""
        weights = None if self.weights is None else tuple(tuple(self.weights[name].tolist()) for name in self.members)
        state = CombinationState.model_validate(
            {"name": self.name, "members": tuple(self.members), "weights": weights}, strict=True
        )
        files = {STATE: state.to_bytes()}
        for name, member in self.members.items():
            files |= {f"{MEMBER}/{name}/{file}": content for file, content in member.dump().items()}
        return files


def combine(
    members: Mapping[str, Forecaster], name: ModelName = "mean_combination", weights: Weights | None = None
) -> Combination:
    """Return a mean of fitted forecasters.

    Args:
        members: By contender's name, such as `ridge` or `ridge_2`.
        name: The combination's name.
        weights: What `weigh` gave for these members; None where all weigh the same.

    Raises:
        NotSupportedError: There is no member.
    """
    if not members:
        raise NotSupportedError(
            f"{name} has nothing to combine: spec.models lists no forecaster beside it.",
            "List the forecasters to combine, such as ridge and xgboost.",
        )
    return Combination(name, dict(members), weights)


def weigh(forecasts: Mapping[str, FloatArray], outcome: FloatArray, origin: TimeArray, window: int) -> Weights | None:
    """Return weights in proportion to the inverse of each member's mean squared error, step by step.

    That is the first of the methods of Bates & Granger, Operational Research Quarterly 20 (1969), pp. 451-468, which
    leaves the errors' correlation aside. The members' mean squares are over the same origins.

    Args:
        forecasts: By member, (r, h) levels that were forecast out of sample at past origins.
        outcome: (r, h) levels that came; NaN where not known yet.
        origin: (r,) when each was forecast; several series may share an origin.
        window: Newest origins with known outcomes that count at each step.

    Returns:
        The weights; None where a step has fewer than 10 origins at which all members and the outcome are known.
    """
    with np.errstate(over="ignore", invalid="ignore"):
        squares = np.stack([np.square(forecast - outcome) for forecast in forecasts.values()])
    columns = []
    for step in range(outcome.shape[1]):
        known = np.isfinite(squares[:, :, step]).all(axis=0)
        newest = np.unique(origin[known])[-window:]
        if len(newest) < LEAST_ROWS:
            return None
        errors = squares[:, known & (origin >= newest[0]), step].mean(axis=1)
        # A member without an error leaves no weight to those that have one.
        least = errors.min()
        ratio = np.divide(least, errors, out=np.ones_like(errors), where=errors > 0) if least > 0 else errors == 0
        columns.append(ratio / ratio.sum())
    return dict(zip(forecasts, np.column_stack(columns), strict=True))


def load(
    name: ModelName, files: Mapping[str, bytes], load_member: Callable[[ModelName, Mapping[str, bytes]], Forecaster]
) -> Combination:
    """Return the combination that `dump` wrote, whose members `load_member` loads by name.

    Raises:
        LakeError: The files are none of its own.
    """
    state = read_state(files, CombinationState)
    if state.name != name:
        raise unreadable(f"they are those of {state.name}, not of {name}")
    parts: dict[str, dict[str, bytes]] = {member: {} for member in state.members}
    for file, content in files.items():
        if file == STATE:
            continue
        folder, _, rest = file.partition("/")
        member, _, part = rest.partition("/")
        if folder != MEMBER or member not in parts:
            raise unreadable(f"{file} is none of its files")
        parts[member][part] = content
    members = {member: load_member(read_name(part), part) for member, part in parts.items()}
    if state.weights is None:
        return Combination(name, members)
    return Combination(name, members, dict(zip(members, map(np.array, state.weights), strict=True)))


def _sum(terms: list[FloatArray]) -> FloatArray:
    total = terms[0].copy()
    for term in terms[1:]:
        total += term
    return total
