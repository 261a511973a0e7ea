"""Makes MLflow's tables, or brings them up to date, before a server starts: `python tables.py`, one Pod at a time."""  # noqa: INP001 - a script

from __future__ import annotations

import os
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager

import pymysql
from database import address
from mlflow.db import upgrade
from mlflow.store.db.utils import create_sqlalchemy_engine_with_retry
from sqlalchemy import Column, Integer, MetaData, Table, inspect

# MLflow takes a table whose name begins like this for Alembic's own, and the database for empty.
FIRST_START = Table("alembic_first_start", MetaData(), Column("since", Integer))
LOCK_SECONDS = 1800


def prepare(uri: str) -> None:
    """Make the tables or bring them up to date.

    MySQL keeps what a first start made before it was cut short, and MLflow cannot go on from there: it begins again.
    """
    engine = create_sqlalchemy_engine_with_retry(uri)
    names = inspect(engine).get_table_names()
    if FIRST_START.name in names:
        _say("The first start was cut short: it begins again.")
        begun = MetaData()
        begun.reflect(engine)
        begun.drop_all(engine)
        names = []
    if not names:
        FIRST_START.create(engine)
    upgrade.callback(uri)
    FIRST_START.drop(engine, checkfirst=True)
    _say("The tables are up to date.")


@contextmanager
def alone(given: Mapping[str, str]) -> Iterator[None]:
    """Wait for the server, and hold a lock of its own."""
    with _login(given) as connection, connection.cursor() as cursor:
        cursor.execute("SELECT GET_LOCK(%s, %s)", (f"mlflow.{given['DATABASE_NAME']}"[:64], LOCK_SECONDS))
        if cursor.fetchone() != (1,):
            raise SystemExit("Another Pod has been making the tables for half an hour.")
        yield


def _login(given: Mapping[str, str]) -> pymysql.Connection:
    while True:
        try:
            return pymysql.connect(
                host=given["DATABASE_HOST"],
                port=int(given["DATABASE_PORT"]),
                user=given["DATABASE_USER"],
                password=given["DATABASE_PASSWORD"],
                database=given["DATABASE_NAME"],
                ssl_ca=given.get("MLFLOW_MYSQL_SSL_CA"),
                connect_timeout=5,
            )
        except pymysql.MySQLError as error:
            _say(f"{given['DATABASE_HOST']} does not take the login yet: {error.args[-1]}")
        time.sleep(1)


def _say(text: str) -> None:
    sys.stdout.write(text + "\n")
    sys.stdout.flush()


if __name__ == "__main__":
    if "DATABASE_FILE" in os.environ:
        prepare(address(os.environ))
    else:
        with alone(os.environ):
            prepare(address(os.environ))
