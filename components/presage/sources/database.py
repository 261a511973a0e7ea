"""A relational database: its address in a job, its sessions, and what it refuses in plain words."""

from __future__ import annotations

import re
import sqlite3
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from sqlalchemy import URL, Engine, create_engine, event, make_url
from sqlalchemy.engine.interfaces import DBAPIConnection
from sqlalchemy.exc import ArgumentError, DBAPIError, SQLAlchemyError
from sqlalchemy.pool import NullPool

from presage.errors import JobError, MissingExtraError
from presage.sources.secrets import secret_value
from presage.spec.sources import SecretRef

Dialect = Literal["sqlite", "mysql", "postgresql"]
FaultKind = Literal["Lost", "Conflict", "Refused", "Forbidden", "Missing", "Full", "ReadOnly", "Other"]
"""What a database refuses: it does not answer or the connection broke; another session was in the way; the credentials
are wrong; they do not suffice; what is named is not there; there is no room; it must not be written to; all else."""

_DRIVERS: dict[str, tuple[Dialect, str]] = {
    "sqlite": ("sqlite", "sqlite+pysqlite"),
    "mysql": ("mysql", "mysql+pymysql"),
    "mysql+pymysql": ("mysql", "mysql+pymysql"),
    "mariadb": ("mysql", "mysql+pymysql"),
    "mariadb+pymysql": ("mysql", "mysql+pymysql"),
    "postgresql": ("postgresql", "postgresql+psycopg"),
    "postgresql+psycopg": ("postgresql", "postgresql+psycopg"),
}
# Others could lead to another host, read a file of this machine or carry a password.
_OPTIONS: dict[Dialect, frozenset[str]] = {
    "sqlite": frozenset(),
    "mysql": frozenset({"charset", "ssl_ca", "ssl_verify_cert", "ssl_verify_identity"}),
    "postgresql": frozenset({"application_name", "sslmode", "sslrootcert"}),
}
_CONNECT_SECONDS = 10
_ANSWER_SECONDS = 300
_BUSY_SECONDS = 5
# PostgreSQL's client waits for ever by itself: the server ends what takes too long, and these find out when it is gone.
_KEEP_ALIVE = {"keepalives_idle": 30, "keepalives_interval": 10, "keepalives_count": 3, "tcp_user_timeout": 60_000}

_MYSQL_KINDS: dict[FaultKind, tuple[int, ...]] = {
    "Lost": (1040, 1053, 1129, 1203, 1226, 1927, 2002, 2003, 2006, 2013, 2014, 2055, 4031),
    "Conflict": (1020, 1205, 1213),
    "Refused": (1045, 1698),
    "Forbidden": (1044, 1142, 1143, 1227),
    "Missing": (1049, 1051, 1054, 1146),
    "Full": (1021, 1114),
    "ReadOnly": (1290, 1792, 1836),
}
_MYSQL = {number: kind for kind, numbers in _MYSQL_KINDS.items() for number in numbers}
_POSTGRESQL: dict[str, FaultKind] = {
    "08": "Lost",
    "53300": "Lost",
    "57014": "Lost",
    "57P": "Lost",
    "40": "Conflict",
    "55P03": "Conflict",
    "28": "Refused",
    "42501": "Forbidden",
    "3D000": "Missing",
    "3F000": "Missing",
    "42P01": "Missing",
    "42703": "Missing",
    "53100": "Full",
    "25006": "ReadOnly",
}
_SQLITE: dict[int, FaultKind] = {
    sqlite3.SQLITE_BUSY: "Conflict",
    sqlite3.SQLITE_LOCKED: "Conflict",
    sqlite3.SQLITE_CANTOPEN: "Missing",
    sqlite3.SQLITE_PERM: "Forbidden",
    sqlite3.SQLITE_FULL: "Full",
    sqlite3.SQLITE_READONLY: "ReadOnly",
}
_LONGEST = 300


