"""Runs made again from what they pinned: on real data, elsewhere, later, and after what must be noticed."""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path

import polars as pl
import pytest
from arch.data import sp500
from commands import EXAMPLES, content, presage
from deltalake import DeltaTable, write_deltalake
from s3.gateway import BUCKET, Gateway

from presage.errors import DataExpiredError, JobError, LakeError, NotSupportedError
from presage.lake.manifest import load_manifest, save_manifest
from presage.spec.job import PredictionJob
from presage.spec.load import load_job, parse_job
from presage.steps.history import read_summary
from presage.steps.kept_run import RunName, kept_run
from presage.steps.lock import machine_kind, read_lock
from presage.steps.mirror import work_in
from presage.steps.records import DoneRun
from presage.steps.rerun import Rerun, rerun
from presage.steps.run import run_job
from presage.steps.workdir import WorkDirectory

QUICKSTART = EXAMPLES / "quickstart.yaml"
FIRST, SECOND = datetime(2016, 6, 1, tzinfo=UTC), datetime(2017, 6, 1, tzinfo=UTC)
THIRD = datetime(2018, 6, 1, tzinfo=UTC)
JOB = """
apiVersion: presage.dev/v1alpha1
kind: PredictionJob
metadata: {name: days, labels: {team: desk}}
spec:
  frequency: 1d
  target: {source: prices, column: range_volatility, minimum: 0}
  sources:
    - name: prices
      file: {uri: prices.csv}
      time: Date
      timeZone: America/New_York
      availability: {lag: 0s, revised: true}
  features: [{rolling: {columns: [prices.range_volatility], windows: [5, 22]}}]
  models: [{name: ridge}, {name: xgboost, parameters: {n_estimators: 20}}]
  evaluation: {folds: 4}
  promotion: {replications: 200}
  retention: {runs: 2}
"""


@dataclass(frozen=True)
class Site:
    """A job, the folder of its file, and a work directory."""

    job: PredictionJob
    folder: Path

    @property
    def work(self) -> WorkDirectory:
        return WorkDirectory(self.folder / "work")

    def run(self, now: datetime, *, job: PredictionJob | None = None, cache: bool = True) -> DoneRun:
        return run_job(
            job or self.job, base=self.folder, workdir=self.work.root, now=now, sources={}, workers=1,
            progress=lambda *_: None, cache=cache,
        )  # fmt: skip

    def write(self, until: datetime, revised: float = 1.0) -> None:
        """Write the prices up to a day; those of the 20 last days in May 2016 may be told otherwise."""
        days = sp500.load().loc["2012-01-01" : until.strftime("%Y-%m-%d")].copy()
        days.loc["2016-05-01":"2016-05-20", "High"] *= revised
        days.reset_index().to_csv(self.folder / "prices.csv", index=False)


def made_again(location: Path | str, run: str, **changes: object) -> Rerun:
    said: list[str] = []
    words = {"lock": read_lock(), "cpu": machine_kind(), "workers": 1, "warn": said.append}
    with kept_run(RunName.parse(run), str(location)) as kept:
        done = rerun(kept, progress=lambda *_: None, **(words | changes))
    assert bool(said) == (state(done, "software") == "differs")
    return done


def state(done: Rerun, name: str) -> str:
    return next(one.state for one in done.checks if one.name == name)


def require_match(done: Rerun) -> None:
    assert done.match, done.verdict
    assert {one.state for one in done.checks} == {"same"}, done.checks


@pytest.fixture(scope="module")
def lived(tmp_path_factory: pytest.TempPathFactory) -> Site:
    """A job that has run three times: on the first year's data, on newer and revised data, and with another model."""
    site = Site(parse_job(JOB, "days.yaml"), tmp_path_factory.mktemp("lived"))
    spec = site.job.spec.model_copy(update={"retention": site.job.spec.retention.model_copy(update={"runs": 9})})
    site = replace(site, job=site.job.model_copy(update={"spec": spec}))
    site.write(FIRST)
    site.run(FIRST)
    site.write(SECOND, revised=1.2)
    site.run(SECOND)
    site.write(THIRD, revised=1.2)
    other = spec.model_copy(update={"models": load_job(QUICKSTART).spec.models[:1]})
    site.run(THIRD, job=site.job.model_copy(update={"spec": other}))
    return site


def runs_of(site: Site) -> list[str]:
    """The runs of a site, the oldest first."""
    return sorted(path.name for path in site.work.runs(site.job).iterdir() if not path.name.startswith("."))


