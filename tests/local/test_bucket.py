"""A job's lake in a bucket: runs keep there what they keep on a disk, and no interruption leaves it in pieces."""

from __future__ import annotations

import json
import os
import shutil
import signal
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing
from pathlib import Path
from threading import Event, Thread

import pytest
from commands import EXAMPLES, content, presage, start
from deltalake import DeltaTable
from s3.gateway import BUCKET, SECRET, Gateway
from s3.proxy import proxy

from presage.errors import JobError, LakeConflictError, NotSupportedError, StorageError
from presage.lake.manifest import list_manifests
from presage.lake.tables import Lake
from presage.models.bundle import read_bundle
from presage.spec.job import PredictionJob
from presage.spec.load import load_job
from presage.spec.outcome import RunOutcome
from presage.steps.bucket import Bucket, BucketPlace
from presage.steps.forecast import read_forecast
from presage.steps.history import read_summary
from presage.steps.lease import Lease, held_lease
from presage.steps.mirror import look_in, work_in
from presage.steps.promote import read_champions
from presage.steps.workdir import WorkDirectory

QUICKSTART = EXAMPLES / "quickstart.yaml"
KEY = "default.quickstart"
LOCK = f"runs/{KEY}/.lock"
EARLIER = ("--as-of", "2018-06-01")
Opener = Callable[[str], Bucket]
SHORT = 0.6
"""Seconds of a lease that a test waits for."""


@pytest.fixture
def bucket(reached: Gateway) -> Iterator[Opener]:
    """Opens the bucket below a prefix."""
    with ExitStack() as stack:
        yield lambda prefix: stack.enter_context(closing(Bucket(BucketPlace.parse(uri(prefix)))))


