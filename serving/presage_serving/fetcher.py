"""Keeps a local directory what a run's part of a bucket is."""

from __future__ import annotations

from pathlib import Path

from presage.errors import LakeError
from presage.files import storage_faults, write_atomically
from presage.models.bundle import SIZE_AT_MOST
from presage.spec.forecast import FORECAST
from presage.steps.bucket import Bucket, Stored
from presage_serving.directory import BUNDLE, LARGEST_FORECAST, REPORT


class Fetcher:
    """Copies what a server needs of a run: its bundle, its newest forecast and its report.

    Args:
        bucket: The run's directory in a bucket.
        directory: The copy; empty at first, and nobody else writes to it.
    """

    def __init__(self, bucket: Bucket, directory: Path) -> None:
        self._bucket = bucket
        self._directory = directory
        self._held: dict[str, str] = {}

    def fetch(self) -> None:
        """Fetch the objects whose tags are new, and drop the files whose objects are gone.

        Raises:
            LakeError: A key leads out of the directory, or there is more than a bundle or a forecast may be.
            JobError: There is no such bucket, or two keys cannot both be files.
            StorageError: The store refuses or does not answer, or there is no room for the copy.
        """
        found = self._found()
        for name in self._held.keys() - found.keys():
            self._drop(name)
        for name, stored in found.items():
            if self._held.get(name) != stored.etag:
                self._copy(name)

    def _found(self) -> dict[str, Stored]:
        found = {name: stored for name, stored in self._bucket.list("").items() if _is_needed(name)}
        for name in found:
            if {"", ".", ".."} & set(name.split("/")):
                raise LakeError(f"the key {name!r} in {self._bucket.place} names no file of a bundle.", "Delete it.")
        forecast = found.get(FORECAST)
        if forecast is not None and forecast.size > LARGEST_FORECAST:
            raise LakeError(
                f"{self._bucket.place}/{FORECAST} is larger than the {LARGEST_FORECAST} bytes that are read.",
                "Issue it again.",
            )
        size = sum(stored.size for stored in found.values())
        if size > SIZE_AT_MOST:
            raise LakeError(
                f"the {size} bytes in {self._bucket.place} are more than the {SIZE_AT_MOST} that are served.",
                "Name the directory of one run.",
            )
        return found

    def _copy(self, name: str) -> None:
        held = self._bucket.read(name)
        if held is None:
            self._drop(name)
            return
        content, etag = held
        write_atomically(self._directory / name, content)
        self._held[name] = etag

    def _drop(self, name: str) -> None:
        path = self._directory / name
        with storage_faults(path):
            path.unlink(missing_ok=True)
        self._held.pop(name, None)


def _is_needed(name: str) -> bool:
    # A key that ends in a slash is how some tools make a folder.
    return name in {FORECAST, REPORT} or (name.startswith(f"{BUNDLE}/") and not name.endswith("/"))