@dataclass(frozen=True)
class Database:
    """A database that a job names.

    Attributes:
        dialect: Its kind.
        url: Its address for the driver, without credentials.
        shown: Its address as messages show it.
    """

    dialect: Dialect
    url: URL
    shown: str

    @classmethod
    def parse(cls, uri: str, base: Path, place: str) -> Database:
        """Return the database of a URI.

        Args:
            uri: The URI.
            base: Folder that the file of `sqlite:///file` starts from.
            place: What names it in the job, for messages.

        Raises:
            JobError: The URI is none of a database that is supported, or it holds credentials or an option that could
                lead elsewhere; what it says of them is not repeated.
        """
        scheme, _, rest = uri.partition("://")
        if scheme.lower() not in _DRIVERS:
            raise JobError(
                f"{place}: {scheme!r} is no kind of database that can be used.",
                "Write sqlite:///file, mysql+pymysql://host/database or postgresql://host/database.",
            )
        dialect, driver = _DRIVERS[scheme.lower()]
        bare = rest.partition("?")[0].partition("#")[0]
        if "@" in bare and dialect != "sqlite":
            raise JobError(
                f"{place}: the address of the database holds credentials.",
                "Take them out; set `secretRef` to a secret with the keys username and password.",
            )
        shown = f"{scheme}://{bare}"
        try:
            url = make_url(f"{driver}://{rest}")
        except (ArgumentError, ValueError) as error:
            raise JobError(f"{place}: {shown} is no address of a database.", "Correct host, port and name.") from error
        for option in url.query:
            if option not in _OPTIONS[dialect]:
                allowed = ", ".join(sorted(_OPTIONS[dialect])) or "none"
                raise JobError(f"{place}, {shown}: option {option!r} is not allowed.", f"Allowed are: {allowed}.")
        if not url.database or (dialect != "sqlite" and not url.host):
            raise JobError(
                f"{place}, {shown}: the address names no database.",
                "Write sqlite:///file, mysql+pymysql://host/database or postgresql://host/database.",
            )
        if dialect == "sqlite":
            if url.host or ":memory:" in url.database:
                raise JobError(
                    f"{place}, {shown}: this names no file.", "Write sqlite:///file, or sqlite:////folder/file."
                )
            url = url.set(database=str(base.resolve() / url.database))
        return cls(dialect, url, shown)

    def engine(self, credentials: Mapping[str, str], *, read_only: bool) -> Engine:
        """Return what opens sessions, one connection each, whose times are in UTC.

        Args:
            credentials: `username` and `password`; empty for none.
            read_only: Whether the sessions refuse to write.

        Raises:
            MissingExtraError: The driver is not installed.
        """
        url = self.url.set(username=credentials.get("username"), password=credentials.get("password"))
        arguments: dict[str, Any] = {}
        if self.dialect == "sqlite":
            # A read must not make the file.
            file = f"{Path(str(url.database)).as_uri()}?mode={'ro' if read_only else 'rwc'}"
            arguments["creator"] = lambda: sqlite3.connect(file, uri=True, timeout=_BUSY_SECONDS)
        elif self.dialect == "mysql":
            limits = {"connect_timeout": _CONNECT_SECONDS, "read_timeout": _ANSWER_SECONDS}
            arguments["connect_args"] = limits | {"write_timeout": _ANSWER_SECONDS, "charset": "utf8mb4"}
        else:
            arguments["connect_args"] = {"connect_timeout": _CONNECT_SECONDS, "client_encoding": "utf8"} | _KEEP_ALIVE
        try:
            engine = create_engine(url, poolclass=NullPool, hide_parameters=True, **arguments)
        except ModuleNotFoundError as error:
            raise missing_extra(self.shown, error) from error
        event.listen(engine, "connect", _first_statements(self.dialect, read_only=read_only))
        return engine


def missing_extra(place: str, error: ModuleNotFoundError) -> MissingExtraError:
    """Return the error of a database without what is needed to talk to it."""
    return MissingExtraError(
        f"{place} needs the Python package {error.name}, which is not installed.", "Install presage[sql]."
    )