@pytest.fixture
def copied(lived: Site, tmp_path: Path) -> Site:
    """A copy of it that a test may harm."""
    shutil.copytree(lived.folder, tmp_path / "copy")
    return replace(lived, folder=tmp_path / "copy")


def test_the_quickstart_matches_in_another_process_with_one_worker_or_two(quickstart_workdir: Path) -> None:
    (run,) = (quickstart_workdir / "runs" / "default.quickstart").glob("2*")
    digest, before = read_summary(run).digest, content(quickstart_workdir)
    one = presage("rerun", run.name, "--workdir", quickstart_workdir, "--workers", "1", OMP_NUM_THREADS="2")
    assert one.out.splitlines()[-1] == f"match: {digest}"
    words = ("rerun", f"default.quickstart/{run.name}", "--workdir", quickstart_workdir, "--workers", "2", "-o", "json")
    two = Rerun.model_validate(presage(*words, PYTHONHASHSEED="7").json())
    require_match(two)
    assert two.digest_now == digest
    assert content(quickstart_workdir) == before


def test_a_path_alone_leads_to_a_run(lived: Site, tmp_path: Path) -> None:
    ended = presage("rerun", lived.work.run(lived.job, runs_of(lived)[2]), cwd=tmp_path)
    assert ended.out.splitlines()[-1].startswith("match: sha256:")


@pytest.mark.parametrize("place", [0, 1, 2])
def test_each_run_matches_after_newer_data_revisions_other_champions_and_more_trials(lived: Site, place: int) -> None:
    done = made_again(lived.work.root, runs_of(lived)[place])
    require_match(done)


def test_the_runs_differ_in_what_they_saw_and_pin_what_they_were_judged_by(lived: Site) -> None:
    directories = [lived.work.run(lived.job, run) for run in runs_of(lived)]
    first, second, third = (load_manifest(path / "manifest.json") for path in directories)
    assert (first.tried, first.incumbent) == (None, None)
    assert second.tried == first.tables["trials"]
    assert third.tried == second.tables["trials"]
    assert third.incumbent is not None
    assert third.incumbent.run in {first.run, second.run}
    assert len({first.inputs, second.inputs, third.inputs}) == 3
    assert "desk" not in (directories[0] / "job.json").read_text()
    raw = [path / "summary.json" for path in directories]
    assert [json.loads(path.read_text())["scorecard"]["tried"] for path in raw] == [2, 2, 3]


def test_a_work_directory_alone_is_enough(copied: Site) -> None:
    (copied.folder / "prices.csv").unlink()
    require_match(made_again(copied.work.root, runs_of(copied)[0]))


def test_another_lock_is_told_first_and_what_it_finds_is_compared_all_the_same(lived: Site) -> None:
    done = made_again(lived.work.root, runs_of(lived)[0], lock=read_lock() | {"numpy": "0.1"})
    assert done.match
    assert (state(done, "software"), state(done, "scorecard"), state(done, "bundle")) == (
        "differs", "same", "not compared",
    )  # fmt: skip
    found = next(one.found for one in done.checks if one.name == "software")
    assert found.endswith("then, 0.1 now")


def test_another_kind_of_machine_need_not_repeat_the_bundle(lived: Site) -> None:
    done = made_again(lived.work.root, runs_of(lived)[0], cpu="arm64")
    assert done.match
    assert (state(done, "machine"), state(done, "bundle")) == ("differs", "not compared")


def test_a_run_under_another_scorecard_differs_and_the_first_number_is_named(copied: Site) -> None:
    run = runs_of(copied)[0]
    directory = copied.work.run(copied.job, run)
    summary = read_summary(directory)
    contenders = list(summary.scorecard.contenders)
    told = contenders[1].metrics.mae
    metrics = contenders[1].metrics.model_copy(update={"mae": told * 1.01})
    contenders[1] = contenders[1].model_copy(update={"metrics": metrics})
    card = summary.scorecard.model_copy(update={"contenders": tuple(contenders)})
    forged = summary.model_copy(update={"scorecard": card, "digest": card.digest()})
    (directory / "summary.json").write_text(forged.model_dump_json())
    with pytest.raises(LakeError, match=r"summary\.json is not what was pinned"):
        made_again(copied.work.root, run)
    manifest = load_manifest(directory / "manifest.json")
    save_manifest(directory, manifest.model_copy(update={"scorecard_digest": card.digest()}))

    ended = presage("rerun", run, "--workdir", copied.work.root, "--workers", "1", code=9)
    assert ended.out.splitlines()[-1] == (
        f"differs: contenders[1] {contenders[1].name}.metrics.mae: {told * 1.01:.6g} then, {told:.6g} now"
    )
    done = made_again(copied.work.root, run)
    assert (done.match, state(done, "bundle"), state(done, "data")) == (False, "same", "same")


