"""Documents behind HTTP: whole ones, got again when they have changed, or spans of rows, asked for one after the other.

A whole document is got again only where its ETag or Last-Modified has changed.

Where the address names {start}, each symbol is asked for from the last row on that came of it, and one period before,
because the last rows may have been unfinished. What did not come for 30 days is not waited for any longer.

Keys of the secret that the address does not name are headers. No shell sets a variable with a hyphen in its name, and
hardly a header has an underscore: the key `X_Api_Key` is sent as X-Api-Key, unless the job names it in `secretRef.key`.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from datetime import UTC, date, datetime, time, timedelta

from pydantic import BaseModel, ConfigDict, ValidationError

from presage.errors import DataError, JobError
from presage.sources.addresses import Address, Span, parse_address
from presage.sources.contract import NOTHING_BEFORE, Request, Table
from presage.sources.cutoff import cut_off
from presage.sources.documents import file_table, find, json_table, read_json
from presage.sources.download import Downloads, Tag, open_downloads, same_host
from presage.sources.formats import join
from presage.spec.base import parse_duration
from presage.spec.sources import HttpSource, Source

_MOST_PAGES = 10_000
_WAITED_FOR = timedelta(days=30)


class Bookmark(BaseModel):
    """Where a later read goes on.

    Attributes:
        tags: By symbol, the version of its document that is kept; an empty symbol stands for none.
        starts: By symbol, the moment to ask from.
    """

    model_config = ConfigDict(frozen=True)

    tags: Mapping[str, Tag] = {}
    starts: Mapping[str, datetime] = {}

    @classmethod
    def parse(cls, text: str) -> Bookmark:
        """Return what was left; nothing where this version did not write it, so that all is read again."""
        try:
            return cls.model_validate_json(text) if text else cls()
        except ValidationError:
            return cls()

    def __str__(self) -> str:
        return self.model_dump_json(exclude_defaults=True) if self.tags or self.starts else ""


def read(source: Source, request: Request) -> Iterator[Table]:
    """Get the document, each symbol's or each span's, a table each; see the contract.

    Raises:
        DataError: There is no such document, it is refused, or cannot be read as declared.
        JobError: The address or the secret cannot be used.
        MissingExtraError: The `http` extra is not installed.
        SourceUnavailableError: The server does not answer.
    """
    options = source.http
    if options is None:
        raise ValueError(f"source {source.name!r} is not behind HTTP")
    if options.next is not None and options.records is None:
        raise JobError(f"source {source.name!r}: `http.next` is for JSON.", "Say in `records` where its rows are.")
    values = {} if options.secret_ref is None else request.secret(options.secret_ref)
    address = parse_address(source, options, values)
    kept = Bookmark() if request.start is not None else Bookmark.parse(request.bookmark)
    with open_downloads(source.name, address.headers, request.sleep) as downloads:
        server = _Server(source, options, address, downloads)
        yield from (_spans if address.starts else _documents)(server, request, kept)


@dataclass(frozen=True)
class _Got:
    """The rows of one request and its further pages; `tag` is empty where there are pages, which have their own."""

    table: Table
    tag: Tag


@dataclass(frozen=True)
class _Server:
    source: Source
    options: HttpSource
    address: Address
    downloads: Downloads

    @property
    def symbols(self) -> tuple[str | None, ...]:
        return self.options.symbols or (None,)

    def get(self, span: Span, symbol: str | None, tag: Tag | None = None) -> _Got | None:
        """Return the rows of a span and a symbol; None where the document is still of that version."""
        url = self.address.fill(span, symbol)
        shown = self.address.shown(span, symbol)
        seen = {url}
        tables: list[Table] = []
        while True:
            number = len(tables) + 1
            name = shown if number == 1 else f"{shown}, page {number}"
            place = f"source {self.source.name!r}, {name}"
            answer = self.downloads.get(url, place, tag if number == 1 else None)
            if answer is None:
                return None
            if self.options.records is None:
                tables.append(file_table(answer, name, self.source, self.options, symbol))
                return _Got(tables[0], answer.tag)
            document = read_json(answer, place)
            tables.append(json_table(document, name, self.source, self.options, symbol))
            following = None if self.options.next is None else find(document, self.options.next, place)
            if not following:
                return _Got(self._joined(tables), answer.tag if number == 1 else Tag())
            if not isinstance(following, str):
                raise DataError(f"{place}: the next page's address is no text.", "Correct `next`.")
            url = same_host(answer.url, following, f"{place}: the next page")
            if url in seen:
                raise DataError(f"{place}: the next page is one that was read already.", "Ask the server's operator.")
            if number == _MOST_PAGES:
                raise DataError(f"{place}: more than {_MOST_PAGES} pages.", "Ask for less at once by `span`.")
            seen.add(url)

    def _joined(self, pages: list[Table]) -> Table:
        filled = [page for page in pages if not page.data.is_empty()]
        return join(filled, self.source) if filled else pages[0]


def _documents(server: _Server, request: Request, kept: Bookmark) -> Iterator[Table]:
    tags = dict(kept.tags)
    everything = Span(request.start or NOTHING_BEFORE, request.end)
    for symbol in server.symbols:
        key = symbol or ""
        known = tags.get(key)
        got = server.get(everything, symbol, known if known and known.headers() else None)
        if got is None:
            continue
        cut = cut_off(got.table, server.source, request)
        tags.pop(key, None)
        # A document of which rows were left out, or whose address moves with time, has to be got again.
        if got.tag.headers() and not cut.left_out and not server.address.ends:
            tags[key] = got.tag
        if not cut.table.data.is_empty():
            yield replace(cut.table, bookmark=str(Bookmark(tags=tags)))


def _spans(server: _Server, request: Request, kept: Bookmark) -> Iterator[Table]:
    since = server.options.since
    first = NOTHING_BEFORE if since is None else datetime.combine(date.fromisoformat(since), time(), UTC)
    asked_from = {symbol: request.start or kept.starts.get(symbol or "", first) for symbol in server.symbols}
    starts = dict(kept.starts)
    for span in _split(Span(min(asked_from.values()), request.end), server.options):
        # A table's bookmark tells of itself only once all of its span is done, so one is held back.
        held: Table | None = None
        before = str(Bookmark(starts=starts))
        for symbol in server.symbols:
            if asked_from[symbol] >= span.end:
                continue
            got = server.get(Span(max(span.start, asked_from[symbol]), span.end), symbol)
            cut = None if got is None else cut_off(got.table, server.source, request)
            newest = None if cut is None else cut.newest
            starts[symbol or ""] = _go_on(starts.get(symbol or ""), newest, span, server.source, request)
            if cut is not None and not cut.table.data.is_empty():
                if held is not None:
                    yield replace(held, bookmark=before)
                held = cut.table
        if held is not None:
            yield replace(held, bookmark=str(Bookmark(starts=starts)))


def _go_on(before: datetime | None, newest: datetime | None, span: Span, source: Source, request: Request) -> datetime:
    """Return the moment from which a later read asks for a symbol; it never goes back."""
    if newest is not None:
        moment = newest - request.period(source).approximate
    else:
        moment = min(span.end, request.end - _WAITED_FOR)
    return moment if before is None else max(before, moment)


def _split(whole: Span, options: HttpSource) -> Iterator[Span]:
    if options.span is None:
        yield whole
        return
    length = parse_duration(options.span)
    start = whole.start
    while start < whole.end:
        end = min(start + length, whole.end)
        yield Span(start, end)
        start = end
