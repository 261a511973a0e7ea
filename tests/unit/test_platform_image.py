"""The image of the platform's servers: how it is named and written, and the entry point of its database."""

from __future__ import annotations

import getpass
import gzip
import hashlib
import io
import json
import re
import shutil
import subprocess
import tarfile
import tempfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import pymysql
import pytest
from cluster import platform_image
from cluster.archive import write_layers
from conftest import lacking
from servers.mariadb import mariadb_programs
from servers.ports import free_port, stop, wait_until

SCRIPTS = Path(platform_image.__file__).parent / "platform"
ROOT_PASSWORD = "o'ne \\`$two"
USER_PASSWORD = 'th"ree'


@pytest.fixture
def folder() -> Iterator[Path]:
    """An empty folder with a short path, because that of a socket in it is limited."""
    with tempfile.TemporaryDirectory() as path:
        for name in ("data", "first"):
            (Path(path) / name).mkdir()
        yield Path(path)


def run_entrypoint(folder: Path, *words: str, **variables: str) -> tuple[list[str], Mapping[str, str]]:
    """Return the command and the environment that start the entry point with its files in the folder."""
    script = folder / "entrypoint.sh"
    text = (SCRIPTS / "docker-entrypoint.sh").read_text()
    assert "/docker-entrypoint-initdb.d/*" in text
    script.write_text(text.replace("/docker-entrypoint-initdb.d/*", f"{folder}/first/*"))
    return ["bash", str(script), *words], {"PATH": "/usr/sbin:/usr/bin:/bin", **variables}


@contextmanager
def database(folder: Path, **variables: str) -> Iterator[Callable[..., list[tuple[object, ...]]]]:
    """Start the entry point's database; yields what runs a statement as an account."""
    if mariadb_programs() is None:
        lacking("no MariaDB server; tests/system-packages.sh installs it")
    port, log = free_port(), folder / "log"
    command, environment = run_entrypoint(
        folder,
        *("mysqld", "--no-defaults", f"--user={getpass.getuser()}", f"--datadir={folder}/data"),
        *(f"--socket={folder}/socket", f"--pid-file={folder}/pid"),
        *(f"--port={port}", "--bind-address=127.0.0.1", "--skip-name-resolve", "--innodb-buffer-pool-size=32M"),
        **variables,
    )

    def ask(statement: str, *, user: str = "root", password: str = ROOT_PASSWORD) -> list[tuple[object, ...]]:
        connection = pymysql.connect(host="127.0.0.1", port=port, user=user, password=password)
        with connection, connection.cursor() as cursor:
            cursor.execute(statement)
            return list(cursor.fetchall())

    def answers() -> bool:
        try:
            ask("SELECT 1")
        except pymysql.OperationalError:
            return False
        return True

    with log.open("wb") as lines:
        process = subprocess.Popen(command, env=dict(environment), stdout=lines, stderr=lines)
    try:
        wait_until(answers, process, str(log))
        yield ask
    finally:
        stop(process)


def test_the_first_start_makes_the_accounts_and_the_database_and_runs_the_files_once(folder: Path) -> None:
    (folder / "password").write_text(ROOT_PASSWORD)
    (folder / "first" / "1.sql").write_text("CREATE TABLE numbers (x INT); INSERT INTO numbers VALUES (7);")
    (folder / "first" / "2.sh").write_text('docker_process_sql <<<"CREATE DATABASE of_$MYSQL_DATABASE"')
    (folder / "first" / "3.sql.gz").write_bytes(gzip.compress(b"INSERT INTO numbers VALUES (8);"))
    variables = {
        "MYSQL_ROOT_PASSWORD_FILE": f"{folder}/password",
        "MYSQL_DATABASE": "a_b",
        "MYSQL_USER": "it's",
        "MYSQL_PASSWORD": USER_PASSWORD,
    }
    with database(folder, **variables) as ask:
        assert ask("SELECT x FROM a_b.numbers ORDER BY x", user="it's", password=USER_PASSWORD) == [(7,), (8,)]
        assert ("of_a_b",) in ask("SHOW DATABASES")
        with pytest.raises(pymysql.OperationalError, match="Access denied"):
            ask("CREATE DATABASE aXb", user="it's", password=USER_PASSWORD)
        accounts = ask("SELECT User, Host FROM mysql.user WHERE User <> 'mariadb.sys' ORDER BY User, Host")
        assert accounts == [("it's", "%"), ("root", "%"), ("root", "localhost")]
        ask("CREATE DATABASE kept")
    with database(folder, **variables) as ask:
        assert ("kept",) in ask("SHOW DATABASES")


