"""What every test may ask for."""

from __future__ import annotations

import inspect
import os
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, NoReturn

import pytest
from hypothesis import settings

if TYPE_CHECKING:
    from servers.mariadb import MariaDb
    from servers.postgresql import PostgreSql
    from servers.sqlite import Sqlite

# How long an example takes says nothing on a machine that does other things too.
settings.register_profile("presage", deadline=None)
settings.load_profile("presage")

# kfp reads the whole stack at each setting of a step. A worker of pytest-xdist begins in a frame of no file, for which
# inspect would go through thousands of modules each time: a second a pipeline.
inspect.modulesbyfile.setdefault("<string>", "__main__")

# A shell starts what runs behind it deaf to Ctrl-C, and so would be every command that a test interrupts.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)

SHARED_DATA = Path(os.environ.get("PRESAGE_SHARED_DATA", Path(__file__).parents[2] / "shared" / "data"))


def lacking(reason: str) -> NoReturn:
    """Skip for want of a tool or of data; in CI nothing may be wanting, so there it fails."""
    if os.environ.get("CI") == "true":
        pytest.fail(f"in CI nothing may be lacking: {reason}")
    pytest.skip(reason)


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """The folder of real data beside the project; its files are used where they are and never copied."""
    if not SHARED_DATA.is_dir():
        lacking(f"no real data at {SHARED_DATA}; PRESAGE_SHARED_DATA names another place")
    return SHARED_DATA


@pytest.fixture(scope="session")
def quickstart_workdir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The work directory of a run of the quickstart; a test that changes it makes a copy."""
    from commands import EXAMPLES, presage

    workdir = tmp_path_factory.mktemp("quickstart")
    presage("run", EXAMPLES / "quickstart.yaml", "--workdir", workdir)
    return workdir


@pytest.fixture(scope="session")
def package(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A pipeline of one step, compiled by Kubeflow's own compiler."""
    from doubles.pipeline import pipeline
    from kfp import compiler

    path = tmp_path_factory.mktemp("pipeline") / "pipeline.yaml"
    compiler.Compiler().compile(pipeline, str(path))
    return path


@pytest.fixture(scope="session")
def mariadb_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[MariaDb]:
    """A real MariaDB server."""
    from servers.mariadb import mariadb, mariadb_programs

    if mariadb_programs() is None:
        lacking("no MariaDB server; tests/system-packages.sh installs it")
    with mariadb(tmp_path_factory.mktemp("mariadb")) as server:
        yield server


@pytest.fixture(scope="session")
def postgresql_server() -> Iterator[PostgreSql]:
    """A real PostgreSQL server."""
    from servers.postgresql import postgresql, postgresql_programs

    if postgresql_programs() is None:
        lacking("no PostgreSQL server; tests/system-packages.sh installs it")
    with postgresql() as server:
        yield server


@pytest.fixture(params=["sqlite", "mariadb", "postgresql"])
def database(
    request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Sqlite | MariaDb | PostgreSql:
    """A relational database of each kind; the secret `market` in the environment opens it."""
    from servers.sqlite import Sqlite

    if request.param == "sqlite":
        return Sqlite(tmp_path / "market.db")
    server = request.getfixturevalue(f"{request.param}_server")
    monkeypatch.setenv("MARKET_USERNAME", server.user)
    monkeypatch.setenv("MARKET_PASSWORD", server.password)
    return server
