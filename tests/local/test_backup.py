"""Backups between real stores: a lake that is destroyed and restored reruns to the same digest; kills, and metrics."""

from __future__ import annotations

import io
import os
import shutil
import signal
import subprocess
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from backup_case import require_whole
from chart_case import PLATFORM, Scenario, containers, pod_templates
from commands import EXAMPLES, content, presage, start
from conftest import lacking
from s3.gateway import BUCKET, Gateway, gateway
from s3.proxy import proxy
from servers.ports import free_port
from servers.pushgateway import Pushgateway, pushgateway, pushgateway_program

from presage.spec.load import load_job
from presage.steps.bucket_store import BACKUPS, open_store

if TYPE_CHECKING:
    from servers.mariadb import MariaDb

QUICKSTART = EXAMPLES / "quickstart.yaml"
KEY = "default.quickstart"
LAKES = f"s3://{BUCKET}/lakes"
TO = f"s3://{BUCKET}/backups"
WAIT_SECONDS = 60


@pytest.fixture(scope="module")
def other(tmp_path_factory: pytest.TempPathFactory, store: Gateway) -> Iterator[Gateway]:
    """Another S3 server, for backups."""
    with gateway(tmp_path_factory.mktemp("backups")) as running:
        yield running


@pytest.fixture(scope="module")
def run(store: Gateway) -> str:
    """A run whose lake is in the first server's bucket."""
    words = ("run", QUICKSTART, "--workdir", LAKES, "-o", "json", "--as-of", "2018-06-01")
    return str(presage(*words, **store.environment()).json()["run"])


@pytest.fixture
def clean(store: Gateway, other: Gateway, run: str, monkeypatch: pytest.MonkeyPatch) -> dict[str, str]:
    """The environment of commands that find lakes in one server and backups in the other, which is empty."""
    found = environment(store, other.url)
    for name, value in found.items():
        monkeypatch.setenv(name, value)
    for place, prefix in ((TO, BACKUPS), (f"s3://{BUCKET}/new", "")):
        with closing(open_store(place, prefix=prefix)) as emptied:
            for name in emptied.list():
                emptied.delete(name)
    return found


def environment(store: Gateway, backups: str) -> dict[str, str]:
    return store.environment() | {f"{BACKUPS}AWS_ENDPOINT_URL": backups}


def backup_folder(other: Gateway) -> Path:
    (found,) = (path.parent for path in (other.folder / "backups").glob("*/backup.json"))
    return found


def forecast(workdir: str, run: str) -> bytes:
    with closing(open_store(workdir)) as store, store.reading(f"runs/{KEY}/{run}/forecast.json") as opened:
        assert opened is not None
        return opened.stream.read()


def talk(name: str, server: MariaDb, folder: Path) -> None:
    """Run the script of the chart's container `dump` or `load` on a server; a folder stands for its volume."""
    values = {
        "backup.enabled": "true",
        "minio.enabled": "true",
        "backup.mysql.host": "127.0.0.1",
        "backup.mysql.port": server.port,
        "backup.mysql.user": server.user,
        "backup.mysql.databases": "{market}",
        "backup.mysql.existingSecret": "market",
    }
    words = [word for key, value in values.items() for word in ("--set", f"{key}={value}")]
    found = [one for _, pod in pod_templates(Scenario(PLATFORM).render(*words)) for one in containers(pod)]
    (one,) = (one for one in found if one["name"] == name)
    script = [word.replace("/dump/", f"{folder}/") for word in one["args"]]
    given = os.environ | {"MYSQL_PWD": server.password, "HOME": str(folder)}
    subprocess.run([*one["command"], *script], env=given, check=True, timeout=WAIT_SECONDS)


def test_a_lake_and_a_database_that_were_destroyed_come_back_and_a_run_matches(
    store: Gateway, other: Gateway, clean: dict[str, str], run: str, tmp_path: Path, mariadb_server: MariaDb,
) -> None:  # fmt: skip
    mariadb_server.run("DROP TABLE IF EXISTS scores", "CREATE TABLE scores (run VARCHAR(64) PRIMARY KEY, mae DOUBLE)")
    mariadb_server.run(f"INSERT INTO scores VALUES ('{run}', 0.25), ('more', 1e-9)")
    dump = tmp_path / "mysql.sql"
    talk("dump", mariadb_server, tmp_path)
    before = content(store.folder / "lakes")
    issued = forecast(LAKES, run)

    ended = presage("backup", LAKES, "--to", TO, "--file", dump, "--keep", "3", "-o", "json", **clean)
    assert ended.json()["places"] == ["files", "lakes"]
    with closing(open_store(f"s3://{BUCKET}/elsewhere")) as elsewhere:
        elsewhere.save("stays", io.BytesIO(b"stays"), size=5)
    with closing(open_store(LAKES)) as lakes:
        for name in lakes.list():
            lakes.delete(name)
    mariadb_server.run("DROP TABLE scores")
    presage("rerun", run, "--workdir", LAKES, code=2, **clean)

    told = presage("restore", TO, "--to", LAKES, "--files", tmp_path / "dumps", **clean)
    assert told.out.endswith(" objects, all verified\n")
    assert content(store.folder / "lakes") == before
    assert forecast(LAKES, run) == issued
    again = presage("rerun", run, "--workdir", LAKES, **clean)
    assert again.out.splitlines()[-1].startswith("match: sha256:")
    talk("load", mariadb_server, tmp_path / "dumps")
    assert mariadb_server.run("SELECT run, mae FROM scores ORDER BY mae") == (("more", 1e-9), (run, 0.25))

    refused = presage("restore", TO, "--to", LAKES, code=2, **clean)
    assert f"{LAKES} is not empty: there is " in refused.err
    assert content(store.folder / "lakes") == before


