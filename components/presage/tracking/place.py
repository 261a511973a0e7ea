"""Where MLflow is: a server's address, or a SQLite file of its own."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from pathlib import Path
from urllib.parse import quote, unquote, urlsplit, urlunsplit

from presage.errors import JobError, NotSupportedError

TRACKING_VARIABLE = "PRESAGE_TRACKING"
"""Variable that names the MLflow that is told of runs."""
OFF = "off"
_SQLITE = "sqlite:///"
_DATABASES = frozenset({"mysql", "postgresql", "mssql"})


@dataclass(frozen=True)
class TrackingPlace:
    """A place that MLflow's client can talk to.

    Attributes:
        uri: Its address, without credentials.
        database: The SQLite file; None for a server.
        username: User of the server, where the address named one.
        password: That user's password.
        own: Whether it is the one inside a work directory.
    """

    uri: str
    database: Path | None = None
    username: str | None = None
    password: str | None = field(default=None, repr=False)
    own: bool = False

    @property
    def artifacts(self) -> Path | None:
        """Folder of the artefacts beside a SQLite file; a server has a place of its own."""
        return None if self.database is None else self.database.parent / "artifacts"

    def __str__(self) -> str:
        return self.uri


def own_place(root: Path) -> TrackingPlace:
    """Return the place inside a work directory."""
    return replace(_sqlite(root / "mlflow" / "mlflow.db"), own=True)


def parse_place(uri: str) -> TrackingPlace:
    """Return the place of a tracking URI.

    Args:
        uri: `http://host:port`, `https://...` or `sqlite:///path/to/file.db`.

    Raises:
        JobError: It is no address.
        NotSupportedError: MLflow is to be reached in another way.
    """
    try:
        parts = urlsplit(uri)
        host, port = parts.hostname, parts.port
    except ValueError as error:
        raise _no_address() from error
    scheme = parts.scheme.lower()
    if scheme in ("http", "https"):
        if not host or parts.query or parts.fragment:
            raise _no_address()
        netloc = f"[{host}]" if ":" in host else host
        clean = urlunsplit((scheme, f"{netloc}:{port}" if port else netloc, parts.path.rstrip("/"), "", ""))
        return TrackingPlace(
            clean,
            username=None if parts.username is None else unquote(parts.username),
            password=None if parts.password is None else unquote(parts.password),
        )
    if scheme == "sqlite":
        path = uri[len(_SQLITE) :] if uri.lower().startswith(_SQLITE) else ""
        if not path or path.startswith(":memory:") or path.endswith("/"):
            raise JobError("the tracking URI names no SQLite file.", "Write sqlite:///path/to/mlflow.db.")
        return _sqlite(Path(path))
    if scheme.partition("+")[0] in _DATABASES:
        raise NotSupportedError(
            f"runs are not told to a {scheme} database directly: where its artefacts are, only a server knows.",
            "Start `mlflow server` over it and give the server's address as --tracking.",
        )
    raise _no_address()


def _sqlite(path: Path) -> TrackingPlace:
    if any(sign in str(path) for sign in "?%"):
        raise NotSupportedError(
            f"{path} cannot be MLflow's file: its path has a question mark or a percent sign.",
            "Give another --tracking, or `off`.",
        )
    # Two ways to one file are one place.
    real = path.resolve()
    return TrackingPlace(f"{_SQLITE}{real}", database=real)


def _no_address() -> JobError:
    # What was given is not repeated: it may hold a password where nobody looks for one.
    return JobError(
        "the tracking URI is no address of MLflow.",
        f"Write http://host:port, https://host, sqlite:///path/to/mlflow.db, or {OFF} "
        f"(--tracking, {TRACKING_VARIABLE} or MLFLOW_TRACKING_URI).",
    )


def file_uri(path: Path) -> str:
    """Return the `file:` address of a path."""
    return f"file://{quote(str(path))}"
