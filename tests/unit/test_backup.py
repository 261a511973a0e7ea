"""Backups of folders: what is copied while runs go on, what is kept, and what a restore refuses."""

from __future__ import annotations

import io
import json
import shutil
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from arch.data import sp500
from backup_case import NOW, Eventful, made, require_whole, restored
from commands import content

from presage.cli.places import named_places, require_apart
from presage.errors import JobError, LakeConflictError, LakeError, NotSupportedError, StorageError
from presage.lake.retention import retain
from presage.lake.tables import Lake
from presage.spec.load import parse_job
from presage.steps.backup import open_backup, whole_backups
from presage.steps.bucket_store import open_store
from presage.steps.promote import read_champions
from presage.steps.recovery import MARK
from presage.steps.run import run_job
from presage.steps.snapshot import Measured, Rank, is_copied, job_of, rank
from presage.steps.store import FolderStore
from presage.steps.workdir import WorkDirectory

JOB = parse_job(
    """
apiVersion: presage.dev/v1alpha1
kind: PredictionJob
metadata: {name: days}
spec:
  frequency: 1d
  target: {source: prices, column: range_volatility, minimum: 0}
  sources:
    - name: prices
      file: {uri: prices.csv}
      time: Date
      timeZone: America/New_York
      availability: {lag: 0s, revised: true}
  features: [{rolling: {columns: [prices.range_volatility], windows: [5]}}]
  models: [{name: ridge}]
  evaluation: {folds: 3}
  promotion: {replications: 200}
""",
    "days.yaml",
)
FIRST, SECOND = datetime(2015, 12, 1, tzinfo=UTC), datetime(2016, 1, 15, tzinfo=UTC)