def test_a_backup_that_is_killed_is_none_and_the_next_one_removes_it(
    store: Gateway, other: Gateway, clean: dict[str, str], run: str
) -> None:
    with proxy(other.url) as between:
        between.hold_from = 12
        process = start("backup", LAKES, "--to", TO, **environment(store, between.url))
        assert between.held.wait(WAIT_SECONDS)
        process.send_signal(signal.SIGKILL)
        process.communicate(timeout=WAIT_SECONDS)
    (left,) = [path for path in (other.folder / "backups").iterdir() if path.is_dir()]
    assert not (left / "backup.json").exists()
    refused = presage("restore", TO, "--to", f"s3://{BUCKET}/new", code=2, **clean)
    assert "there is no whole backup in" in refused.err
    # Its lease would be taken over after 30 seconds.
    with closing(open_store(TO, prefix=BACKUPS)) as backups:
        backups.delete(".lock")
    presage("backup", LAKES, "--to", TO, **clean)
    assert not left.exists()
    presage("restore", TO, "--to", f"lakes=s3://{BUCKET}/new", **clean)
    assert content(store.folder / "new") == content(store.folder / "lakes")


@pytest.mark.parametrize("writes", [2, 30])
def test_a_restore_that_is_killed_shows_no_champion_and_may_be_made_again(
    store: Gateway, clean: dict[str, str], run: str, writes: int
) -> None:
    presage("backup", LAKES, "--to", TO, **clean)
    words = ("restore", TO, "--to", f"lakes=s3://{BUCKET}/new")
    with proxy(store.url) as between:
        between.hold_from = writes
        process = start(*words, **clean | {"AWS_ENDPOINT_URL": between.url})
        assert between.held.wait(WAIT_SECONDS)
        process.send_signal(signal.SIGKILL)
        process.communicate(timeout=WAIT_SECONDS)
    assert (store.folder / "new" / ".restore.json").exists()
    assert not (store.folder / "new" / "champions").exists()
    presage(*words, **clean)
    assert content(store.folder / "new") == content(store.folder / "lakes")


