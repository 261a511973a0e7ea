"""A local copy of one kind of object, kept current by list and watch, and trimmed as it comes in.

Versions of objects are compared as numbers in two cases; both rest on how the server keeps them, as revisions of one
database: two versions of the object of one namespace and name, and a version of an object with that of a list or watch
of the same kind.
"""

from __future__ import annotations

import asyncio
import logging
import random
import sys
from collections import OrderedDict
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import Generic, TypeVar, cast

from presage_operator.client import ApiClient, Backoff, Page, Resource, WatchEvent
from presage_operator.errors import ApiError, GoneError, InvalidError, JsonObject
from presage_operator.names import Key

T = TypeVar("T")

_logger = logging.getLogger(__name__)
_BACKOFF = Backoff(first_seconds=0.1, most_seconds=30.0)
# Failures in a row after which all is listed anew: the server may have come back from a backup, with older versions.
_OUTAGE = 5
_TOMBSTONES = 1024
# Objects that are taken in before others get their turn in the event loop.
_AT_A_TIME = 50


@dataclass(frozen=True, slots=True)
class _Entry(Generic[T]):
    version: int
    value: T


class Reflector(Generic[T]):
    """The objects of one kind, trimmed; `run` keeps them current.

    Attributes:
        synced: Set once all of them were listed for the first time.

    Args:
        api: Client of the API server.
        resource: Which kind.
        project: Trims an object; what it cannot read is logged and left out.
        on_change: Told of each object that appeared, changed or, with None, is gone.
        labels: Label selector.
        first: Field selector of those that shall be known before the others; a server that cannot select by it gives
            all in its own order.
        namespaces: Which namespaces; none for all of the cluster.
        watch_seconds: Length of one watch.
        silence_seconds: Silence after which a watch counts as dead.
        page_size: Objects a page of a list.
        sleep: Waits for so many seconds.
        jitter: Random numbers from 0 to 1.
    """

    def __init__(
        self,
        api: ApiClient,
        resource: Resource,
        project: Callable[[JsonObject], T],
        on_change: Callable[[Key, T | None], None],
        *,
        labels: str = "",
        first: str = "",
        namespaces: Sequence[str] = (),
        watch_seconds: int = 300,
        silence_seconds: float = 90.0,
        page_size: int = 100,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
        jitter: Callable[[], float] = random.random,
    ) -> None:
        self.synced = asyncio.Event()
        self._api = api
        self._resource = resource
        self._project = project
        self._on_change = on_change
        self._labels = labels
        self._first = first
        self._scopes: tuple[str | None, ...] = tuple(dict.fromkeys(namespaces)) or (None,)
        self._watch_seconds = watch_seconds
        self._silence_seconds = silence_seconds
        self._page_size = page_size
        self._sleep = sleep
        self._jitter = jitter
        self._entries: dict[Key, _Entry[T]] = {}
        # Of objects that are gone, so that an event that comes late does not bring them back.
        self._tombstones: OrderedDict[Key, int] = OrderedDict()
        # By scope: up to which version all is known.
        self._positions: dict[str | None, int] = {}
        self._faults: dict[str | None, ApiError] = {}
        self._listed: set[str | None] = set()
        # By scope: from which version to watch on; without one, all is listed.
        self._resume: dict[str | None, str] = {}
        self._failures: dict[str | None, int] = {}
        # By scope whose list is under way: what changed meanwhile, for the list is older than that.
        self._written: dict[str | None, set[Key]] = {}

    @property
    def fault(self) -> ApiError | None:
        """Why objects are not kept current at present, such as a ForbiddenError; None where they are."""
        return next(iter(self._faults.values()), None)

    def __len__(self) -> int:
        return len(self._entries)

    def get(self, key: Key) -> T | None:
        """Return an object; None where there is none."""
        entry = self._entries.get(key)
        return None if entry is None else entry.value

    def values(self) -> list[T]:
        """Return all objects."""
        return [entry.value for entry in self._entries.values()]

    def put(self, written: JsonObject) -> None:
        """Take in the answer of one's own write, unless it is older than what is known."""
        key, version = _identity(written)
        if key not in self._entries and version <= self._positions.get(self._scope(key), -1):
            return  # all up to there is known, and the object is not there: it was deleted meanwhile
        if self._is_news(key, version):
            self._note(key)
            self._keep(key, version, written)

    def drop(self, key: Key) -> None:
        """Take out an object that one's own delete removed."""
        entry = self._entries.get(key)
        if entry is not None:
            self._note(key)
            self._remove(key, entry.version)

    async def run(self) -> None:
        """Keep the objects current until cancelled."""
        async with asyncio.TaskGroup() as group:
            for scope in self._scopes:
                group.create_task(self._follow(scope))

    async def _follow(self, scope: str | None) -> None:
        while True:
            try:
                if scope in self._resume:
                    await self._watch(scope)
                else:
                    await self._list_while_watching(scope)
            except GoneError as error:
                _logger.info("%s is listed anew: %s", self._resource.plural, error)
                self._resume.pop(scope, None)
            except ApiError as error:
                _logger.warning("%s cannot be watched: %s", self._resource.plural, error)
                self._faults[scope] = error
            # Also after a watch that ended as it should: one that ends at once must not be opened again and again.
            self._failures[scope] = failures = self._failures.get(scope, 0) + 1
            if failures % _OUTAGE == 0:
                self._resume.pop(scope, None)
            await self._sleep(_BACKOFF.seconds(failures, self._jitter()))

    async def _list_while_watching(self, scope: str | None) -> None:
        """List everything, and watch from the list's version on meanwhile: what is new need not wait for its end."""
        pages = self._api.pages(self._resource, scope, labels=self._labels, size=self._page_size)
        first = await anext(pages)
        self._written[scope] = set()
        self._resume[scope] = first.resource_version
        watch = asyncio.create_task(self._watch(scope))
        try:
            if self._first:
                await self._list_first(scope)
            await self._list(scope, first, pages)
        except BaseException:
            self._resume.pop(scope, None)
            watch.cancel()
            raise
        finally:
            del self._written[scope]
        try:
            await watch
        finally:
            watch.cancel()

    async def _watch(self, scope: str | None) -> None:
        async with self._api.watch(
            self._resource,
            scope,
            resource_version=self._resume[scope],
            labels=self._labels,
            seconds=self._watch_seconds,
            silence_seconds=self._silence_seconds,
        ) as events:
            self._faults.pop(scope, None)
            async for event in events:
                self._failures[scope] = 0
                self._resume[scope] = self._take(scope, event)

    async def _list_first(self, scope: str | None) -> None:
        """Take in those that go before the others, once the watch is on its way: none is between the two."""
        pages = self._api.pages(self._resource, scope, labels=self._labels, fields=self._first, size=self._page_size)
        try:
            async for page in pages:
                for item in page.items:
                    key, version = _identity(item)
                    if self._is_news(key, version):
                        self._note(key)
                        self._keep(key, version, item)
                await asyncio.sleep(0)
        except InvalidError:
            _logger.info("%s cannot be selected by %s here", self._resource.plural, self._first)

    async def _list(self, scope: str | None, first: Page, others: AsyncIterator[Page]) -> None:
        seen: set[Key] = set()
        listed = int(first.resource_version)
        page: Page | None = first
        while page is not None:
            for place, item in enumerate(page.items, 1):
                key, version = _identity(item)
                seen.add(key)
                self._take_listed(key, version, item, listed)
                if place % _AT_A_TIME == 0:
                    await asyncio.sleep(0)
            page = await anext(others, None)
        self._remove_unlisted(scope, seen, listed)
        self._positions[scope] = max(listed, self._positions.get(scope, listed))
        self._listed.add(scope)
        if len(self._listed) == len(self._scopes):
            self.synced.set()

    def _take_listed(self, key: Key, version: int, item: JsonObject, listed: int) -> None:
        if self._was_written_after(key, listed):
            return
        entry = self._entries.get(key)
        # Not "older": a list is the truth, also after a restore of the database took versions back.
        if entry is None or entry.version != version:
            self._tombstones.pop(key, None)
            self._keep(key, version, item)

    def _remove_unlisted(self, scope: str | None, seen: set[Key], listed: int) -> None:
        gone = [
            key
            for key in self._entries
            if key not in seen and scope in (None, key.namespace) and not self._was_written_after(key, listed)
        ]
        for key in gone:
            self._remove(key, listed)

    def _was_written_after(self, key: Key, listed: int) -> bool:
        if key not in self._written.get(self._scope(key), ()):
            return False
        entry = self._entries.get(key)
        return entry is None or entry.version > listed

    def _take(self, scope: str | None, event: WatchEvent) -> str:
        version = _version(event.object)
        self._positions[scope] = max(version, self._positions.get(scope, version))
        if event.type != "BOOKMARK":
            key, _ = _identity(event.object)
            self._note(key)
            if event.type == "DELETED":
                entry = self._entries.get(key)
                if entry is None or entry.version <= version:
                    self._remove(key, version)
            elif self._is_news(key, version):
                self._keep(key, version, event.object)
        return str(version)

    def _scope(self, key: Key) -> str | None:
        return None if self._scopes == (None,) else key.namespace

    def _note(self, key: Key) -> None:
        if (written := self._written.get(self._scope(key))) is not None:
            written.add(key)

    def _is_news(self, key: Key, version: int) -> bool:
        entry = self._entries.get(key)
        held = self._tombstones.get(key, -1) if entry is None else entry.version
        return version > held

    def _keep(self, key: Key, version: int, content: JsonObject) -> None:
        try:
            value = self._project(content)
        except (ValueError, TypeError, LookupError, AttributeError):
            # One object that cannot be read must not make the operator blind to all others.
            _logger.exception("%s %s cannot be read", self._resource.plural, key)
            return
        self._tombstones.pop(key, None)
        self._entries[key] = _Entry(version, value)
        self._on_change(key, value)

    def _remove(self, key: Key, version: int) -> None:
        self._tombstones[key] = max(version, self._tombstones.get(key, version))
        self._tombstones.move_to_end(key)
        if len(self._tombstones) > _TOMBSTONES:
            self._tombstones.popitem(last=False)
        if self._entries.pop(key, None) is not None:
            self._on_change(key, None)


def _identity(content: JsonObject) -> tuple[Key, int]:
    metadata = cast(JsonObject, content["metadata"])
    # Interned, for namespaces are the same in thousands of keys.
    key = Key(sys.intern(str(metadata.get("namespace", ""))), sys.intern(str(metadata["name"])))
    return key, int(str(metadata["resourceVersion"]))


def _version(content: JsonObject) -> int:
    return int(str(cast(JsonObject, content["metadata"])["resourceVersion"]))
