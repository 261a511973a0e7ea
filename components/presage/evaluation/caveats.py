"""What a reader must know before trusting a scorecard's numbers."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

from presage.evaluation.numbers import count, percent
from presage.evaluation.scorecard import Contender, SourceSummary, Verdict

FEW_FOLDS = 5
OFTEN_MISSING = 0.1


def caveats(
    cards: Mapping[str, Contender],
    verdict: Verdict,
    *,
    sources: tuple[SourceSummary, ...],
    overflowing: tuple[str, ...],
    untested: int,
    missing: Mapping[str, float],
    unscored: int,
    left_out: Mapping[str, str] = MappingProxyType({}),
) -> tuple[str, ...]:
    """Return the caveats, one sentence each.

    Args:
        cards: The scorecard's contenders by name.
        verdict: The gate's decision.
        sources: What each source gave.
        overflowing: Candidates that were left out because their forecasts are too large to be scored.
        untested: Configurations tried before that could not be in the test.
        missing: By feature of the final training window, the share of scored origins at which it was missing.
        unscored: Origins of scored folds with a level and known outcomes at which a contender had no forecast or no
            interval.
        left_out: By name, the series that are not in the panel, and why.
    """
    champion = cards[verdict.champion]
    baselines = sum(card.baseline for card in cards.values())
    found = [
        *(
            f"{source.name} is revised by its publisher and holds only the latest values, so the back-test saw numbers "
            f"that were not known in this form at the time."
            for source in sources
            if source.revised
        ),
        *(
            f"{count(source.dropped)} rows of {source.name} that cannot be true were left out."
            for source in sources
            if source.dropped
        ),
        *(
            f"The feature {name} was missing at {percent(share)} of scored origins."
            for name, share in missing.items()
            if share > OFTEN_MISSING
        ),
        *(f"{name} was left out: its forecasts are too large to be scored." for name in overflowing),
    ]
    if left_out:
        first = next(iter(left_out))
        found.append(
            f"{count(len(left_out))} series {'were' if len(left_out) > 1 else 'was'} left out, such as {first}: "
            f"{left_out[first]}"
        )
    if unscored:
        found.append(
            f"{count(unscored)} {'origins were' if unscored > 1 else 'origin was'} left out, for all contenders alike: "
            f"one of them had no forecast or no interval there."
        )
    if untested:
        found.append(
            f"Scored at other origins or by another loss, and so not in the test but in the correction of its p-value: "
            f"{count(untested)} earlier {'configurations' if untested > 1 else 'configuration'}."
        )
    if baselines > 1:
        found.append(
            f"{verdict.baseline} was chosen with hindsight as the best of {baselines} baselines, which makes the test "
            f"stricter and not easier."
        )
    folds = len(champion.folds)
    if folds < FEW_FOLDS:
        found.append(
            f"Only {folds} {'folds were' if folds > 1 else 'fold was'} scored, which hardly tells how skill varies."
        )
    behind = sum(fold.skill is not None and fold.skill < 0 for fold in champion.folds)
    if 3 * behind > folds:
        found.append(f"{champion.name} lost to {verdict.baseline} in {behind} of {folds} folds.")
    found += [
        f"{champion.name}'s {percent(interval.level)} interval held {percent(interval.coverage)} of outcomes, outside "
        f"the band from {percent(interval.lower)} to {percent(interval.upper)}."
        for interval in champion.coverage
        if not interval.inside
    ]
    return tuple(found)
