"""A real MariaDB server on a loopback port, with its data in a folder of its own."""

from __future__ import annotations

import getpass
import shutil
import subprocess
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import polars as pl
import pymysql
from servers.ports import ServerError, free_port, stop, wait_until
from servers.tables import load_table

USER = "presage"
PASSWORD = "s3cret:mariadb@/%41"
_PROGRAMS = "/usr/sbin:/usr/local/sbin"
_TRIES = 3


@dataclass(frozen=True)
class MariaDb:
    """A running server with an empty database `market`, and a user who may do everything in it.

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
        return f"mysql+pymysql://127.0.0.1:{self.port}/market"

    def run(self, *statements: str) -> tuple[tuple[object, ...], ...]:
        """Run statements as the owner and return the rows of the last one."""
        with self.connect() as connection, connection.cursor() as cursor:
            for statement in statements:
                cursor.execute(statement)
            rows = cursor.fetchall()
            connection.commit()
            return tuple(rows)

    def load(self, name: str, rows: pl.DataFrame, types: Mapping[str, str] | None = None) -> None:
        """Make a table anew of rows; columns are DOUBLE where `types` does not name another type."""
        load_table(self.connect(), name, rows, types, quote="`")

    def connect(self) -> pymysql.Connection:
        """Return a connection of the owner."""
        return pymysql.connect(
            host="127.0.0.1", port=self.port, user=USER, password=PASSWORD, database="market", charset="utf8mb4"
        )


def mariadb_programs() -> tuple[str, str] | None:
    """Return the paths of the server and of what makes its folder; None where they are not installed."""
    server = shutil.which("mariadbd") or shutil.which("mariadbd", path=_PROGRAMS)
    install = shutil.which("mariadb-install-db")
    return (server, install) if server and install else None


@contextmanager
def mariadb(folder: Path) -> Iterator[MariaDb]:
    """Start a server over an empty folder, and stop it afterwards.

    Raises:
        ServerError: It does not start.
    """
    programs = mariadb_programs()
    assert programs is not None
    server, install = programs
    data, log = folder / "data", folder / "mariadb.log"
    # It runs as whoever runs the tests: by itself it changes to a user who cannot reach the folder.
    common = ["--no-defaults", f"--datadir={data}", f"--user={getpass.getuser()}"]
    made = [install, *common, "--auth-root-authentication-method=normal", "--skip-test-db", "--skip-name-resolve"]
    with log.open("wb") as lines:
        # Beside other work it now and then fails on a table of its own.
        for _ in range(_TRIES):
            if subprocess.run(made, check=False, stdout=lines, stderr=lines).returncode == 0:
                break
            shutil.rmtree(data, ignore_errors=True)
        else:
            raise ServerError(f"its folder cannot be made; see {log}")
        port = free_port()
        first = folder / "first.sql"
        escaped = PASSWORD.replace("'", "''")
        first.write_text(
            "CREATE DATABASE IF NOT EXISTS market CHARACTER SET utf8mb4;\n"
            f"CREATE USER IF NOT EXISTS '{USER}'@'127.0.0.1' IDENTIFIED BY '{escaped}';\n"
            f"GRANT ALL ON *.* TO '{USER}'@'127.0.0.1' WITH GRANT OPTION;\n"
        )
        arguments = [
            f"--port={port}",
            "--bind-address=127.0.0.1",
            f"--socket={folder / 's'}",
            f"--pid-file={folder / 'pid'}",
            f"--init-file={first}",
            "--skip-name-resolve",
            "--innodb-buffer-pool-size=32M",
            "--innodb-flush-log-at-trx-commit=2",
            "--max-allowed-packet=64M",
        ]
        process = subprocess.Popen([server, *common, *arguments], stdout=lines, stderr=lines)
    running = MariaDb(port, process)
    try:
        wait_until(lambda: _answers(running), process, str(log))
        yield running
    finally:
        stop(process)


def _answers(server: MariaDb) -> bool:
    try:
        server.run("SELECT 1")
    except pymysql.err.OperationalError:
        return False
    return True
