"""What the chart of MLflow runs before its server: its tables on a real MariaDB."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from servers.mariadb import PASSWORD, USER, MariaDb
from servers.ports import wait_until

FILES = Path(__file__).parents[2] / "charts" / "mlflow" / "files"
DATABASE = "mlflow_tables"
MARK = "alembic_first_start"

pytestmark = pytest.mark.slow


@pytest.fixture
def database(mariadb_server: MariaDb) -> Iterator[MariaDb]:
    mariadb_server.run(f"DROP DATABASE IF EXISTS {DATABASE}", f"CREATE DATABASE {DATABASE}")
    yield mariadb_server
    mariadb_server.run(f"DROP DATABASE {DATABASE}")


def start(program: str, server: MariaDb) -> subprocess.Popen[str]:
    given = {
        "DATABASE_HOST": "127.0.0.1",
        "DATABASE_PORT": str(server.port),
        "DATABASE_NAME": DATABASE,
        "DATABASE_USER": USER,
        "DATABASE_PASSWORD": PASSWORD,
    }
    return subprocess.Popen(
        [sys.executable, FILES / program],
        env=os.environ | given | {"PYTHONDONTWRITEBYTECODE": "1"},
        stdout=subprocess.PIPE,
        text=True,
    )


def tables(server: MariaDb) -> set[str]:
    return {str(name) for (name,) in server.run(f"SHOW TABLES FROM {DATABASE}")}


def test_a_password_of_any_letters_is_part_of_the_address(database: MariaDb) -> None:
    address, _ = start("database.py", database).communicate(timeout=60)
    assert address == f"mysql+pymysql://presage:s3cret%3Amariadb%40%2F%2541@127.0.0.1:{database.port}/{DATABASE}"


def test_tables_are_made_once_after_a_start_that_was_cut_short(database: MariaDb) -> None:
    cut = start("tables.py", database)
    wait_until(lambda: "metrics" in tables(database), cut, "its output")
    cut.kill()
    cut.communicate(timeout=60)
    assert MARK in tables(database)

    both = [start("tables.py", database) for _ in range(2)]
    outputs = [process.communicate(timeout=300)[0] for process in both]
    assert [process.returncode for process in both] == [0, 0]
    assert sorted("begins again" in output for output in outputs) == [False, True]
    assert {"alembic_version", "runs", "registered_models"} <= tables(database)
    assert MARK not in tables(database)
