"""Who was champion when and why, and the way back to an earlier one: on a disk, in a bucket, for the server."""

from __future__ import annotations

import json
import shutil
from datetime import UTC, datetime
from functools import partial
from pathlib import Path

import commands
import pytest
import row_job_case
from commands import content, presage
from deltalake import DeltaTable
from s3.gateway import BUCKET, Gateway

from presage.spec.job import PredictionJob
from presage.spec.load import load_job
from presage.spec.outcome import RunOutcome
from presage.steps.champions import champion_history
from presage.steps.mirror import WorkPlace, work_in
from presage.steps.promote import read_champions
from presage.steps.rollback import Asked, roll_back_job
from presage.steps.run import run_job
from presage.steps.workdir import WorkDirectory
from presage_serving.directory import ModelDirectory
from presage_serving.metrics import Metrics

JOB = """\
apiVersion: presage.dev/v1alpha1
kind: PredictionJob
metadata: {name: volatility}
spec:
  frequency: 1d
  target: {source: sp500, column: range_volatility, minimum: 0}
  sources:
    - {name: sp500, file: {uri: sp500.csv}, time: Date, timeZone: America/New_York, availability: {lag: 0s}}
  features:
    - lag: {columns: [sp500.range_volatility], steps: [1]}
    - rolling: {columns: [sp500.range_volatility], windows: [5, 22]}
  models: [{name: ridge}]
  evaluation: {folds: 3, window: Rolling, trainSize: 1500}
  retention: {runs: 1}
"""
KEY = "default.volatility"
REASON = ("--reason", "too narrow since the update")
DAYS = ("2018-06-01", "2018-10-01", "2018-12-31")


def nothing(_step: str, _done: int, _total: int) -> None:
    """Tell nobody how far a run is."""


class Desk:
    """A folder with a job, its file of rows, and a work directory."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.file = folder / "job.yaml"
        self.work = folder / "work"

    @property
    def job(self) -> PredictionJob:
        return load_job(self.file)

    def rows_to(self, day: str) -> None:
        """Let the job's source have the rows to a day."""
        from arch.data import sp500

        rows = sp500.load()
        rows[rows.index <= day].to_csv(self.folder / "sp500.csv")

    def run(self) -> str:
        """Run the job and return the run."""
        now = datetime.now(UTC)
        done = run_job(
            self.job, base=self.folder, workdir=self.work, now=now, sources={}, workers=None, progress=nothing
        )
        return done.summary.run

    def history(self) -> list[dict]:
        """What `presage history -o json` gives of champions."""
        return champion_history(self.job, workdir=self.work).model_dump(mode="json")["champions"]

    def directory(self, run: str) -> Path:
        return WorkDirectory(self.work).run(self.job, run)


