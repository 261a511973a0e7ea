"""The model directory: a run's bundle, which is trusted only when its digests are right, and its newest forecast."""

from __future__ import annotations

import logging
from collections.abc import Callable
from pathlib import Path
from threading import Event

from presage.errors import DataError, LakeError, PresageError
from presage.models.bundle import Bundle, read_bundle
from presage.spec.forecast import FORECAST
from presage_serving.forecast import Served, parse_forecast
from presage_serving.metrics import Metrics

BUNDLE = "bundle"
REPORT = "report.html"
LARGEST_FORECAST = 2**24
"""Bytes."""
_LONGEST_PAUSE = 30.0
_Signature = tuple[int, int, int]

logger = logging.getLogger("presage.serving")


class ModelDirectory:
    """Keeps the newest good forecasts of a model directory; a broken one never takes the place of a good one.

    Args:
        path: The directory.
        metrics: What is counted.
        name: What its user calls it; its path by default.
        update: Brings it up to date before each look, where it is a copy of another place; raises PresageError where
            that cannot be done.

    Attributes:
        served: What is served; None until the directory was found sound.
        fault: What is wrong with the directory, as a sentence; empty where nothing is.
    """

    def __init__(
        self, path: Path, metrics: Metrics, *, name: str = "", update: Callable[[], None] = lambda: None
    ) -> None:
        self.path = path
        self.served: Served | None = None
        self.fault = "The model directory is being read."
        self._metrics = metrics
        self._name = name or str(path)
        self._update = update
        self._bundle: Bundle | None = None
        self._seen: _Signature | None = None

    def watch(self, interval: float, stop: Event) -> None:
        """Look at the directory until it is told to stop.

        Args:
            interval: Seconds between two looks; while the directory is not sound, they become longer, up to 30.
            stop: Set when it is to stop.
        """
        pause = interval
        while not stop.is_set():
            try:
                self.refresh()
            except Exception:  # a server that stops looking would serve old forecasts in silence
                logger.exception("the model directory cannot be looked at")
            pause = interval if self.served else max(interval, min(pause * 2, _LONGEST_PAUSE))
            stop.wait(pause)

    def refresh(self) -> None:
        """Take what is new in the directory; what is wrong with it is kept in `fault`, logged and counted once."""
        signature = None
        try:
            self._update()
            signature = _signature(self.path / FORECAST)
            if self.served and signature == self._seen:
                return
            found = self._read()
        except PresageError as error:
            self._refuse(str(error).replace(str(self.path), self._name), signature)
        else:
            self._take(found)
        self._seen = signature

    def _read(self) -> Served:
        """Return the forecast of the file; raises LakeError or DataError."""
        bundle = self._bundle or read_bundle(self.path / BUNDLE)[0]
        found = parse_forecast(_content(self.path / FORECAST))
        served = self.served
        if (found.job, found.model) != (f"{bundle.namespace}.{bundle.job}", bundle.model):
            raise DataError(
                f"{FORECAST} is of {found.job} by {found.model}, and the bundle beside it is of "
                f"{bundle.namespace}.{bundle.job} by {bundle.model}.",
                "Name the directory of one run.",
            )
        if served and found.run != served.run:
            raise DataError(
                f"{FORECAST} is of run {found.run}, and run {served.run} is served.",
                "Start another server for another run.",
            )
        if served and found.issued_at < served.issued_at:
            raise DataError(
                f"{FORECAST} was issued at {found.issued_at}, before the one that is served.", "Issue a newer one."
            )
        self._bundle = bundle
        return found

    def _take(self, found: Served) -> None:
        event = "forecast replaced" if self.served else "model ready"
        if found == self.served:
            event = "forecast unchanged"
        self.served, self.fault = found, ""
        logger.info(event, extra={"run": found.run, "model": found.model, "issued_at": found.issued_at.isoformat()})

    def _refuse(self, fault: str, signature: _Signature | None) -> None:
        if (fault, signature) == (self.fault, self._seen):
            return
        self.fault = fault
        self._metrics.refused()
        served = self.served.issued_at.isoformat() if self.served else "nothing"
        logger.error("model directory refused", extra={"fault": fault, "served": served})


def _signature(path: Path) -> _Signature | None:
    """Return what changes with a file's content; None where there is no file."""
    try:
        status = path.stat()
    except OSError:
        return None
    return status.st_ino, status.st_mtime_ns, status.st_size


def _content(path: Path) -> bytes:
    try:
        with path.open("rb") as file:
            content = file.read(LARGEST_FORECAST + 1)
    except OSError as error:
        raise LakeError(
            f"{path} cannot be read: {error.strerror or error}.", "Issue a forecast: presage forecast."
        ) from error
    if len(content) > LARGEST_FORECAST:
        raise LakeError(f"{path} is larger than the {LARGEST_FORECAST} bytes that are read.", "Issue it again.")
    return content