def test_a_bundle_with_another_byte_differs(copied: Site) -> None:
    run = runs_of(copied)[0]
    path = copied.work.run(copied.job, run) / "features.json"
    path.write_text(path.read_text() + " ")
    done = made_again(copied.work.root, run)
    assert not done.match
    assert state(done, "scorecard") == "same"
    assert done.verdict.startswith("differs: features.json: sha256:")


@pytest.mark.parametrize(
    ("spoil", "told"),
    [
        (lambda text: text.replace('"seed": 0', '"seed": 1'), r"job\.json is not what was pinned"),
        (lambda text: text.replace('"folds": 4', '"folds": 5'), r"job\.json is not what was pinned"),
        (lambda text: text[:-40], r"the job of run .* cannot be read"),
    ],
    ids=["seed", "folds", "cut off"],
)
def test_a_job_that_was_changed_is_refused(copied: Site, spoil: Callable[[str], str], told: str) -> None:
    run = runs_of(copied)[0]
    path = copied.work.run(copied.job, run) / "job.json"
    spoiled = spoil(path.read_text())
    assert spoiled != path.read_text()
    path.write_text(spoiled)
    with pytest.raises(LakeError, match=told):
        made_again(copied.work.root, run)


def test_a_lock_that_was_changed_is_refused(copied: Site) -> None:
    run = runs_of(copied)[0]
    directory = copied.work.run(copied.job, run)
    manifest = load_manifest(directory / "manifest.json")
    save_manifest(directory, manifest.model_copy(update={"lock": manifest.lock | {"numpy": "0.1"}}))
    with pytest.raises(LakeError, match="the lock in manifest"):
        made_again(copied.work.root, run)


def test_a_cell_that_was_changed_in_the_lake_is_noticed_by_the_digest(copied: Site) -> None:
    run = runs_of(copied)[0]
    version = load_manifest(copied.work.run(copied.job, run) / "manifest.json").tables["prices"]
    table = DeltaTable(copied.work.lake / version.table, version=version.version)
    (file,) = table.file_uris()
    path = Path(file.removeprefix("file://"))
    rows = pl.read_parquet(path)
    seventh = pl.int_range(pl.len()) == 7
    rows.with_columns(High=pl.when(seventh).then(pl.col("High") + 0.01).otherwise("High")).write_parquet(path)
    for log in (copied.work.lake / version.table / "_delta_log").glob("*.json"):
        log.write_text(re.sub(rf'("path":"{path.name}".*?"size":)\d+', rf"\g<1>{path.stat().st_size}", log.read_text()))
    ended = presage("rerun", run, "--workdir", copied.work.root, code=6)
    assert f"{version.digest} was pinned" in ended.err


@pytest.mark.parametrize("table", ["prices", "trials"])
def test_a_version_that_is_gone_has_expired(copied: Site, table: str) -> None:
    run = runs_of(copied)[1]
    manifest = load_manifest(copied.work.run(copied.job, run) / "manifest.json")
    version = manifest.tried if table == "trials" else manifest.tables[table]
    assert version is not None
    name = copied.work.lake / version.table
    newest = DeltaTable(name).to_pyarrow_table()
    write_deltalake(name, newest, mode="overwrite")
    DeltaTable(name).vacuum(retention_hours=0, dry_run=False, enforce_retention_duration=False, full=True)
    with pytest.raises(DataExpiredError, match=rf"version {version.version} of table .* is no longer kept"):
        made_again(copied.work.root, run)


def test_a_run_that_retention_has_passed_has_expired(tmp_path: Path) -> None:
    site = Site(parse_job(JOB.replace("{replications: 200}", "{replications: 200, policy: Force}"), "days"), tmp_path)
    site.write(THIRD)
    made = [site.run(datetime(2016, month, 1, tzinfo=UTC)).summary.run for month in (1, 2, 3, 4)]
    kept = runs_of(site)
    assert kept == made[-3:]
    for run in kept:
        require_match(made_again(site.work.root, run))
    ended = presage("rerun", made[0], "--workdir", site.work.root, code=6)
    assert f"run {made[0]} of default.days is no longer kept: retention has passed it" in ended.err


