"""Who serves after a verdict and after a rollback: pure rules over the champion file, and how it is kept."""

from __future__ import annotations

import io
import json
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from rich.console import Console

from presage.cli.champions import ChampionLine, print_champions
from presage.cli.rollback import LONGEST_REASON, one_line
from presage.errors import DataExpiredError, JobError, LakeError
from presage.evaluation.scorecard import Verdict
from presage.spec.outcome import LARGEST_MESSAGE, RunOutcome, to_message
from presage.spec.status import Champion as ToldChampion
from presage.steps.promote import (
    CHAMPIONS_AT_HAND,
    HISTORY_AT_MOST,
    Champion,
    Champions,
    held_back,
    incumbent,
    promote,
    read_champions,
    roll_back,
    runs_at_hand,
    succeed,
    write_champions,
)

START = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
DAY = timedelta(days=1)
# As the first version wrote it.
V1 = b"""{
  "version": "v1",
  "current": {
    "run": "20260103T030405Z-bbbbbbbb",
    "inputs": "bbbbbbbb",
    "model": "ridge",
    "procedure": "sha256:procedure",
    "promoted": true,
    "reason": "NotWorseThanIncumbent",
    "message": "the refit is no worse",
    "since": "2026-01-03T03:04:05Z"
  },
  "history": [
    {
      "run": "20260102T030405Z-aaaaaaaa",
      "inputs": "aaaaaaaa",
      "model": "har",
      "procedure": "sha256:procedure",
      "promoted": false,
      "reason": "NotBetterThanBaseline",
      "message": "no candidate beats har",
      "since": "2026-01-02T03:04:05Z"
    }
  ]
}
"""


def champion(letter: str, day: int, *, procedure: str = "p") -> Champion:
    """A champion of inputs that a letter stands for, since a day."""
    return Champion(
        run=f"run-{letter}{day}",
        inputs=letter,
        model=f"model_{letter}",
        procedure=procedure,
        promoted=True,
        reason="BetterThanBaseline",
        message=f"{letter} is better",
        since=START + day * DAY,
    )


def served(*letters: str) -> Champions:
    """Champions that came one a day, in this order."""
    champions = Champions(current=champion(letters[0], 0))
    for day, letter in enumerate(letters[1:], 1):
        champions = succeed(champions, champion(letter, day), incumbent_stays=False)
    return champions


def back(champions: Champions, day: int, to: str | None = None, serving: str | None = None) -> Champions:
    """The champions after a rollback on a day."""
    return roll_back(
        champions, procedure="p", reason="it was bad", by="ana", now=START + day * DAY, to=to, serving=serving
    )


def story(champions: Champions) -> list[str]:
    """Runs that served, the newest first; an asterisk tells of a rollback to it, a minus of one from it."""
    return [
        f"{one.run}{'*' if one.reason == 'RolledBack' else ''}{'-' if one.rolled_back else ''}"
        for one in champions.known
    ]


def test_a_rollback_brings_the_champion_before_back_with_who_and_why() -> None:
    before = served("a", "b")
    after = back(before, 5)
    assert story(after) == ["run-a0*", "run-b1-", "run-a0"]
    now, gone, first = after.known
    assert (now.reason, now.message, now.by, now.since, now.until) == (
        "RolledBack",
        "it was bad",
        "ana",
        START + 5 * DAY,
        None,
    )
    assert (now.model, now.inputs, now.promoted) == ("model_a", "a", True)
    assert (gone.since, gone.until, gone.message) == (START + DAY, START + 5 * DAY, "b is better")
    assert (first.since, first.until, first.reason) == (START, START + DAY, "BetterThanBaseline")


@pytest.mark.parametrize(
    ("served_before", "to", "runs"),
    [
        ("ab", None, ["run-a0*", "run-b1-", "run-a0"]),
        ("abc", None, ["run-b1*", "run-c2-", "run-b1", "run-a0"]),
        ("abc", "run-a0", ["run-a0*", "run-c2-", "run-b1", "run-a0"]),
        ("abcd", "run-a0", ["run-a0*", "run-d3-", "run-c2", "run-b1", "run-a0"]),
    ],
    ids=["the one before", "the one before of three", "one that is named", "far back"],
)
def test_what_a_rollback_brings_back(served_before: str, to: str | None, runs: list[str]) -> None:
    assert story(back(served(*served_before), 9, to)) == runs