def credentials_of(reference: SecretRef | None, secret: Callable[[SecretRef], Mapping[str, str]]) -> Mapping[str, str]:
    """Return `username` and `password` of a secret, nothing without one; raises JobError where it lacks them."""
    if reference is None:
        return {}
    if reference.key is not None:
        raise JobError(
            f"secret {reference.name!r}: a database needs its keys username and password, not {reference.key!r} alone.",
            "Take `key` out of `secretRef`.",
        )
    values = secret(reference)
    return {key: secret_value(values, reference, key) for key in ("username", "password")}


def refused(place: str, reference: SecretRef | None) -> JobError:
    """Return the error of a database that asks for credentials, or refuses those of a secret."""
    if reference is None:
        return JobError(
            f"{place}: the database asks for credentials.",
            "Set `secretRef` to a secret with the keys username and password.",
        )
    return JobError(
        f"{place}: the database refuses the credentials of secret {reference.name!r}.",
        f"Correct {reference.prefix}USERNAME and {reference.prefix}PASSWORD.",
    )


def fault_kind(error: SQLAlchemyError) -> FaultKind:
    """Return what a database refused."""
    if not isinstance(error, DBAPIError):
        return "Other"
    cause = error.orig
    if isinstance(cause, sqlite3.Error):
        return _SQLITE.get(getattr(cause, "sqlite_errorcode", 0) & 0xFF, "Other")
    number = cause.args[0] if cause is not None and cause.args else None
    if isinstance(number, int):
        # From 2000 on the client speaks; 0 is its word for a connection that is closed.
        gone = error.connection_invalidated or number == 0 or 2000 <= number < 3000
        return _MYSQL.get(number, "Lost" if gone else "Other")
    state = getattr(cause, "sqlstate", None)
    if isinstance(state, str):
        return next((_POSTGRESQL[state[:size]] for size in (5, 3, 2) if state[:size] in _POSTGRESQL), "Other")
    text = str(cause)
    # Before a session stands, PostgreSQL's client tells a refusal in words only.
    if re.search(r"FATAL: .*(authentication|role|user|pg_hba)|no password supplied", text):
        return "Refused"
    if re.search(r"FATAL: .*database .* does not exist", text):
        return "Missing"
    lost = error.connection_invalidated or type(cause).__name__ in ("OperationalError", "InterfaceError")
    return "Lost" if lost else "Other"


def fault_text(error: BaseException, hidden: Mapping[str, str]) -> str:
    """Return the first line of what a database says, cut where it is long, without credentials."""
    cause = error.orig if isinstance(error, DBAPIError) and error.orig is not None else error
    # pymysql's errors are a number and a text.
    parts = [part for part in cause.args if isinstance(part, str)]
    lines = (parts[-1] if parts else str(cause)).strip().splitlines()
    line = lines[0] if lines else type(cause).__name__
    for value in hidden.values():
        line = line.replace(value, "***") if value else line
    return f"{line.rstrip('.')}." if len(line) <= _LONGEST else line[:_LONGEST] + "…"


def _first_statements(dialect: Dialect, *, read_only: bool) -> Callable[[DBAPIConnection, object], None]:
    statements: dict[Dialect, list[str]] = {
        "sqlite": ["PRAGMA query_only = ON"] if read_only else [],
        "mysql": [
            "SET SESSION time_zone = '+00:00'",
            "SET SESSION TRANSACTION READ ONLY"
            if read_only
            else "SET SESSION sql_mode = CONCAT(@@sql_mode, ',STRICT_ALL_TABLES')",
        ],
        "postgresql": [
            "SET TIME ZONE 'UTC'",
            f"SET statement_timeout = '{_ANSWER_SECONDS}s'",
            f"SET default_transaction_read_only = {'on' if read_only else 'off'}",
        ],
    }

    def tell(connection: DBAPIConnection, _record: object) -> None:
        cursor = connection.cursor()
        try:
            for statement in statements[dialect]:
                cursor.execute(statement)
        finally:
            cursor.close()
        connection.commit()

    return tell
