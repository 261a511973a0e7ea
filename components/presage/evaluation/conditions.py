"""A scorecard in Kubernetes' words."""

from __future__ import annotations

from presage.evaluation.numbers import count
from presage.evaluation.scorecard import Condition, Scorecard


def conditions(scorecard: Scorecard) -> tuple[Condition, ...]:
    """Return the conditions of a run that came to a verdict.

    All are True but Promoted, which is as the gate decided, with its reason and message. Serving is True with the
    baseline too: there is always an honest forecast.
    """
    verdict = scorecard.verdict
    rows = ", ".join(f"{source.name} {count(source.rows)} bars" for source in scorecard.sources)
    kept, dropped = len(scorecard.features), len(scorecard.dropped)
    candidates = sum(not contender.baseline for contender in scorecard.contenders)
    baselines = len(scorecard.contenders) - candidates
    if verdict.promoted:
        serving, served = "ChampionServed", f"forecasts come from {verdict.champion}"
    elif verdict.champion == verdict.baseline:
        serving, served = "BaselineServed", f"forecasts come from the best baseline, {verdict.champion}"
    else:
        serving, served = "IncumbentServed", f"forecasts still come from the incumbent, {verdict.champion}"
    return (
        Condition(type="DataReady", status="True", reason="SourcesRead", message=rows or "no source was summarised"),
        Condition(
            type="FeaturesReady",
            status="True",
            reason="FeaturesSelected",
            message=f"{count(kept)} features kept, {count(dropped)} dropped",
        ),
        Condition(
            type="Trained",
            status="True",
            reason="ContendersFitted",
            message=f"{candidates} candidates and {baselines} baselines in {scorecard.folds} scored folds",
        ),
        Condition(
            type="Evaluated",
            status="True",
            reason="BackTestScored",
            message=f"{count(scorecard.evidence.origins)} origins scored by {scorecard.metric}",
        ),
        Condition(
            type="Promoted",
            status="True" if verdict.promoted else "False",
            reason=verdict.reason,
            message=verdict.message,
        ),
        Condition(type="Serving", status="True", reason=serving, message=served),
        Condition(type="Ready", status="True", reason=serving, message=served),
    )