def test_a_rollback_of_a_rollback_brings_back_what_was_rolled_back() -> None:
    once = back(served("a", "b"), 5)
    twice = back(once, 6)
    assert story(twice) == ["run-b1*", "run-a0*-", "run-b1-", "run-a0"]
    assert held_back(twice, "b") is None
    assert held_back(twice, "a") is not None
    assert story(back(twice, 7))[0] == "run-a0*"


def test_a_rollback_to_what_serves_changes_nothing() -> None:
    for champions in (served("a", "b"), back(served("a", "b", "c"), 5)):
        assert back(champions, 6, to=champions.current.run) is champions


def test_a_rollback_of_a_run_that_was_rolled_back_is_done_already() -> None:
    once = back(served("a", "b"), 5, serving="run-b1")
    assert story(once)[0] == "run-a0*"
    assert back(once, 6, serving="run-b1") is once
    later = succeed(once, champion("c", 7), incumbent_stays=False)
    assert back(later, 8, serving="run-b1") is later


@pytest.mark.parametrize(
    ("champions", "words", "said"),
    [
        (served("a"), {}, "nothing to roll back to"),
        (
            served("a", "b"),
            {"to": "run-x"},
            "run run-x was no champion of this job. Champions, the newest first: run-a0",
        ),
        (served("a"), {"to": "run-x"}, "none before the one that serves"),
        (served("a", "b"), {"serving": "run-a0"}, "run run-a0 does not serve: model_b of run run-b1 does"),
        (
            Champions(current=champion("b", 1, procedure="q"), history=(champion("a", 0, procedure="r"),)),
            {},
            "procedure",
        ),
        (served("a", *"bcdefghijk"), {}, "later than this rollback"),
    ],
    ids=["one champion", "no champion's run", "nobody's run", "another serves", "another procedure", "an earlier day"],
)
def test_what_cannot_be_rolled_back_is_refused(champions: Champions, words: dict, said: str) -> None:
    with pytest.raises(JobError, match=said.replace(".", r"\.")):
        back(champions, 5, **words)


def test_only_the_procedure_of_the_champion_that_comes_back_matters() -> None:
    champions = Champions(current=champion("b", 1, procedure="q"), history=(champion("a", 0),))
    assert story(back(champions, 5)) == ["run-a0*", "run-b1-", "run-a0"]


@pytest.mark.parametrize(
    ("letter", "day", "stays", "runs"),
    [
        ("c", 6, False, ["run-c6", "run-a0*", "run-b1-", "run-a0"]),
        ("c", 6, True, ["run-a0*", "run-b1-", "run-a0"]),
        ("b", 6, False, ["run-a0*", "run-b1-", "run-a0"]),
        ("a", 6, False, ["run-a6", "run-a0*", "run-b1-", "run-a0"]),
        ("c", 3, False, ["run-a0*", "run-b1-", "run-a0"]),
    ],
    ids=["other inputs", "other inputs, worse", "those rolled back", "those brought back", "as of an earlier day"],
)
def test_who_serves_when_a_run_follows_a_rollback(letter: str, day: int, stays: bool, runs: list[str]) -> None:
    assert story(succeed(back(served("a", "b"), 5), champion(letter, day), incumbent_stays=stays)) == runs


def test_a_run_that_is_held_back_is_told_why() -> None:
    after = back(served("a", "b"), 5)
    assert held_back(after, "b") == (
        "run run-b1 of the same inputs was rolled back at 2026-01-07 03:04 UTC: it was bad. "
        "The same inputs give the same result, so what serves goes on serving."
    )
    assert held_back(after, "a") is None
    assert held_back(after, "c") is None
    assert held_back(None, "b") is None


def test_the_verdict_holds_longer_than_the_next_champion() -> None:
    after = succeed(back(served("a", "b"), 5), champion("c", 6), incumbent_stays=False)
    assert succeed(after, champion("b", 7), incumbent_stays=False) is after


def test_a_champion_of_another_procedure_holds_no_run_back() -> None:
    champions = Champions(current=champion("b", 1), history=(champion("a", 0, procedure="old"),))
    after = roll_back(champions, procedure="old", reason="bad", by=None, now=START + 5 * DAY)
    assert story(succeed(after, champion("b", 6), incumbent_stays=False))[0] == "run-b6"


def test_a_repeat_takes_the_place_of_the_run_that_it_repeats() -> None:
    repeated = succeed(served("a", "b"), champion("b", 4), incumbent_stays=False)
    assert story(repeated) == ["run-b4", "run-a0"]
    assert repeated.history[0].until == START + DAY
    assert story(succeed(repeated, champion("a", 6), incumbent_stays=False)) == ["run-a6", "run-b4", "run-a0"]


