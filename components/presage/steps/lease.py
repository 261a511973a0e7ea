"""A job's lock in a bucket: an object that its holder keeps renewing, and that others take over once nobody does."""

from __future__ import annotations

import json
import logging
import secrets
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from threading import Event, Lock, Thread

from presage.errors import LakeConflictError, PresageError
from presage.steps.bucket import Bucket

LEASE_SECONDS = 30.0
_RENEWALS = 6
"""Renewals in the time after which a lease counts as abandoned."""
_LOG = logging.getLogger(__name__)


@contextmanager
def held_lease(bucket: Bucket, name: str, *, job: str, seconds: float = LEASE_SECONDS) -> Iterator[Lease]:
    """Hold a lease, renewed in the background, so that one run of a job goes on at a time on any machine.

    No two machines' clocks are compared: who finds a lease watches it by his own clock, and takes it over where the
    object has not changed for as long as the lease lasts.

    Args:
        bucket: The bucket.
        name: Name of the lock's object.
        job: Whose lock it is, for errors.
        seconds: How long the lease lasts without being renewed.

    Raises:
        LakeConflictError: Another run of the job holds it and goes on renewing it.
        StorageError: The store refuses or does not answer.
    """
    lease = Lease(bucket, name, job, seconds)
    stopped = Event()
    renewing = Thread(target=lease.renew_until, args=(stopped,), name="lease", daemon=True)
    try:
        lease.acquire()
        renewing.start()
        yield lease
    finally:
        stopped.set()
        if renewing.is_alive():
            renewing.join()
        lease.release()


@dataclass
class Lease:
    """One holder's hold on a lock."""

    bucket: Bucket
    name: str
    job: str
    seconds: float
    _holder: str = field(default_factory=lambda: secrets.token_hex(8))
    _beats: int = 0
    _tag: str | None = None
    _guard: Lock = field(default_factory=Lock)

    def acquire(self) -> None:
        """Take the lock, or take it over.

        Raises:
            LakeConflictError: Another run of the job holds it.
        """
        self._tag = self._beat(over=None)
        seen, since = None, 0.0
        while self._tag is None:
            held = self.bucket.read(self.name)
            tag = None if held is None else held[1]
            if seen is None:
                seen, since = tag, time.monotonic()
                _LOG.info("lock found", extra={"job": self.job, "lease_seconds": self.seconds})
            if tag not in (seen, None):
                raise self._conflict()
            if tag is not None and time.monotonic() - since <= self.seconds:
                time.sleep(self.seconds / _RENEWALS / 2)
                continue
            self._tag = self._beat(over=tag)
            if self._tag is None:
                raise self._conflict()

    def confirm(self) -> None:
        """Renew the lock now; raises LakeConflictError where it was taken over."""
        with self._guard:
            if self._tag is not None:
                self._tag = self._beat(over=self._tag)
            if self._tag is None:
                raise LakeConflictError(
                    f"another run of {self.job} took over in {self.bucket.place}: this one had not been heard of for "
                    f"{self.seconds:g} seconds.",
                    "Nothing more of this run was kept; run it again.",
                )

    def renew_until(self, stopped: Event) -> None:
        """Renew the lock again and again; a store that does not answer is asked again."""
        while not stopped.wait(self.seconds / _RENEWALS):
            try:
                self.confirm()
            except PresageError as error:
                _LOG.warning("lock not renewed", extra={"job": self.job, "fault": error.what})

    def release(self) -> None:
        """Give the lock back where it is held, also by a hold that a signal cut short; another's stays."""
        try:
            held = self.bucket.read(self.name)
            # Renewed once more, so that nobody takes it over before it is deleted.
            if held is not None and self._is_mine(held[0]) and self._beat(over=held[1]) is not None:
                self.bucket.delete(self.name)
        except PresageError as error:
            _LOG.warning("lock not released", extra={"job": self.job, "fault": error.what})

    def _beat(self, *, over: str | None) -> str | None:
        # What is written differs each time, and with it the tag by which others see that the holder is alive.
        self._beats += 1
        content = json.dumps({"holder": self._holder, "beat": self._beats}).encode()
        tag = self.bucket.write(self.name, content, over=over)
        if tag is None and (held := self.bucket.read(self.name)) and self._is_mine(held[0]):
            # An earlier beat came through although its answer did not.
            tag = self.bucket.write(self.name, content, over=held[1])
        return tag

    def _is_mine(self, content: bytes) -> bool:
        return self._holder.encode() in content

    def _conflict(self) -> LakeConflictError:
        return LakeConflictError(
            f"another run of {self.job} is going on in {self.bucket.place}.",
            "Wait for it to end, or give another --workdir.",
        )