@pytest.fixture(scope="module")
def local(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A work directory that holds an earlier run."""
    workdir = tmp_path_factory.mktemp("local")
    presage("run", QUICKSTART, "--workdir", workdir, *EARLIER)
    return workdir


@pytest.fixture(scope="module")
def later(local: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """That work directory after a run and a forecast that followed it."""
    workdir = tmp_path_factory.mktemp("later") / "work"
    shutil.copytree(local, workdir)
    presage("run", QUICKSTART, "--workdir", workdir)
    presage("forecast", QUICKSTART, "--workdir", workdir)
    return workdir


@pytest.fixture
def job() -> PredictionJob:
    return load_job(QUICKSTART)


def uri(prefix: str) -> str:
    return f"s3://{BUCKET}/{prefix}"


def names(folder: Path) -> set[str]:
    return set(content(folder)) if folder.exists() else set()


def take_over(source: Path, target: Path) -> None:
    """Make a work directory what another one is; what is the same stays as it is."""
    before, after = content(target), content(source)
    for name in before.keys() - after.keys():
        (target / name).unlink()
    for name in after:
        if before.get(name) != after[name]:
            (target / name).parent.mkdir(parents=True, exist_ok=True)
            (target / name).write_bytes(after[name])


def fill(prefix: str, source: Path, job: PredictionJob) -> None:
    """Put a work directory into the bucket, below a prefix."""
    with work_in(uri(prefix), job) as place:
        take_over(source, place.directory)


def require_whole(folder: Path, job: PredictionJob) -> None:
    """Require that everything that a work directory speaks of is there and unharmed."""
    work = WorkDirectory(folder)
    for log in work.lake.glob("**/_delta_log"):
        table = DeltaTable(log.parent)
        assert all(Path(file.removeprefix("file://")).exists() for file in table.file_uris()), log
    for manifest in list_manifests(work.runs(job)):
        directory = work.run(job, manifest.run)
        read_bundle(directory / "bundle")
        assert read_summary(directory).digest == manifest.scorecard_digest
        for version in manifest.tables.values():
            Lake(str(work.lake)).read(version)
    champions = read_champions(work.champion(job))
    if champions is not None:
        assert champions.current.run in {manifest.run for manifest in list_manifests(work.runs(job))}
        assert read_forecast(work.run(job, champions.current.run)) is not None


def test_a_run_in_a_bucket_finds_and_keeps_what_one_on_a_disk_does(
    store: Gateway, later: Path, tmp_path: Path, job: PredictionJob
) -> None:
    words = (QUICKSTART, "--workdir", uri("team/lake"), "-o", "json")
    first = presage("run", *words, *EARLIER, **store.environment()).json()
    ended = presage("run", *words, "--outcome", tmp_path / "outcome", **store.environment()).json()
    on_disk = list_manifests(later / "runs")
    assert [ended["digest"], first["digest"]] == [manifest.scorecard_digest for manifest in on_disk]
    issued = presage("forecast", *words, **store.environment()).json()
    assert issued["run"] == ended["run"]

    folder = store.folder / "team" / "lake"
    require_whole(folder, job)
    assert not (folder / LOCK).exists()
    told = RunOutcome.model_validate_json((tmp_path / "outcome").read_bytes())
    assert told.champion is not None
    assert told.champion.digest == ended["digest"]
    held = read_forecast(folder / "runs" / KEY / ended["run"])
    assert held is not None
    assert json.loads(held.model_dump_json()) == issued

    shown = presage("report", *words, **store.environment()).json()
    assert shown == ended
    said = presage("report", *words[:3], "--run", first["run"], "--path", **store.environment()).out.strip()
    assert said == f"{uri('team/lake')}/runs/{KEY}/{first['run']}/report.html"
    assert (store.folder / said.removeprefix(f"s3://{BUCKET}/")).is_file()


def test_a_forecast_touches_nothing_but_the_forecasts_and_what_is_new_in_the_data(
    reached: Gateway, local: Path, job: PredictionJob
) -> None:
    fill("untouched", local, job)
    with proxy(reached.url) as between:
        presage(*("forecast", QUICKSTART, "--workdir", uri("untouched"), *EARLIER), **reached.environment(between.url))
    paths = [key.partition(f"{BUCKET}/untouched/")[2] for key in between.written]
    assert [path.rpartition("/")[2] for path in paths] == ["forecast.json"]


def with_short_reports(workdir: Path, place: Path) -> Path:
    """Return a copy of a work directory whose reports have not the script of a few megabytes that each brings."""
    shutil.copytree(workdir, place)
    for report in place.rglob("report.html"):
        report.write_text(report.parent.name)
    return place


@pytest.mark.slow
def test_each_interruption_of_the_way_back_leaves_the_bucket_whole(
    reached: Gateway,
    local: Path,
    later: Path,
    job: PredictionJob,
    monkeypatch: pytest.MonkeyPatch,
    bucket: Opener,
    tmp_path: Path,
) -> None:
    local, later = (with_short_reports(one, tmp_path / name) for name, one in (("local", local), ("later", later)))
    new = names(later) - names(local)
    assert any("manifest.json" in name for name in new)
    number, finished = 0, False
    with proxy(reached.url) as between:
        monkeypatch.setenv("AWS_ENDPOINT_URL", between.url)
        while not finished:
            number += 1
            prefix = f"cut-{number}"
            folder = reached.folder / prefix
            fill(prefix, local, job)
            assert bucket(prefix).write(f"runs/{KEY}/leftover/bundle/bundle.json", b"{}", over=None)
            between.refuse_after(number - 1)
            try:
                fill(prefix, later, job)
                finished = True
            except StorageError:
                require_whole(folder, job)
                assert not (folder / LOCK).exists()
            between.refuse_after(None)
            fill(prefix, later, job)
            assert names(folder) == names(later)
            require_whole(folder, job)
            shutil.rmtree(folder)
    assert number > len(new)


@pytest.mark.slow
def test_a_run_that_is_killed_on_the_way_back_is_no_run_and_the_next_one_finds_the_same(
    reached: Gateway, local: Path, later: Path, job: PredictionJob
) -> None:
    folder = reached.folder / "killed"
    fill("killed", local, job)
    before = list_manifests(folder / "runs")
    with proxy(reached.url) as between:
        between.hold_from = 12
        process = start(
            *("run", QUICKSTART, "--workdir", uri("killed"), "-o", "json"), **reached.environment(between.url)
        )
        assert between.held.wait(120), process.communicate(timeout=10)
        os.killpg(process.pid, signal.SIGKILL)
        process.communicate(timeout=30)
    assert (folder / LOCK).exists()
    assert list_manifests(folder / "runs") == before
    require_whole(folder, job)
    again = presage("run", QUICKSTART, "--workdir", uri("killed"), "-o", "json", **reached.environment()).json()
    assert again["digest"] == list_manifests(later / "runs")[0].scorecard_digest
    require_whole(folder, job)
    assert {path.name for path in (folder / "runs" / KEY).iterdir()} == {again["run"], before[0].run}
    assert not (folder / LOCK).exists()


def test_a_second_run_is_told_to_wait_and_the_first_one_ends_well(store: Gateway, tmp_path: Path) -> None:
    words = ("run", QUICKSTART, "--workdir", uri("twice"))
    with proxy(store.url) as between:
        between.hold_from = 1
        first = start(*words, **store.environment(between.url))
        assert between.held.wait(120), first.communicate(timeout=10)
        second = presage(*words, "--outcome", tmp_path / "outcome", code=7, **store.environment())
        assert f"another run of {KEY} is going on in {uri('twice')}" in second.err
        failure = RunOutcome.model_validate_json((tmp_path / "outcome").read_bytes()).failure
        assert failure is not None
        assert (failure.reason, failure.retry) == ("LakeConflictError", True)
        between.release.set()
        _, err = first.communicate(timeout=120)
    assert first.returncode == 0, err


def test_a_run_that_is_stopped_gives_its_lock_back_and_keeps_nothing(reached: Gateway, tmp_path: Path) -> None:
    folder = reached.folder / "stopped"
    process = start(
        *("run", QUICKSTART, "--workdir", uri("stopped"), "--outcome", tmp_path / "outcome"), **reached.environment()
    )
    deadline = time.monotonic() + 60
    while not (folder / LOCK).exists():
        assert process.poll() is None, process.communicate()
        assert time.monotonic() < deadline
        time.sleep(0.01)
    os.killpg(process.pid, signal.SIGTERM)
    process.communicate(timeout=60)
    assert process.returncode == 143
    assert names(folder) == set()
    assert not (folder / LOCK).exists()
    failure = RunOutcome.model_validate_json((tmp_path / "outcome").read_bytes()).failure
    assert failure is not None
    assert failure.reason == "Interrupted"


@pytest.mark.parametrize(
    ("setting", "code", "said"),
    [
        (
            {"AWS_SECRET_ACCESS_KEY": "presage-wrong-secret"},
            7,
            "refuses access to s3://lakes/any: SignatureDoesNotMatch",
        ),
        ({"AWS_ACCESS_KEY_ID": "nobody"}, 7, "refuses access to s3://lakes/any"),
        ({"AWS_ENDPOINT_URL": "http://127.0.0.1:9"}, 7, "http://127.0.0.1:9 does not answer"),
        ({"AWS_ENDPOINT_URL": "nowhere"}, 2, "Correct AWS_ENDPOINT_URL"),
        ({"PRESAGE_WORKDIR": "s3://no-such-bucket/any"}, 2, "there is no bucket 'no-such-bucket'"),
        ({"PRESAGE_WORKDIR": "s3://lakes/../any"}, 2, "Write s3://bucket/prefix"),
        ({"PRESAGE_WORKDIR": "s3://user:hunter22@lakes/any"}, 2, "address holds credentials"),
        ({"PRESAGE_WORKDIR": "gs://lakes/any"}, 2, "s3://bucket/prefix as --workdir"),
    ],
    ids=["secret", "key", "down", "address", "bucket", "prefix", "credentials", "scheme"],
)
def test_a_store_that_cannot_be_used_is_said_in_a_sentence(
    setting: dict[str, str], code: int, said: str, store: Gateway, tmp_path: Path
) -> None:
    environment = store.environment() | {"PRESAGE_WORKDIR": uri("any"), "PRESAGE_OUTCOME": str(tmp_path / "outcome")}
    ended = presage("run", QUICKSTART, code=code, **environment | setting)
    assert said in ended.err
    failure = RunOutcome.model_validate_json((tmp_path / "outcome").read_bytes()).failure
    assert failure is not None
    assert failure.retry == (code == 7)
    for secret in (SECRET, "presage-wrong-secret", "hunter22"):
        assert secret not in ended.err + ended.out + failure.message


def test_without_credentials_it_is_said_how_they_are_given(store: Gateway, tmp_path: Path) -> None:
    environment = store.environment() | {"HOME": str(tmp_path), "AWS_ACCESS_KEY_ID": "", "AWS_SECRET_ACCESS_KEY": ""}
    ended = presage("run", QUICKSTART, "--workdir", uri("any"), code=7, **environment)
    assert "Set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY" in ended.err


def test_without_its_extra_a_bucket_names_it(store: Gateway, tmp_path: Path) -> None:
    (tmp_path / "boto3.py").write_text("raise ModuleNotFoundError('No module named boto3', name='boto3')\n")
    for command in ("run", "forecast", "report"):
        ended = presage(
            command, QUICKSTART, "--workdir", uri("any"), code=2, PYTHONPATH=str(tmp_path), **store.environment()
        )
        assert "pip install 'presage[s3]'" in ended.err


def test_a_run_that_fails_keeps_nothing_and_names_the_bucket(
    reached: Gateway, local: Path, tmp_path: Path, job: PredictionJob
) -> None:
    folder = reached.folder / "failed"
    fill("failed", local, job)
    before = content(folder)
    (tmp_path / "empty.csv").write_text("time,Close\n")
    words = (QUICKSTART, "--workdir", uri("failed"))
    presage("run", *words, "--source", f"sp500={tmp_path / 'empty.csv'}", code=5, **reached.environment())
    assert content(folder) == before
    ended = presage("report", *words, "--run", "other", code=2, **reached.environment())
    assert f"no run 'other' in {uri('failed')}" in ended.err


def test_what_was_kept_in_between_stays_where_the_rest_fails_and_is_not_sent_twice(
    reached: Gateway, local: Path, later: Path, job: PredictionJob, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = reached.folder / "between"

    def fail() -> None:
        with work_in(uri("between"), job) as place:
            take_over(local, place.directory)
            place.keep()
            place.keep()
            assert names(folder) == names(local)
            take_over(later, place.directory)
            raise StorageError("the disk is full.")

    with proxy(reached.url) as between:
        monkeypatch.setenv("AWS_ENDPOINT_URL", between.url)
        with pytest.raises(StorageError, match="disk is full"):
            fail()
        assert len(between.written) == len(names(local))
        assert names(folder) == names(local)
        fill("between", later, job)
    assert names(folder) == names(later)
    require_whole(folder, job)


def test_what_another_wrote_meanwhile_is_not_overwritten(
    reached: Gateway, local: Path, job: PredictionJob, bucket: Opener
) -> None:
    champion = f"champions/{KEY}.json"

    def race() -> None:
        with work_in(uri("raced"), job) as place:
            take_over(local, place.directory)
            assert bucket("raced").write(champion, b"another's", over=None)

    with pytest.raises(LakeConflictError, match=champion):
        race()
    assert (reached.folder / "raced" / champion).read_bytes() == b"another's"


def test_what_is_not_the_jobs_own_is_left_alone(reached: Gateway, local: Path, job: PredictionJob) -> None:
    folder = reached.folder / "shared"
    others = {
        "notes.txt",
        f"runs/{KEY}/notes.txt",
        "runs/default.other/1/manifest.json",
        "lake/raw/default.other/prices/part.parquet",
        "champions/default.other.json",
        f"champions/{KEY}.json.old",
    }
    for name in others:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text("another's")
    with work_in(uri("shared"), job) as place:
        assert names(place.directory) == set()
        take_over(local, place.directory)
    with work_in(uri("shared"), job) as place:
        shutil.rmtree(place.directory)
        place.directory.mkdir()
    assert names(folder) >= others
    assert not [name for name in names(folder) - others if not name.startswith("champions/")]


def test_to_look_at_a_run_takes_no_lock_and_no_forecaster(
    reached: Gateway, local: Path, job: PredictionJob, bucket: Opener
) -> None:
    fill("seen", local, job)
    with held_lease(bucket("seen"), LOCK, job=KEY), look_in(uri("seen"), job) as place:
        assert {Path(name).name for name in names(place.directory)} == {"manifest.json", "summary.json", f"{KEY}.json"}


def test_a_lock_that_nobody_renews_is_taken_over_and_its_first_holder_learns_it(bucket: Opener) -> None:
    store = bucket("abandoned")
    first = Lease(store, LOCK, KEY, SHORT)
    first.acquire()
    with held_lease(store, LOCK, job=KEY, seconds=SHORT) as second:
        with pytest.raises(LakeConflictError, match="took over"):
            first.confirm()
        first.release()
        second.confirm()
    assert store.read(LOCK) is None


def test_a_lock_that_is_renewed_is_not_taken_over(bucket: Opener) -> None:
    with held_lease(bucket("renewed"), LOCK, job=KEY, seconds=SHORT) as first:
        with pytest.raises(LakeConflictError, match="going on"):
            Lease(bucket("renewed"), LOCK, KEY, SHORT).acquire()
        first.confirm()


def test_of_many_that_want_a_lock_at_once_one_gets_it(bucket: Opener) -> None:
    got: list[str] = []
    go, over = Event(), Event()

    def want() -> None:
        go.wait(30)
        try:
            with held_lease(bucket("wanted"), LOCK, job=KEY, seconds=SHORT):
                got.append("lock")
                over.wait(30)
        except LakeConflictError:
            got.append("conflict")
            if len(got) == 5:
                over.set()

    threads = [Thread(target=want) for _ in range(5)]
    for thread in threads:
        thread.start()
    go.set()
    for thread in threads:
        thread.join(60)
    assert sorted(got) == ["conflict"] * 4 + ["lock"]


def test_a_lock_that_is_given_back_while_one_waits_is_had_at_once(bucket: Opener) -> None:
    first = Lease(bucket("returned"), LOCK, KEY, 60.0)
    first.acquire()
    first.release()
    Lease(bucket("returned"), LOCK, KEY, 60.0).acquire()


def test_a_repeat_of_a_write_whose_answer_was_lost_is_no_conflict(bucket: Opener) -> None:
    store = bucket("repeated")
    tag = store.write("name", b"content", over=None)
    assert tag is not None
    assert store.write("name", b"content", over=None) == tag
    assert store.write("name", b"other", over=None) is None
    assert store.write("name", b"other", over='"0"') is None
    assert store.write("none", b"other", over=tag) is None
    assert store.read("name") == (b"content", tag)
    assert store.read("none") is None
    store.delete("name")
    store.delete("name")


def test_a_renewal_whose_answer_was_lost_is_still_ones_own(bucket: Opener) -> None:
    store = bucket("unheard")
    lease = Lease(store, LOCK, KEY, SHORT)
    lease.acquire()
    held = store.read(LOCK)
    assert held is not None
    assert store.write(LOCK, held[0] + b" ", over=held[1])
    lease.confirm()


@pytest.mark.parametrize(
    ("text", "written"),
    [
        ("s3://lakes", "s3://lakes"),
        ("s3://lakes/", "s3://lakes"),
        ("s3://lakes/a/b/", "s3://lakes/a/b"),
    ],
)
def test_a_place_in_a_bucket_is_read_from_its_uri(text: str, written: str) -> None:
    assert str(BucketPlace.parse(text)) == written


@pytest.mark.parametrize(
    "text", ["s3://", "s3:///a", "s3://a", "s3://lakes/a//b", "s3://lakes/a?b", "s3://u:p@lakes/a"]
)
def test_what_names_no_place_in_a_bucket_is_refused(text: str) -> None:
    with pytest.raises(JobError):
        BucketPlace.parse(text)


def test_a_directory_is_worked_in_as_it_is(tmp_path: Path, job: PredictionJob) -> None:
    for location in (str(tmp_path), tmp_path.as_uri()):
        with work_in(location, job) as place, look_in(location, job) as seen:
            assert place.directory == seen.directory == tmp_path
            place.keep()
            assert place.called(tmp_path / "runs") == str(tmp_path / "runs")
    with pytest.raises(NotSupportedError), look_in("gs://lakes/a", job):
        pass
