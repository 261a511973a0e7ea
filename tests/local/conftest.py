"""The S3 server that the tests of a module share."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from cluster.binaries import BuildError
from conftest import lacking
from s3.gateway import Gateway, gateway


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gateway]:
    """A running S3 server, whose bucket is empty at first."""
    try:
        with gateway(tmp_path_factory.mktemp("s3")) as running:
            yield running
    except BuildError as error:
        lacking(str(error))


@pytest.fixture
def reached(store: Gateway, monkeypatch: pytest.MonkeyPatch) -> Gateway:
    """The server, and an environment that leads this process to it."""
    for name, value in store.environment().items():
        monkeypatch.setenv(name, value)
    return store
