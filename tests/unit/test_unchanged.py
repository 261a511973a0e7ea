"""When a run would find what the newest one found: the pure decisions, case by case."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from presage.evaluation.scorecard import Verdict
from presage.lake.manifest import PinnedIncumbent, RunManifest
from presage.lake.tables import TableVersion
from presage.steps.promote import Champions, judged, roll_back
from presage.steps.unchanged import has_served, is_repeat

NOW = datetime(2024, 6, 1, 12, tzinfo=UTC)
LATER = NOW + timedelta(days=1)
PROCEDURE = "sha256:p"
INCUMBENT = PinnedIncumbent(
    run="before",
    procedure=PROCEDURE,
    model="ridge",
    trials=TableVersion(table="trials/default.a", version=3, rows=1, digest="sha256:3"),
)
PROMOTED = Verdict(
    promoted=True, reason="BetterThanBaseline", message="It is better.", champion="ridge", candidate="ridge",
    baseline="naive",
)  # fmt: skip
REFUSED = PROMOTED.model_copy(update={"promoted": False, "reason": "NotBetterThanBaseline", "champion": "naive"})
STAYS = PROMOTED.model_copy(update={"promoted": False, "reason": "WorseThanIncumbent", "champion": "theta"})


def made(run: str = "newest", inputs: str | None = "i", at: datetime = NOW, trials: int = 5, **fields) -> RunManifest:
    return RunManifest(
        run=run,
        job="a",
        namespace="default",
        spec_digest="sha256:s",
        procedure_digest=PROCEDURE,
        tables={"trials": TableVersion(table="trials/default.a", version=trials, rows=1, digest="sha256:t")},
        seed=0,
        lock_digest="sha256:l",
        created_at=at,
        scorecard_digest="sha256:c",
        inputs=inputs,
        **fields,
    )


def served(verdict: Verdict, before: Champions | None = None, run: RunManifest | None = None) -> Champions:
    run = run or made()
    return judged(
        before, verdict, run=run.run, inputs=str(run.inputs), procedure=PROCEDURE, now=run.created_at,
        digest=run.scorecard_digest,
    )  # fmt: skip


EARLIER = made("earlier", "e", NOW - timedelta(days=9), trials=2)


@pytest.mark.parametrize(
    ("manifests", "inputs", "incumbent", "now", "expected"),
    [
        ([made()], "i", None, LATER, True),
        ([made()], "i", None, NOW, True),
        ([made()], "other", None, LATER, False),
        ([made(inputs=None, version="v1")], "i", None, LATER, False),
        ([made()], "i", None, NOW - timedelta(hours=1), False),
        ([made()], "i", INCUMBENT, LATER, False),
        ([made(incumbent=INCUMBENT)], "i", INCUMBENT, LATER, True),
        ([made(incumbent=INCUMBENT)], "i", None, LATER, False),
        ([made(), EARLIER], "i", None, LATER, True),
        ([made(), EARLIER], "e", None, LATER, False),
        ([made(), made("backdated", "b", NOW - timedelta(days=3), trials=6)], "i", None, LATER, False),
    ],
    ids=[
        "the same inputs", "at the same moment", "other inputs", "an earlier Presage", "as of an earlier day",
        "another is served", "the same is served", "none is served any more", "a run before it",
        "the inputs of the run before", "something was tried since",
    ],
)  # fmt: skip
def test_a_run_repeats_the_newest_one(
    manifests: list[RunManifest], inputs: str, incumbent: PinnedIncumbent | None, now: datetime, expected: bool
) -> None:
    assert is_repeat(manifests, inputs, incumbent, now=now) is expected


@pytest.mark.parametrize("verdict", [PROMOTED, REFUSED], ids=["promoted", "baseline"])
def test_a_run_has_served_once_its_verdict_stands_in_the_champion_file(verdict: Verdict) -> None:
    before = served(PROMOTED, run=EARLIER)
    assert not has_served(made(), verdict, None)
    assert not has_served(made(), verdict, before)
    assert has_served(made(), verdict, served(verdict, before))


def test_a_run_whose_incumbent_stays_changes_nothing() -> None:
    assert has_served(made(), STAYS, served(PROMOTED, run=EARLIER))


def test_a_repeat_that_took_a_run_s_place_is_not_that_run() -> None:
    again = made("again", at=LATER)
    after = served(PROMOTED, served(PROMOTED), again)
    assert has_served(again, PROMOTED, after)
    assert not has_served(made("newer", at=LATER + timedelta(days=1)), PROMOTED, after)


def test_a_run_that_was_rolled_back_stays_so() -> None:
    champions = served(PROMOTED, served(PROMOTED, run=EARLIER))
    back = roll_back(champions, procedure=PROCEDURE, reason="It is odd.", by=None, now=LATER)
    assert back.current.run == "earlier"
    assert has_served(made(), PROMOTED, back)