@pytest.mark.parametrize("kind", ["**/*.parquet", "champions/*.json"])
def test_a_bit_that_was_flipped_in_the_store_is_refused_with_the_objects_name(
    store: Gateway, other: Gateway, clean: dict[str, str], kind: str
) -> None:
    presage("backup", LAKES, "--to", TO, **clean)
    harmed = min((backup_folder(other) / "lakes").glob(kind))
    held = bytearray(harmed.read_bytes())
    held[len(held) // 2] ^= 1
    harmed.write_bytes(held)
    refused = presage("restore", TO, "--to", f"lakes=s3://{BUCKET}/new", code=6, **clean)
    assert f"error: s3://{BUCKET}/{harmed.relative_to(other.folder)} is not what was backed up" in refused.err
    assert not content(store.folder / "new")


@pytest.mark.parametrize("writes", [3, 25])
def test_a_run_that_ends_during_a_backup_leaves_one_that_restores_and_reruns(
    store: Gateway, other: Gateway, clean: dict[str, str], run: str, writes: int, tmp_path: Path
) -> None:
    lakes = f"s3://{BUCKET}/busy-{writes}"
    shutil.copytree(store.folder / "lakes", tmp_path / "lakes")
    presage("backup", tmp_path / "lakes", "--to", tmp_path / "copy", **clean)
    presage("restore", tmp_path / "copy", "--to", f"lakes={lakes}", **clean)
    with proxy(other.url) as between:
        between.hold_from = writes
        process = start("backup", f"lakes={lakes}", "--to", TO, **environment(store, between.url))
        assert between.held.wait(WAIT_SECONDS)
        later = presage("run", QUICKSTART, "--workdir", lakes, "-o", "json", **clean).json()["run"]
        between.release.set()
        _, told = process.communicate(timeout=WAIT_SECONDS)
        assert process.returncode == 0, told
    presage("restore", TO, "--to", f"lakes=s3://{BUCKET}/new", **clean)
    runs = require_whole(store.folder / "new", load_job(QUICKSTART))
    assert set(runs) <= {run, later}
    ended = presage("rerun", runs[-1], "--workdir", f"s3://{BUCKET}/new", **clean)
    assert ended.out.splitlines()[-1].startswith("match: sha256:")


@pytest.mark.parametrize("size", [0, (8 << 20) - 1, 8 << 20, (20 << 20) + 7])
def test_an_object_of_any_size_is_written_and_read_as_a_stream(reached: Gateway, size: int) -> None:
    held = os.urandom(size)
    with closing(open_store(f"s3://{BUCKET}/sizes")) as store:
        store.save("object", io.BytesIO(held), size=size)
        with store.reading("object") as opened:
            assert opened is not None
            assert opened.stream.read() == held
        with store.reading("none") as opened:
            assert opened is None


def test_backups_in_a_store_that_does_not_answer_are_tried_later(store: Gateway, run: str) -> None:
    gone = f"http://127.0.0.1:{free_port()}"
    ended = presage("backup", LAKES, "--to", TO, code=7, **environment(store, gone))
    assert f"the store at {gone} does not answer" in ended.err
    assert "PRESAGE_BACKUP_AWS_ENDPOINT_URL" in ended.err


def test_lakes_in_a_store_that_does_not_answer_are_told_from_backups(store: Gateway, other: Gateway, run: str) -> None:
    gone = f"http://127.0.0.1:{free_port()}"
    ended = presage("backup", LAKES, "--to", TO, code=7, **environment(store, other.url) | {"AWS_ENDPOINT_URL": gone})
    assert f"the store at {gone} does not answer" in ended.err
    assert "PRESAGE_BACKUP_" not in ended.err


def test_keys_of_the_backups_store_go_before_those_of_the_lakes(clean: dict[str, str]) -> None:
    wrong = {f"{BACKUPS}AWS_ACCESS_KEY_ID": "someone", f"{BACKUPS}AWS_SECRET_ACCESS_KEY": "s3cret-of-someone"}
    ended = presage("backup", LAKES, "--to", TO, code=7, **clean | wrong)
    assert "refuses access" in ended.err
    assert "Check PRESAGE_BACKUP_AWS_ACCESS_KEY_ID and PRESAGE_BACKUP_AWS_SECRET_ACCESS_KEY" in ended.err
    assert "s3cret" not in ended.err


@pytest.fixture(scope="module")
def metrics(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Pushgateway]:
    if pushgateway_program() is None:
        lacking("no Pushgateway; tests/system-packages.sh installs it")
    with pushgateway(tmp_path_factory.mktemp("pushgateway")) as server:
        yield server


def test_a_backup_that_ended_well_is_told_to_prometheus_and_one_that_did_not_is_not(
    clean: dict[str, str], metrics: Pushgateway, tmp_path: Path
) -> None:
    told = {"PRESAGE_PUSHGATEWAY": metrics.url, "POD_NAMESPACE": "presage-system"}
    presage("backup", LAKES, "--to", tmp_path / "a", "--file", tmp_path / "none", code=2, **clean | told)
    assert metrics.samples() == {}
    made = presage("backup", LAKES, "--to", tmp_path / "a", "-o", "json", **clean | told).json()
    labels = frozenset({"job": "presage-backup", "namespace": "presage-system", "instance": ""}.items())
    held = metrics.samples()
    assert held["presage_backup_bytes", labels] == made["bytes"]
    assert held["presage_backup_objects", labels] == made["objects"]
    assert held["presage_backup_last_success_timestamp_seconds", labels] > 1.7e9


def test_a_gateway_that_is_down_fails_no_backup(clean: dict[str, str], tmp_path: Path) -> None:
    gone = f"http://127.0.0.1:{free_port()}"
    ended = presage("backup", LAKES, "--to", tmp_path / "a", "--pushgateway", gone, **clean)
    assert f"warning: the metrics of this backup were not pushed to {gone}" in ended.err
    presage("backup", LAKES, "--to", tmp_path / "b", "--pushgateway", "gateway", code=2, **clean)
    assert not (tmp_path / "b").exists()


def test_the_words_of_the_commands_are_checked(tmp_path: Path) -> None:
    ended = presage("restore", tmp_path, code=2)
    assert "Give --to NAME=PLACE, or --files FOLDER" in ended.err
    ended = presage("backup", tmp_path, "--to", tmp_path / "backups", code=2)
    assert "Give --to a place outside of it" in ended.err