def test_a_run_that_never_was_is_told_apart(lived: Site) -> None:
    with pytest.raises(JobError, match=r"there is no run 20000101T000000Z-00000000 in .*\. There are, the newest"):
        made_again(lived.work.root, "20000101T000000Z-00000000")
    with pytest.raises(JobError, match="there is no run"):
        made_again(lived.work.root, f"default.other/{runs_of(lived)[0]}")


def test_two_jobs_may_have_a_run_of_the_same_name(copied: Site) -> None:
    run = runs_of(copied)[0]
    shutil.copytree(copied.work.run(copied.job, run), copied.work.all_runs / "other.days" / run)
    with pytest.raises(JobError, match=rf"2 jobs in .* have a run {run}. Give one: default\.days/{run}"):
        made_again(copied.work.root, run)
    require_match(made_again(copied.work.root, f"default.days/{run}"))


def test_a_run_of_an_earlier_presage_says_so(copied: Site) -> None:
    run = runs_of(copied)[0]
    directory = copied.work.run(copied.job, run)
    (directory / "job.json").unlink()
    with pytest.raises(LakeError, match=r"has lost its job\.json"):
        made_again(copied.work.root, run)
    held = json.loads((directory / "manifest.json").read_text())
    v1 = {name: held[name] for name in held if name not in {"inputs", "lock", "cpu", "tried", "incumbent", "replaced"}}
    (directory / "manifest.json").write_text(json.dumps(v1 | {"version": "v1"}))
    with pytest.raises(NotSupportedError, match="made by an earlier Presage"):
        made_again(copied.work.root, run)


@pytest.mark.parametrize("example", ["chicago-taxi-fare", "chicago-taxi-tip"])
def test_real_trips_match_after_later_ones_came(example: str, shared_data: Path, tmp_path: Path) -> None:
    job = load_job(EXAMPLES / f"{example}.yaml")
    document = job.model_dump(mode="json", by_alias=True, exclude_none=True)
    document["spec"]["models"] = [{"name": "xgboost", "parameters": {"n_estimators": 20}}]
    document["spec"]["evaluation"]["folds"] = 3
    job = PredictionJob.model_validate(document)
    trips = {"trips": str(shared_data / "chicago_taxi" / "data.csv.gz")}
    names = []
    for now in (datetime(2015, 6, 1, tzinfo=UTC), datetime(2017, 2, 1, tzinfo=UTC)):
        done = run_job(
            job, base=tmp_path, workdir=tmp_path / "w", now=now, sources=trips, workers=1, progress=lambda *_: None
        )
        names.append(done.summary.run)
        assert load_manifest(done.directory / "manifest.json").replaced == ("trips",)
    for run in names:
        require_match(made_again(tmp_path / "w", run))


def test_a_panel_of_real_stocks_matches_with_two_workers(shared_data: Path, tmp_path: Path) -> None:
    table = pl.read_csv(shared_data / "sp500_stocks_5yr" / "sp500_stocks_5yr.csv.gz")
    table.filter(pl.col("Name").is_in(("AAPL", "AMZN", "BHGE"))).write_csv(tmp_path / "prices.csv")
    document = json.loads(json.dumps(parse_job(JOB, "days").model_dump(mode="json", by_alias=True, exclude_none=True)))
    document["spec"]["sources"][0] |= {"time": "date", "series": "Name", "invalidRows": "Drop"}
    site = Site(PredictionJob.model_validate(document), tmp_path)
    run = site.run(datetime(2018, 1, 1, tzinfo=UTC)).summary.run
    require_match(made_again(site.work.root, run, workers=2))


def test_a_run_in_a_bucket_is_made_again_from_a_copy(reached: Gateway, lived: Site, tmp_path: Path) -> None:
    run = runs_of(lived)[1]
    place = f"s3://{BUCKET}/rerun"
    with work_in(place, lived.job) as copy:
        shutil.copytree(lived.work.root, copy.directory, dirs_exist_ok=True)
    before = content(reached.folder)
    words = ("-o", "json", "--workers", "1")
    ended = presage("rerun", run, "--workdir", place, *words, **reached.environment())
    require_match(Rerun.model_validate(ended.json()))
    path = f"{place}/runs/default.days/{run}"
    assert presage("rerun", path, *words, cwd=tmp_path, **reached.environment()).json()["match"]
    assert content(reached.folder) == before
    missing = presage("rerun", "20000101T000000Z-00000000", "--workdir", place, code=2, **reached.environment())
    assert f"there is no run 20000101T000000Z-00000000 in {place}" in missing.err