@pytest.fixture(scope="module")
def lived(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a job's file, and the work directory of its first run."""
    folder = tmp_path_factory.mktemp("lived")
    run(folder, FIRST)
    return folder


@pytest.fixture
def site(lived: Path, tmp_path: Path) -> Path:
    """A copy of it."""
    shutil.copytree(lived, tmp_path / "site")
    return tmp_path / "site"


@pytest.fixture
def place(tmp_path: Path) -> FolderStore:
    return FolderStore(tmp_path / "backups")


def run(site: Path, now: datetime) -> None:
    """Run the job on the days up to one."""
    sp500.load().loc["2013-06-01" : f"{now:%Y-%m-%d}"].reset_index().to_csv(site / "prices.csv", index=False)
    run_job(
        JOB, base=site, workdir=site / "work", now=now, sources={}, workers=1, progress=lambda *_: None, cache=False
    )


def run_again(site: Path) -> None:
    """Run the job on newer days, and delete the run before and all that it alone needs."""
    work = WorkDirectory(site / "work")
    run(site, SECOND)
    champions = read_champions(work.champion(JOB))
    assert champions is not None
    lake, protected = Lake(str(work.lake)), {champions.current.run}
    removed = retain(lake, work.all_runs, 1, protected=protected, grace=timedelta())
    assert removed.files > 0
    for directory in removed.runs:
        shutil.rmtree(directory)


def same(folder: Path) -> dict[str, bytes]:
    return {name: held for name, held in content(folder).items() if "_locks" not in name}


def test_a_restored_lake_is_the_one_that_was_backed_up(site: Path, place: FolderStore, tmp_path: Path) -> None:
    dump = tmp_path / "mysql.sql"
    dump.write_text("CREATE TABLE runs (id INT);\n")
    backup = made(FolderStore(site / "work"), place, files=[dump])
    assert backup.time == "20261122T021700Z"
    assert [one.name for one in backup.places] == ["files", "lakes"]
    assert backup.size == sum(len(held) for held in same(site / "work").values()) + dump.stat().st_size
    held = json.loads((place.root / backup.time / "backup.json").read_text())
    assert held["places"][0]["objects"] == [
        {"name": "mysql.sql", "size": 28, "sha256": backup.places[0].objects[0].sha256}
    ]
    restored(place, FolderStore(tmp_path / "new"))
    restored(place, FolderStore(tmp_path / "dumps"), name="files")
    assert same(tmp_path / "new") == same(site / "work")
    assert same(tmp_path / "dumps") == {"mysql.sql": dump.read_bytes()}
    require_whole(tmp_path / "new", JOB)


# A listing is the first call, the champion's copy the second; there are 27 in a backup that nothing happens in.
@pytest.mark.parametrize("moment", [1, 2, 3, 5, 7, 13, 20, 26])
def test_a_run_that_ends_at_any_moment_of_a_backup_and_deletes_the_one_before_leaves_it_whole(
    site: Path, place: FolderStore, tmp_path: Path, moment: int
) -> None:
    source = Eventful(FolderStore(site / "work"), moment, lambda: run_again(site))
    made(source, place)
    assert source.calls >= moment
    restored(place, FolderStore(tmp_path / "new"))
    assert require_whole(tmp_path / "new", JOB) == require_whole(site / "work", JOB)


@pytest.mark.parametrize("moment", [2, 9, 21, 25])
def test_a_run_that_ends_during_a_backup_is_in_it_whole_or_not_at_all(
    site: Path, place: FolderStore, tmp_path: Path, moment: int
) -> None:
    made(Eventful(FolderStore(site / "work"), moment, lambda: run(site, SECOND)), place)
    restored(place, FolderStore(tmp_path / "new"))
    runs = require_whole(tmp_path / "new", JOB)
    assert set(runs) <= set(require_whole(site / "work", JOB))


def test_a_lake_whose_runs_are_deleted_each_time_is_not_backed_up(site: Path, place: FolderStore) -> None:
    class Restless(FolderStore):
        def list(self, folder: str = "") -> dict:
            found = super().list(folder)
            number = len([name for name in found if "/unrest-" in name])
            for path in (site / "work" / "runs").glob("*/unrest-*"):
                path.unlink()
            (site / "work" / "runs" / "default.days" / f"unrest-{number}{len(calls)}").write_text("")
            calls.append(0)
            return found

    calls: list[int] = []
    with pytest.raises(LakeConflictError, match=r"runs of default\.days were deleted each of 10 times"):
        made(Restless(site / "work"), place)
    assert whole_backups(place) == []


def test_old_backups_go_once_the_new_one_is_whole_and_what_a_killed_one_left_goes_first(
    site: Path, place: FolderStore
) -> None:
    for hour in range(4):
        made(FolderStore(site / "work"), place, now=NOW + timedelta(hours=hour), keep=2)
    assert whole_backups(place) == ["20261122T041700Z", "20261122T051700Z"]
    (place.root / "20261122T041700Z" / "backup.json").unlink()
    (place.root / "notes").mkdir()
    (place.root / "notes" / "mine.txt").write_text("not a backup")
    made(FolderStore(site / "work"), place, now=NOW + timedelta(hours=4), keep=2)
    assert place.folders() == ("20261122T051700Z", "20261122T061700Z", "notes")
    made(FolderStore(site / "work"), place, now=NOW + timedelta(hours=5))
    assert len(whole_backups(place)) == 3, "without a number all are kept"


def test_a_backup_that_fails_removes_no_older_one(site: Path, place: FolderStore) -> None:
    made(FolderStore(site / "work"), place, keep=1)

    def fail() -> None:
        raise StorageError("the store does not answer.")

    with pytest.raises(StorageError):
        made(Eventful(FolderStore(site / "work"), 9, fail), place, now=NOW + timedelta(hours=1), keep=1)
    assert whole_backups(place) == ["20261122T021700Z"]
    open_backup(place)


def test_one_backup_goes_on_at_a_time_and_one_is_made_a_second(site: Path, place: FolderStore) -> None:
    with (
        place.alone(),
        pytest.raises(LakeConflictError, match=r"another backup is going on in .*\. Wait for it to end"),
    ):
        made(FolderStore(site / "work"), place)
    made(FolderStore(site / "work"), place)
    with pytest.raises(LakeConflictError, match="has a backup of 20261122T021700Z"):
        made(FolderStore(site / "work"), place)


@pytest.mark.parametrize(
    "kind", ["lake/**/*.parquet", "lake/**/_delta_log/*.json", "runs/**/summary.json", "champions/*.json"]
)
def test_a_bit_that_was_flipped_is_refused_with_the_objects_name_and_leaves_nothing(
    site: Path, place: FolderStore, tmp_path: Path, kind: str
) -> None:
    time = made(FolderStore(site / "work"), place).time
    harmed = next(iter(sorted((place.root / time / "lakes").glob(kind))))
    held = bytearray(harmed.read_bytes())
    held[len(held) // 2] ^= 1
    harmed.write_bytes(held)
    with pytest.raises(LakeError, match=f"{harmed} is not what was backed up"):
        restored(place, FolderStore(tmp_path / "new"))
    assert FolderStore(tmp_path / "new").list() == {}


def test_an_object_that_is_gone_from_a_backup_is_named(site: Path, place: FolderStore, tmp_path: Path) -> None:
    time = made(FolderStore(site / "work"), place).time
    champion = place.root / time / "lakes" / "champions" / "default.days.json"
    champion.unlink()
    with pytest.raises(LakeError, match=f"{champion} is gone from the backup"):
        restored(place, FolderStore(tmp_path / "new"))
    assert FolderStore(tmp_path / "new").list() == {}


@pytest.mark.parametrize(
    ("spoil", "error", "told"),
    [
        (lambda text: text[: len(text) // 2], LakeError, "cannot be read: it is damaged"),
        (lambda text: text.replace('"v1"', '"v2"'), NotSupportedError, "is of another version than v1"),
        (lambda text: text.replace("champions/", "../champions/"), LakeError, "cannot be read: it is damaged"),
        (lambda text: text.replace('"champions/', '"/champions/'), LakeError, "cannot be read: it is damaged"),
    ],
    ids=["cut off", "another version", "a way out", "an absolute path"],
)
def test_an_index_that_is_none_is_refused(
    site: Path, place: FolderStore, tmp_path: Path, spoil, error: type[Exception], told: str
) -> None:
    index = place.root / made(FolderStore(site / "work"), place).time / "backup.json"
    index.write_text(spoil(index.read_text()))
    with pytest.raises(error, match=told):
        restored(place, FolderStore(tmp_path / "new"))
    assert not (tmp_path / "new").exists()


def test_a_place_that_is_not_empty_stays_as_it_is(site: Path, place: FolderStore, tmp_path: Path) -> None:
    made(FolderStore(site / "work"), place)
    run_again(site)
    before = content(site / "work")
    with pytest.raises(JobError, match="is not empty: there is lake/"):
        restored(place, FolderStore(site / "work"))
    assert content(site / "work") == before
    with pytest.raises(JobError, match=r"the backup of 20261122T021700Z holds no files\. It holds: lakes"):
        restored(place, FolderStore(tmp_path / "new"), name="files")


def test_what_a_killed_restore_left_is_restored_anew_but_not_over_what_a_job_wrote_since(
    site: Path, place: FolderStore, tmp_path: Path
) -> None:
    made(FolderStore(site / "work"), place)
    new, folder = FolderStore(tmp_path / "new"), open_backup(place)[0]
    mark = b'{"backup": "20261122T021700Z"}'
    new.save(MARK, io.BytesIO(mark), size=len(mark))
    names = sorted(folder.below("lakes").list())[:5]
    for name in (*names, "lake/raw/.draft-abc"):
        new.save(name, io.BytesIO(b"half"), size=4)
    new.save("runs/default.days/later/manifest.json", io.BytesIO(b"{}"), size=2)
    with pytest.raises(JobError, match=r"is not empty: there is runs/default\.days/later/manifest\.json"):
        restored(place, new)
    new.delete("runs/default.days/later/manifest.json")
    restored(place, new)
    assert same(new.root) == same(site / "work")


def test_a_backup_is_found_by_its_own_place_too_and_none_is_said_to_be_none(
    site: Path, place: FolderStore, tmp_path: Path
) -> None:
    with pytest.raises(JobError, match="there is no whole backup in"):
        open_backup(place)
    first = made(FolderStore(site / "work"), place)
    second = made(FolderStore(site / "work"), place, now=NOW + timedelta(days=1))
    assert open_backup(place)[1] == second
    assert open_backup(place.below(first.time))[1] == first


def test_files_that_cannot_be_backed_up_are_refused(site: Path, place: FolderStore, tmp_path: Path) -> None:
    for folder in ("a", "b"):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "dump.sql").write_text("")
    for files, told in (
        ([tmp_path / "c"], "there is no such file"),
        ([tmp_path / "a" / "dump.sql", tmp_path / "b" / "dump.sql"], "has the same name"),
    ):
        with pytest.raises(JobError, match=told):
            made(FolderStore(site / "work"), place, files=files)
    assert place.list() == {}


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("champions/default.quickstart.json", Rank.CHAMPION),
        ("team/lake/champions/default.quickstart.json", Rank.CHAMPION),
        ("runs/default.quickstart/20261122T000000Z-1/manifest.json", Rank.POINTER),
        ("runs/default.quickstart/20261122T000000Z-1/forecast.json", Rank.POINTER),
        ("runs/default.quickstart/20261122T000000Z-1/bundle/manifest.json", Rank.RECORD),
        ("runs/default.quickstart/20261122T000000Z-1/summary.json", Rank.RECORD),
        ("backfills/default.quickstart/prices.json", Rank.POINTER),
        ("lake/raw/default.quickstart/prices-1/_delta_log/_last_checkpoint", Rank.POINTER),
        ("lake/raw/default.quickstart/prices-1/_delta_log/00000000000000000001.json", Rank.RECORD),
        ("lake/raw/default.quickstart/prices-1/_delta_log/00000000000000000010.checkpoint.parquet", Rank.RECORD),
        ("lake/raw/default.quickstart/prices-1/month=2026-01/part-0.parquet", Rank.DATA),
        ("1/models/m-1/artifacts/MLmodel", Rank.DATA),
    ],
)
def test_what_refers_to_others_is_told_by_its_name(name: str, expected: Rank) -> None:
    assert rank(name) is expected


def test_objects_are_of_the_job_of_their_work_directory() -> None:
    assert job_of("a/b/runs/default.x/1/manifest.json") == "a/b/default.x"
    assert job_of("a/b/champions/default.x.json") == job_of("a/b/lake/raw/default.x/s-1/part-0.parquet")
    assert job_of("1/artifacts/model.pkl") is None


@pytest.mark.parametrize(
    ("name", "copied"),
    [
        ("runs/default.x/.lock", False),
        ("runs/default.x/.draft-1234/summary.json", False),
        ("team/lake/_locks/raw/default.x/s-1.lock", False),
        ("champions/.default.x.json-abcd", False),
        ("runs/default.x/1/manifest.json", True),
        ("1/artifacts/.gitignore", True),
        (".hidden/runs/default.x/1/manifest.json", True),
    ],
)
def test_locks_and_drafts_are_not_copied(name: str, copied: bool) -> None:
    assert is_copied(name) is copied


class Trickle:
    """Gives a few bytes at a time, as a slow connection may."""

    def __init__(self, held: bytes) -> None:
        self._held = io.BytesIO(held)

    def read(self, amount: int = -1, /) -> bytes:
        return self._held.read(3 if amount < 0 else min(3, amount))


@pytest.mark.parametrize("amount", [-1, 4, 10, 100])
def test_content_is_read_in_full_parts_from_a_slow_connection(amount: int) -> None:
    content = Measured(Trickle(b"0123456789"))
    first = content.read(amount)
    assert first == b"0123456789"[: amount if amount > 0 else None]
    while content.read(4):
        pass
    assert content.size == 10
    assert content.sha256 == "84d89877f0d4041efb6bf91a16f0248f2fd573e6af05c19f96bedb9f882f7882"


def test_places_have_the_name_that_is_given_or_their_last_part() -> None:
    assert named_places(["s3://presage/lakes/", "s3://mlflow", ".presage", "more=a=b", "/a/b.c"]) == {
        "lakes": "s3://presage/lakes/",
        "mlflow": "s3://mlflow",
        "presage": ".presage",
        "more": "a=b",
        "b.c": "/a/b.c",
    }
    for words, told in (
        (["s3://a/lakes", "s3://b/lakes"], "are both called 'lakes'"),
        (["files=s3://a/b"], "gives no name"),
        (["/"], "gives no name"),
    ):
        with pytest.raises(JobError, match=told):
            named_places(words)


def test_backups_are_not_made_inside_of_what_they_copy(tmp_path: Path) -> None:
    (tmp_path / "lakes").mkdir()
    require_apart({"a": "s3://presage/lakes", "b": str(tmp_path / "lakes")}, "s3://presage/lakes-backups")
    for place, backups in (
        ("s3://presage/lakes", "s3://presage/lakes/backups"),
        ("s3://presage", "s3://presage/backups"),
        (str(tmp_path / "lakes"), str(tmp_path / "lakes" / "backups")),
    ):
        with pytest.raises(JobError, match="would be copied with"):
            require_apart({"a": place}, backups)
    with pytest.raises(JobError, match="there is no folder"):
        require_apart({"a": str(tmp_path / "none")}, "s3://backups")


def test_a_place_of_another_scheme_is_refused() -> None:
    with pytest.raises(NotSupportedError, match="Give a folder or s3://bucket/prefix"):
        open_store("gs://lakes/a")


def test_an_access_key_without_its_secret_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PRESAGE_BACKUP_AWS_ACCESS_KEY_ID", "key")
    with pytest.raises(JobError, match="is set without the other"):
        open_store("s3://backups/a", prefix="PRESAGE_BACKUP_")
    open_store("s3://backups/a").close()


def test_a_folder_that_may_not_be_read_is_named(tmp_path: Path) -> None:
    (tmp_path / "lakes").write_text("no folder")
    with pytest.raises(StorageError, match="cannot read"):
        FolderStore(tmp_path / "lakes").list()
