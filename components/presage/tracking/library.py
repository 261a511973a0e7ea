"""MLflow's client library, kept to itself: it says nothing, phones nobody, and its errors become ours."""

from __future__ import annotations

import importlib.util
import logging
import os
import warnings
from collections.abc import Iterator
from contextlib import contextmanager

from presage.errors import JobError, MissingExtraError, PresageError, TrackingUnavailableError
from presage.tasks import environment
from presage.tracking.place import TrackingPlace

_SETTINGS = {
    "MLFLOW_CONFIGURE_LOGGING": "false",
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR": "false",
    "MLFLOW_ENABLE_ASYNC_LOGGING": "false",
    # Artefacts go through the server: the store that it would name need not be reached from here.
    "MLFLOW_ENABLE_PROXY_MULTIPART_DOWNLOAD": "false",
    "MLFLOW_ENABLE_PROXY_MULTIPART_UPLOAD": "false",
    "MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT": "true",
}
# What its user sets counts; else a server that is down is told of within seconds and not minutes.
_BOUNDS = {
    "MLFLOW_HTTP_REQUEST_BACKOFF_FACTOR": "1",
    "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "2",
    "MLFLOW_HTTP_REQUEST_TIMEOUT": "30",
}
_TALKATIVE = ("alembic", "boto3", "botocore", "git", "mlflow", "s3transfer", "sqlalchemy", "urllib3")
_UNKNOWN_USER = frozenset({"CUSTOMER_UNAUTHORIZED", "PERMISSION_DENIED", "UNAUTHENTICATED"})
_REFUSALS = frozenset(
    {
        "ALREADY_EXISTS",
        "ENDPOINT_NOT_FOUND",
        "INVALID_PARAMETER_VALUE",
        "NOT_FOUND",
        "RESOURCE_ALREADY_EXISTS",
        "RESOURCE_DOES_NOT_EXIST",
    }
)
_OLD_SCHEMA = "out-of-date database schema"
_THEN = "the runs are kept, and the next run or `presage track FILE` tells them."


def installed() -> bool:
    """Return whether MLflow can be imported; it is not imported."""
    return importlib.util.find_spec("mlflow") is not None


def require_library() -> None:
    """Raise MissingExtraError where MLflow is not installed."""
    if not installed():
        raise MissingExtraError(
            "telling MLflow needs the Python package mlflow, which is not installed.",
            "Install it: pip install 'presage[tracking]', or give --tracking off.",
        )


@contextmanager
def library(place: TrackingPlace) -> Iterator[None]:
    """Run a block that uses MLflow's client for a place.

    Raises:
        JobError: MLflow refuses.
        TrackingUnavailableError: It does not answer, or fails.
    """
    given = {"MLFLOW_TRACKING_USERNAME": place.username, "MLFLOW_TRACKING_PASSWORD": place.password}
    settings = {name: os.environ.get(name, value) for name, value in _BOUNDS.items()} | _SETTINGS
    settings |= {name: value for name, value in given.items() if value is not None}
    with environment(settings), _silence():
        try:
            yield
        except PresageError:
            raise
        except Exception as error:
            raise _fault(error, place) from error


@contextmanager
def no_retries() -> Iterator[None]:
    """Let a request be sent once: an answer that is lost must not make the client create a thing twice."""
    with environment({"MLFLOW_HTTP_REQUEST_MAX_RETRIES": "0"}):
        yield


@contextmanager
def _silence() -> Iterator[None]:
    # Without any handler Python itself writes to stderr.
    root, silent = logging.getLogger(), logging.NullHandler()
    loggers = [logging.getLogger(name) for name in _TALKATIVE]
    levels = [logger.level for logger in loggers]
    root.addHandler(silent)
    try:
        for logger in loggers:
            logger.setLevel(logging.CRITICAL + 1)
        with warnings.catch_warnings(action="ignore"):
            yield
    finally:
        root.removeHandler(silent)
        for logger, level in zip(loggers, levels, strict=True):
            logger.setLevel(level)


def _fault(error: Exception, place: TrackingPlace) -> PresageError:
    code = str(getattr(error, "error_code", ""))
    text = _sentence(error, place)
    if code in _UNKNOWN_USER or _status(error) in (401, 403):
        return JobError(
            f"MLflow at {place} does not let this user in: {text}.",
            "Set MLFLOW_TRACKING_USERNAME and MLFLOW_TRACKING_PASSWORD, or MLFLOW_TRACKING_TOKEN, and for artefacts "
            f"in a bucket the bucket's own; {_THEN}",
        )
    if _OLD_SCHEMA in str(error):
        return JobError(f"the database {place} is of an older MLflow.", f"Run `mlflow db upgrade {place}`; {_THEN}")
    if code in _REFUSALS:
        return JobError(f"MLflow at {place} refuses: {text}.", f"Check that its server is there; {_THEN}")
    return TrackingUnavailableError(f"MLflow at {place} cannot be told: {text}.", f"Try again: {_THEN}")


def _sentence(error: Exception, place: TrackingPlace) -> str:
    """Return what went wrong in a line: the system's own word where there is one, without the password."""
    refused = [one.strerror for one in _chain(error) if isinstance(one, OSError) and one.strerror]
    lines = (refused[-1] if refused else str(error)).strip().splitlines() or [type(error).__name__]
    line = lines[0].rstrip(".")[:300]
    return line.replace(place.password, "***") if place.password else line


def _status(error: Exception) -> int | None:
    """Return the HTTP status of an answer that was refused, None where there was none."""
    for one in _chain(error):
        status = getattr(getattr(one, "response", None), "status_code", None)
        if isinstance(status, int):
            return status
    return None


def _chain(error: BaseException) -> Iterator[BaseException]:
    """Give an error and what led to it, the newest first."""
    seen: set[int] = set()
    one: BaseException | None = error
    while one is not None and id(one) not in seen:
        seen.add(id(one))
        yield one
        one = one.__cause__ or one.__context__