@pytest.mark.parametrize(
    ("variables", "said"),
    [
        ({}, "MYSQL_ROOT_PASSWORD is not set"),
        ({"MYSQL_ROOT_PASSWORD": "x", "MYSQL_ROOT_PASSWORD_FILE": "/dev/null"}, "both MYSQL_ROOT_PASSWORD and"),
        ({"MYSQL_ROOT_PASSWORD": "x", "MYSQL_USER": "y"}, "MYSQL_USER is set and MYSQL_PASSWORD is not"),
    ],
    ids=["none", "both", "user"],
)
def test_accounts_without_a_clear_password_are_refused(folder: Path, variables: dict[str, str], said: str) -> None:
    if mariadb_programs() is None:
        lacking("no MariaDB server; tests/system-packages.sh installs it")
    command, environment = run_entrypoint(folder, "--no-defaults", f"--datadir={folder}/data", **variables)
    done = subprocess.run(command, env=dict(environment), capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert said in done.stderr
    assert not list((folder / "data").iterdir())


def test_another_command_than_the_server_is_started_as_it_is(folder: Path) -> None:
    command, environment = run_entrypoint(folder, "printf", "%s", "hello")
    assert subprocess.run(command, env=dict(environment), capture_output=True, check=True).stdout == b"hello"


@pytest.mark.parametrize("script", ["docker-entrypoint.sh", "kafka-run-class.sh", "mysqld_exporter"])
def test_a_script_is_sound_and_may_be_started(script: str) -> None:
    subprocess.run(["bash", "-n", str(SCRIPTS / script)], check=True)
    assert (SCRIPTS / script).stat().st_mode & 0o111


def test_the_archive_has_another_name_when_a_file_of_the_image_changes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    copy = tmp_path / "platform"
    shutil.copytree(SCRIPTS, copy)
    before = platform_image.PLATFORM.archive
    monkeypatch.setattr(platform_image, "_FOLDER", copy)
    assert platform_image.PLATFORM.archive == before
    with (copy / "pom.xml").open("a") as project:
        project.write("\n")
    assert platform_image.PLATFORM.archive != before


def test_the_programs_are_where_the_official_images_have_them(tmp_path: Path) -> None:
    modules = (SCRIPTS / "go.mod", SCRIPTS / "prometheus" / "go.mod")
    tools = [tool for module in modules for tool in re.findall(r"^\t(\S+)$", module.read_text(), re.MULTILINE)]
    programs = [tmp_path / re.sub(r"/v\d+$", "", tool).rpartition("/")[2] for tool in tools]
    libraries = tmp_path / "libraries"
    libraries.mkdir()
    for path in (*programs, libraries / "kafka.jar"):
        path.write_text("program")
        path.chmod(0o755)
    layer = tmp_path / "layer.tar"
    with tarfile.open(layer, "w") as files:
        platform_image._add_all(files, programs, libraries)
    with tarfile.open(layer) as files:
        entries = {entry.name: entry for entry in files}
    assert {f"usr/bin/{name}" for name in ("minio", "mc", "prometheus", "promtool", "alertmanager", "pushgateway")} < (
        set(entries)
    )
    assert entries["usr/local/bin/docker-entrypoint.sh"].mode == 0o755
    assert entries["opt/kafka/bin/kafka-server-start.sh"].linkname == "kafka-run-class.sh"
    assert entries["opt/kafka/libs/kafka.jar"].uid == 0
    assert entries["var/lib/mysql"].mode == 0o1777


def test_an_image_names_its_layers_by_what_they_hold_unpacked(tmp_path: Path) -> None:
    content = io.BytesIO()
    with tarfile.open(fileobj=content, mode="w") as files:
        files.addfile(tarfile.TarInfo("file"))
    plain, packed = tmp_path / "plain.tar", tmp_path / "packed.tar.gz"
    plain.write_bytes(content.getvalue())
    packed.write_bytes(gzip.compress(content.getvalue()))
    archive = tmp_path / "image.tar"
    write_layers(archive, image="docker.io/presage/some:test", layers=(plain, packed), settings={"Cmd": ["bash"]})
    with tarfile.open(archive) as files:
        read = {entry.name: files.extractfile(entry).read() for entry in files}
    (manifest,) = json.loads(read["manifest.json"])
    configuration = json.loads(read[manifest["Config"]])
    unpacked = f"sha256:{hashlib.sha256(content.getvalue()).hexdigest()}"
    assert configuration["rootfs"]["diff_ids"] == [unpacked, unpacked]
    assert configuration["config"] == {"Cmd": ["bash"]}
    assert [read[name] for name in manifest["Layers"]] == [plain.read_bytes(), packed.read_bytes()]