def test_what_was_rolled_back_is_nobody_s_measure_from_then_on() -> None:
    after = back(served("z", "a", "b"), 5)
    assert incumbent(after, "a", START + 6 * DAY) == after.history[-1]
    assert incumbent(after, "c", START + 6 * DAY) == after.current
    earlier = incumbent(after, "c", START + 4 * DAY)
    assert earlier is not None
    assert earlier.run == "run-b2"


def test_the_history_is_bounded() -> None:
    champions = served("a", "b")
    for day in range(2, 2 * HISTORY_AT_MOST):
        champions = back(champions, day)
    assert len(champions.history) == HISTORY_AT_MOST


def test_the_newest_champions_and_what_they_are_measured_by_keep_their_runs() -> None:
    assert runs_at_hand(None) == set()
    assert runs_at_hand(served("a")) == {"run-a0"}
    champions = served("a", "b", "c", "d", "e")
    assert runs_at_hand(champions) == {"run-e4", "run-d3", "run-c2"}
    assert len(runs_at_hand(champions)) == CHAMPIONS_AT_HAND
    twice = back(back(champions, 6), 7, to="run-c2")
    assert runs_at_hand(twice) == {"run-c2", "run-d3", "run-e4", "run-b1"}


def test_a_file_of_the_first_version_reads_and_can_be_rolled_back(tmp_path: Path) -> None:
    file = tmp_path / "champion.json"
    file.write_bytes(V1)
    before = read_champions(file)
    assert before is not None
    assert [one.until for one in before.known] == [None, None]
    now = datetime(2026, 1, 4, tzinfo=UTC)
    after = roll_back(before, procedure="sha256:procedure", reason="bad", by=None, now=now)
    assert (after.current.model, after.current.promoted, after.history[0].until) == ("har", False, now)
    write_champions(file, after)
    assert read_champions(file) == after
    assert json.loads(file.read_bytes())["version"] == "v1"


def test_a_verdict_writes_the_file_only_where_it_changes_something(tmp_path: Path) -> None:
    file = tmp_path / "champion.json"
    verdict = Verdict(
        promoted=True,
        reason="BetterThanBaseline",
        message="better",
        champion="ridge",
        candidate="ridge",
        baseline="har",
    )
    given = {"inputs": "a", "procedure": "p", "digest": "sha256:card"}
    made = promote(file, verdict, run="one", now=START, **given)
    assert made.current.digest == "sha256:card"
    write_champions(file, back(succeed(made, champion("b", 1), incumbent_stays=False), 2))
    before = file.read_bytes()
    held = promote(file, verdict, run="three", inputs="b", procedure="p", now=START + 3 * DAY)
    assert held.current.run == "one"
    assert file.read_bytes() == before


def test_what_retention_took_is_an_error_of_the_lake() -> None:
    error = DataExpiredError("gone.", "Name another.")
    assert isinstance(error, LakeError)
    assert (error.exit_code, error.retry) == (6, False)


def test_words_of_a_person_are_one_line_of_bounded_length() -> None:
    assert one_line(" too\n narrow\x1b[2J ") == "too narrow [2J"
    for text in (" \n\t", "x" * (LONGEST_REASON + 1)):
        with pytest.raises(Exception, match=r"few words|at most"):
            one_line(text)


def test_the_words_of_a_rollback_are_cut_where_an_outcome_has_no_room_for_them() -> None:
    told = ToldChampion(
        model="m" * 63,
        run="r" * 253,
        since=START,
        reason="RolledBack",
        digest="sha256:" + "a" * 64,
        promoted=True,
        message="\N{ROCKET}" * 1024,
        by="b" * 253,
    )
    message = to_message(RunOutcome(run="r" * 253, champion=told))
    assert len(message) <= LARGEST_MESSAGE
    read = RunOutcome.model_validate_json(message).champion
    assert read is not None
    assert read.message is not None
    assert told.message is not None
    assert read.message[:50] == told.message[:50]


@pytest.mark.parametrize("width", [40, 80])
def test_champions_are_printed_within_the_width_and_steer_no_terminal(width: int) -> None:
    line = ChampionLine(
        model="m" * 63,
        promoted=None,
        since=START,
        until=None,
        reason="RolledBack",
        message="bad \x1b[2J " * 20,
        by="ana\x07",
        run="r" * 100,
        digest="",
        ended="rolled back",
    )
    stream = io.StringIO()
    print_champions([line, line], Console(file=stream, width=width), indent=2)
    shown = stream.getvalue()
    assert max(map(len, shown.splitlines())) <= width
    assert not {"\x1b", "\x07"} & set(shown)
