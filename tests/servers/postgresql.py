"""A real PostgreSQL server on a loopback port, with its data in a folder of its own."""

from __future__ import annotations

import os
import pwd
import shutil
import subprocess
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import polars as pl
import psycopg
from servers.ports import free_port, stop, wait_until
from servers.tables import load_table

USER = "presage"
PASSWORD = "s3cret:postgresql@/%41"
_PROGRAMS = Path("/usr/lib/postgresql")


@dataclass(frozen=True)
class PostgreSql:
    """A running server with an empty database `market`, and a user who may do everything.

    Attributes:
        port: Where it listens on 127.0.0.1.
        process: The server.
    """

    port: int
    process: subprocess.Popen[bytes]
    user: str = USER
    password: str = PASSWORD

    @property
    def uri(self) -> str:
        """Address of the database, as a job names it."""
        return f"postgresql://127.0.0.1:{self.port}/market"

    def run(self, *statements: str, database: str = "market") -> list[tuple[object, ...]]:
        """Run statements, each on its own, as the owner and return the rows of the last one."""
        with self.connect(database) as connection:
            connection.autocommit = True
            for statement in statements:
                cursor = connection.execute(statement)
            return cursor.fetchall() if cursor.description else []

    def load(self, name: str, rows: pl.DataFrame, types: Mapping[str, str] | None = None) -> None:
        """Make a table anew of rows; columns are DOUBLE PRECISION where `types` does not name another type."""
        load_table(self.connect(), name, rows, types)

    def connect(self, database: str = "market") -> psycopg.Connection:
        """Return a connection of the owner."""
        return psycopg.connect(host="127.0.0.1", port=self.port, user=USER, password=PASSWORD, dbname=database)


def postgresql_programs() -> Path | None:
    """Return the folder of the newest server's programs; None where there is none."""
    found = shutil.which("initdb")
    folders = [Path(found).parent] if found else sorted(_PROGRAMS.glob("*/bin"), key=lambda path: int(path.parent.name))
    return next((folder for folder in reversed(folders) if (folder / "initdb").exists()), None)


@contextmanager
def postgresql() -> Iterator[PostgreSql]:
    """Start a server over a new folder, and stop it and remove the folder afterwards.

    The programs refuse to run as root, because whoever controls a database's server controls its user. As root they
    run as another user, in a folder that is theirs and lies where they may go.

    Raises:
        ServerError: It does not start.
    """
    programs = postgresql_programs()
    assert programs is not None
    folder = Path(tempfile.mkdtemp(prefix="presage-postgresql-"))
    user = _unprivileged_user() if os.geteuid() == 0 else None
    data, secret, log = folder / "data", folder / "password", folder / "postgresql.log"
    secret.write_text(PASSWORD)
    secret.chmod(0o600)
    if user is not None:
        for path in (folder, secret):
            shutil.chown(path, user)
    made = ["-D", str(data), "-U", USER, f"--pwfile={secret}", "-A", "scram-sha-256", "-E", "UTF8", "--no-sync"]
    try:
        with log.open("wb") as lines:
            ran_as = {"user": user, "cwd": folder, "stdout": lines, "stderr": lines}
            subprocess.run([programs / "initdb", *made, "--locale=C.UTF-8"], check=True, **ran_as)
            port = free_port()
            settings = ["listen_addresses=127.0.0.1", "fsync=off", "shared_buffers=32MB", "jit=off"]
            arguments = ["-D", str(data), "-p", str(port), "-k", str(folder)]
            arguments += [part for setting in settings for part in ("-c", setting)]
            process = subprocess.Popen([programs / "postgres", *arguments], **ran_as)
        running = PostgreSql(port, process)
        try:
            wait_until(lambda: _answers(running), process, str(log))
            running.run("CREATE DATABASE market", database="postgres")
            yield running
        finally:
            stop(process)
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _unprivileged_user() -> str:
    known = {entry.pw_name for entry in pwd.getpwall()}
    return "postgres" if "postgres" in known else "nobody"


def _answers(server: PostgreSql) -> bool:
    try:
        server.connect("postgres").close()
    except psycopg.OperationalError:
        return False
    return True
