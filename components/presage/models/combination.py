"""The mean of several forecasters.

Equal weights are hard to beat: Makridakis, Spiliotis & Assimakopoulos, International Journal of Forecasting 36 (2020),
pp. 54-74 (M4), and Smith & Wallis, Oxford Bulletin of Economics and Statistics 71 (2009), pp. 331-355.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, Literal

from pydantic import Field

from presage.errors import NotSupportedError
from presage.frame import FloatArray, Frame, IntArray
from presage.models.contract import Forecaster
from presage.models.registry import load as load_member
from presage.models.state import STATE, State, read_name, read_state, unreadable

MEMBER = "member"
MemberName = Annotated[str, Field(pattern=r"^[a-z][a-z0-9_]{0,62}$")]


class CombinationState(State):
    """Which forecasters are combined."""

    name: Literal["mean_combination"] = "mean_combination"
    members: Annotated[tuple[MemberName, ...], Field(min_length=1)]
    """Names of the members; the files of each are under `member/<name>/`."""


@dataclass(frozen=True)
class Combination:
    """Fitted forecasters, each with the same say."""

    members: Mapping[str, Forecaster]

    def predict(self, frame: Frame, rows: IntArray) -> FloatArray:
        """Return (r, h) the mean of the members' levels; NaN where any member has none."""
        forecasts = [member.predict(frame, rows) for member in self.members.values()]
        total = forecasts[0].copy()
        for forecast in forecasts[1:]:
            total += forecast
        return total / len(forecasts)

    def importance(self) -> Mapping[str, float]:
        """Return each feature's share, averaged over the members that have shares; empty where none has."""
        shares = [share for share in (member.importance() for member in self.members.values()) if share]
        names = dict.fromkeys(name for share in shares for name in share)
        return {name: sum(share.get(name, 0.0) for share in shares) / len(shares) for name in names}

    def dump(self) -> Mapping[str, bytes]:
        """Return the members' names, and their files under `member/`."""
        files = {STATE: CombinationState(members=tuple(self.members)).to_bytes()}
        for name, member in self.members.items():
            files |= {f"{MEMBER}/{name}/{file}": content for file, content in member.dump().items()}
        return files


def combine(members: Mapping[str, Forecaster]) -> Combination:
    """Return the mean of fitted forecasters.

    Args:
        members: By contender's name, such as `ridge` or `ridge_2`.

    Raises:
        NotSupportedError: There is no member.
    """
    if not members:
        raise NotSupportedError(
            "mean_combination has nothing to combine: spec.models lists no forecaster beside it.",
            "List the forecasters to combine, such as ridge and xgboost.",
        )
    return Combination(dict(members))


def load(files: Mapping[str, bytes]) -> Combination:
    """Return the combination that `dump` wrote; raises LakeError for files that are none of its own."""
    state = read_state(files, CombinationState)
    parts: dict[str, dict[str, bytes]] = {name: {} for name in state.members}
    for file, content in files.items():
        if file == STATE:
            continue
        folder, _, rest = file.partition("/")
        name, _, part = rest.partition("/")
        if folder != MEMBER or name not in parts:
            raise unreadable(f"{file} is none of its files")
        parts[name][part] = content
    return Combination({name: load_member(read_name(part), part) for name, part in parts.items()})