@pytest.fixture(scope="module")
def twice(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A desk whose second run, on newer data, took over from the first."""
    desk = Desk(tmp_path_factory.mktemp("desk") / "desk")
    desk.folder.mkdir()
    desk.file.write_text(JOB)
    for day in DAYS[:2]:
        desk.rows_to(day)
        desk.run()
    return desk.folder


@pytest.fixture
def desk(twice: Path, tmp_path: Path) -> Desk:
    shutil.copytree(twice, tmp_path / "desk")
    return Desk(tmp_path / "desk")


def test_the_history_tells_who_was_champion_from_when_until_when_and_why(desk: Desk) -> None:
    told = presage("history", desk.file, "--workdir", desk.work, "-o", "json").json()
    assert told["champions"] == desk.history()
    newest, first = told["champions"]
    assert (newest["model"], newest["reason"], newest["until"]) == ("ridge", "NotWorseThanIncumbent", None)
    assert (first["model"], first["reason"], first["until"]) == ("ridge", "BetterThanBaseline", newest["since"])
    assert "window_mean" in first["message"]
    for one in (newest, first):
        summary = json.loads((desk.directory(one["run"]) / "summary.json").read_bytes())
        assert (one["digest"], one["promoted"], one["by"], one["kept"]) == (summary["digest"], True, None, True)
    shown = presage("history", desk.file, "--workdir", desk.work).out
    assert shown.startswith(f"ridge (promoted)  {newest['since'][:10]}")
    assert f"run {first['run']}  scorecard {first['digest'][7:19]}" in shown


def test_a_job_without_a_champion_has_an_empty_history(desk: Desk, tmp_path: Path) -> None:
    ended = presage("history", desk.file, "--workdir", tmp_path / "none")
    assert (ended.out, ended.err.split(" in ")[0]) == ("", "volatility has no champion")
    assert not (tmp_path / "none").exists()


def test_a_rollback_brings_the_earlier_champion_back_with_its_next_forecast(desk: Desk, tmp_path: Path) -> None:
    second, first = desk.history()
    words = (desk.file, "--workdir", desk.work, *REASON, "--by", "ana")
    done = presage("rollback", *words, "-o", "json", "--outcome", tmp_path / "outcome").json()
    assert (done["changed"], done["fault"], done["champion"]["run"], done["before"]["run"]) == (
        True,
        "",
        first["run"],
        second["run"],
    )
    told = RunOutcome.model_validate_json((tmp_path / "outcome").read_bytes())
    assert told.champion is not None
    assert (told.run, told.champion.run, told.champion.reason) == (first["run"], first["run"], "RolledBack")
    assert (told.champion.message, told.champion.by, told.champion.promoted) == (REASON[1], "ana", True)
    assert told.champion.digest == first["digest"]
    assert told.stale_after is not None

    now, gone, before = desk.history()
    assert (now["reason"], now["message"], now["by"]) == ("RolledBack", REASON[1], "ana")
    assert (gone["rolled_back"], gone["until"]) == (True, now["since"])
    assert before == first

    # It forecasts from the newest rows, and a server of its directory gives that forecast.
    issued = json.loads((desk.directory(first["run"]) / "forecast.json").read_bytes())
    assert (issued["run"], issued["issued_at"][:10]) == (first["run"], "2018-10-02")
    served = ModelDirectory(desk.directory(now["run"]), Metrics())
    served.refresh()
    assert served.served is not None
    assert (served.served.run, served.served.issued_at.isoformat()[:10]) == (first["run"], "2018-10-02")
    again = presage("forecast", desk.file, "--workdir", desk.work, "-o", "json").json()
    assert again == issued
    kept = DeltaTable(desk.work / "lake" / "forecasts" / KEY).to_pyarrow_table().to_pydict()
    assert set(zip(kept["run"], [time.date().isoformat() for time in kept["issued_at"]], strict=True)) == {
        (first["run"], "2018-06-02"),
        (second["run"], "2018-10-02"),
        (first["run"], "2018-10-02"),
    }


def test_the_same_inputs_do_not_bring_back_what_was_rolled_back_and_newer_ones_may(desk: Desk) -> None:
    second, first = desk.history()
    presage("rollback", desk.file, "--workdir", desk.work, *REASON)
    desk.run()
    assert desk.history()[0]["run"] == first["run"]
    desk.rows_to(DAYS[2])
    third = desk.run()
    story = [(one["run"], one["reason"], one["rolled_back"]) for one in desk.history()]
    assert story == [
        (third, "NotWorseThanIncumbent", False),
        (first["run"], "RolledBack", False),
        (second["run"], second["reason"], True),
        (first["run"], first["reason"], False),
    ]


def test_a_rollback_can_be_rolled_back_and_one_to_what_serves_changes_nothing(desk: Desk) -> None:
    second, first = desk.history()
    words = ("rollback", desk.file, "--workdir", desk.work)
    presage(*words, *REASON)
    presage(*words, "--reason", "it was the data")
    assert [one["run"] for one in desk.history()][:2] == [second["run"], first["run"]]
    champion = WorkDirectory(desk.work).champion(desk.job)
    before = champion.read_bytes()
    for more in (("--to", second["run"]), ("--from", first["run"])):
        done = presage(*words, *REASON, *more)
        assert "nothing was changed" in done.err
        assert "Forecast by bar" in done.out
        assert champion.read_bytes() == before


def test_a_rollback_trains_nothing_where_the_job_file_states_another_procedure(desk: Desk) -> None:
    second, _ = desk.history()
    desk.file.write_text(JOB.replace("windows: [5, 22]", "windows: [5, 10]"))
    held = {path.name for path in WorkDirectory(desk.work).runs(desk.job).iterdir()}
    done = presage("rollback", desk.file, "--workdir", desk.work, *REASON, "--to", second["run"])
    assert "nothing was changed" in done.err
    assert "states another procedure" in done.err
    assert {path.name for path in WorkDirectory(desk.work).runs(desk.job).iterdir()} == held


def test_a_rollback_does_not_wait_for_a_source_that_is_away(desk: Desk, tmp_path: Path) -> None:
    _, first = desk.history()
    (desk.folder / "sp500.csv").unlink()
    words = (desk.file, "--workdir", desk.work, *REASON, "--outcome", tmp_path / "outcome")
    done = presage("rollback", *words)
    assert "no forecast was issued" in done.err
    assert "sp500.csv" in done.err
    assert "presage forecast" in done.err
    assert desk.history()[0]["run"] == first["run"]
    told = RunOutcome.model_validate_json((tmp_path / "outcome").read_bytes())
    assert told.failure is None
    assert told.champion is not None
    assert told.champion.run == first["run"]


@pytest.mark.parametrize(
    ("fault", "code", "said"),
    [
        ("gone", 6, "is no longer kept: retention removed it"),
        ("damaged", 6, "ridge"),
        ("unknown", 2, "run nobody was no champion of this job."),
        ("early", 2, "later than this rollback"),
        ("respecified", 2, "is of another procedure than the job file"),
        ("moved on", 2, "run nobody does not serve"),
        ("going on", 7, "another run of default.volatility is going on"),
    ],
)
def test_a_rollback_that_cannot_be_leaves_everything_as_it_was(desk: Desk, fault: str, code: int, said: str) -> None:
    _, first = desk.history()
    more: tuple[str, ...] = ()
    work = WorkDirectory(desk.work)
    if fault == "gone":
        shutil.rmtree(desk.directory(first["run"]))
    elif fault == "damaged":
        bundle = desk.directory(first["run"]) / "bundle"
        (bundle / "step_1.json").write_bytes(b"{}")
        said = str(bundle)
    elif fault == "respecified":
        desk.file.write_text(JOB + "  seed: 7\n")
    else:
        more = {
            "unknown": ("--to", "nobody"),
            "early": ("--as-of", "2018-12-31"),
            "moved on": ("--from", "nobody"),
        }.get(fault, ())
    before = content(desk.work)
    words = ("rollback", desk.file, "--workdir", desk.work, *REASON, *more)
    if fault == "going on":
        with work.only_run(desk.job):
            ended = presage(*words, code=code)
    else:
        ended = presage(*words, code=code)
    assert said in ended.err
    assert content(desk.work) == before


def test_a_job_that_never_had_two_champions_has_nothing_to_roll_back_to(desk: Desk, tmp_path: Path) -> None:
    words = ("rollback", desk.file, *REASON, "--workdir")
    assert "has no champion" in presage(*words, tmp_path / "none", code=2).err
    champion = WorkDirectory(desk.work).champion(desk.job)
    champions = json.loads(champion.read_bytes())
    champion.write_text(json.dumps(champions | {"history": []}))
    assert "there is nothing to roll back to: ridge" in presage(*words, desk.work, code=2).err


@pytest.mark.parametrize("words", [(), ("--reason", " "), ("--reason", "x" * 501)], ids=["none", "blank", "too many"])
def test_a_rollback_without_a_reason_of_few_words_is_refused(desk: Desk, words: tuple[str, ...]) -> None:
    before = content(desk.work)
    assert "--reason" in presage("rollback", desk.file, "--workdir", desk.work, *words, code=2).err
    assert content(desk.work) == before


def test_the_newest_champions_keep_their_runs_whatever_the_retention(desk: Desk) -> None:
    assert desk.job.spec.retention.runs == 1
    runs = [desk.history()[place]["run"] for place in (1, 0)]
    for day in ("2018-11-01", "2018-11-20"):
        desk.rows_to(day)
        runs.append(desk.run())
    told = desk.history()
    assert [one["run"] for one in told] == runs[::-1]
    assert [one["kept"] for one in told] == [True, True, True, False]
    assert "nothing leads back to it" in presage("history", desk.file, "--workdir", desk.work).out
    ended = presage("rollback", desk.file, "--workdir", desk.work, *REASON, "--to", runs[0], code=6)
    assert f"run {runs[0]} of ridge is no longer kept" in ended.err
    presage("rollback", desk.file, "--workdir", desk.work, *REASON, "--to", runs[1])
    assert desk.history()[0]["run"] == runs[1]


def test_in_a_bucket_history_and_rollback_are_as_on_a_disk(desk: Desk, reached: Gateway) -> None:
    uri, presage = f"s3://{BUCKET}/history", partial(commands.presage, **reached.environment())
    with work_in(uri, desk.job) as place:
        shutil.copytree(
            desk.work, place.directory, dirs_exist_ok=True, ignore=shutil.ignore_patterns(".lock", "_locks")
        )
    assert presage("history", desk.file, "--workdir", uri, "-o", "json").json()["champions"] == desk.history()
    second, first = desk.history()
    assert f"unchanged since run {second['run']}" in presage("run", desk.file, "--workdir", uri).err
    champion = reached.folder / "history" / "champions" / f"{KEY}.json"
    done = presage("rollback", desk.file, "--workdir", uri, *REASON, "-o", "json").json()
    assert (done["changed"], done["champion"]["run"], done["fault"]) == (True, first["run"], "")
    held = read_champions(champion)
    assert held is not None
    assert held.current.run == first["run"]
    issued = json.loads((reached.folder / "history" / "runs" / KEY / first["run"] / "forecast.json").read_bytes())
    assert issued["issued_at"][:10] == "2018-10-02"
    # Also there a rollback stands whose forecast is not to be had, and its places are called as the user knows them.
    (desk.folder / "sp500.csv").unlink()
    done = presage("rollback", desk.file, "--workdir", uri, "--reason", "back again", "-o", "json").json()
    assert "sp500.csv" in done["fault"]
    assert "/tmp/presage-" not in done["fault"]
    assert (
        presage("history", desk.file, "--workdir", uri, "-o", "json").json()["champions"][0]["message"] == "back again"
    )


def test_a_model_of_rows_that_is_brought_back_predicts_the_rows_that_are_open(tmp_path: Path) -> None:
    job, runs = row_job_case.make_job(), []
    for days in (row_job_case.DAYS - 30, row_job_case.DAYS - 10):
        row_job_case.trips(days=days).write_csv(tmp_path / "trips.csv")
        runs.append(row_job_case.run(job, tmp_path, workdir=tmp_path / "work").summary.run)
    now = row_job_case.NOW
    done = roll_back_job(
        job,
        Asked("it was bad"),
        base=tmp_path,
        place=WorkPlace(tmp_path / "work", "work"),
        now=now,
        progress=nothing,
    )
    assert [done.summary.champion.run, done.summary.before.run, done.summary.fault] == [*runs, ""]
    assert done.issued is not None
    assert done.issued.summary.issued_at == now
    predicted = DeltaTable(tmp_path / "work" / "lake" / "predictions" / "default.trips").to_pyarrow_table().to_pydict()
    assert predicted["run"].count(runs[0]) >= row_job_case.WAITING
