"""Addresses with places for a span, a symbol and the keys of a secret."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from urllib.parse import quote
from zoneinfo import ZoneInfo

from presage.errors import JobError
from presage.sources.secrets import same_key, secret_value
from presage.spec.base import parse_duration
from presage.spec.sources import HttpSource, SecretRef, Source

_PLACEHOLDER = re.compile(r"\{([^{}]*)\}")
_SECRET = "secret:"  # noqa: S105  # what stands before a key's name
_SPAN = ("start", "start:iso", "start:s", "start:ms", "end", "end:iso", "end:s", "end:ms")
_WEB = re.compile(r"(?i)https?://[^/?#]+")
_HEADER_NAME = re.compile(r"[A-Za-z0-9!#$%&'*+.^_`|~-]+")
_OF_THE_REQUEST = frozenset(
    {
        *("host", "connection", "content-length", "transfer-encoding", "te", "trailer", "upgrade"),
        *("accept-encoding", "if-none-match", "if-modified-since", "range"),
    }
)
"""Headers that say how a request is sent and answered; in small letters."""


@dataclass(frozen=True)
class Span:
    """Time from a start (inclusive) to an end (exclusive), both UTC."""

    start: datetime
    end: datetime


@dataclass(frozen=True)
class Address:
    """An address whose places are filled for each request.

    Attributes:
        template: As the job has it.
        zone: IANA name of the zone whose dates `{start}` and `{end}` are.
        keys: By their names in the address, the secret's values.
        headers: Keys that the address does not name, to be sent as headers.
    """

    template: str
    zone: str
    keys: Mapping[str, str] = field(repr=False)
    headers: Mapping[str, str] = field(repr=False)

    @property
    def starts(self) -> bool:
        """Whether it asks for rows from a moment on."""
        return "{start" in self.template

    @property
    def ends(self) -> bool:
        """Whether it asks for rows up to a moment."""
        return "{end" in self.template

    def fill(self, span: Span, symbol: str | None) -> str:
        """Return the address to ask; it holds the secret's values."""
        secret = {_SECRET + key: quote(value, safe="") for key, value in self.keys.items()}
        return self._filled(self._values(span, symbol) | secret)

    def shown(self, span: Span, symbol: str | None) -> str:
        """Return the address as messages show it: the secret's keys stand there in place of their values."""
        return self._filled(self._values(span, symbol))

    def _filled(self, values: Mapping[str, str]) -> str:
        return _PLACEHOLDER.sub(lambda place: values.get(place[1], place[0]), self.template)

    def _values(self, span: Span, symbol: str | None) -> dict[str, str]:
        values = {} if symbol is None else {"symbol": quote(symbol, safe="")}
        for name, moment in (("start", span.start), ("end", span.end)):
            seconds = int(moment.timestamp())
            values[name] = moment.astimezone(ZoneInfo(self.zone)).date().isoformat()
            values[f"{name}:iso"] = f"{moment:%Y-%m-%dT%H:%M:%SZ}"
            values[f"{name}:s"] = str(seconds)
            values[f"{name}:ms"] = str(seconds * 1000)
        return values


def parse_address(source: Source, options: HttpSource, values: Mapping[str, str]) -> Address:
    """Return the address of a source.

    Args:
        source: The source, for its name and zone.
        options: Its address, symbols, span and secret.
        values: Keys and values of its secret; empty where it has none.

    Raises:
        JobError: It is no web address, has credentials in it or places that nothing fills, lacks a place that other
            fields ask for, or the secret lacks a key or cannot be sent.
    """
    place = f"source {source.name!r}, http.url"
    server = _WEB.match(options.url)
    if server is None:
        raise JobError(f"{place}: this is no http:// or https:// address.", "Write the address whole.")
    if "@" in server[0]:
        raise JobError(f"{place}: the address holds credentials.", "Name a Secret for them in `secretRef`.")
    if "{" in server[0]:
        raise JobError(f"{place}: the host's name has a placeholder.", "Write the host as it is.")
    names = _PLACEHOLDER.findall(options.url)
    _require_places(place, names, options)
    keys = _keys_of(place, names, options.secret_ref, values)
    rest = {name: value for name, value in values.items() if not any(same_key(name, key) for key in keys)}
    headers = {} if options.secret_ref is None else _headers(rest, options.secret_ref)
    return Address(options.url, source.time_zone, keys, headers)


def _require_places(place: str, names: list[str], options: HttpSource) -> None:
    for name in names:
        if name not in (*_SPAN, "symbol") and not name.startswith(_SECRET):
            allowed = ", ".join(f"{{{each}}}" for each in (*_SPAN, "symbol", "secret:KEY"))
            raise JobError(f"{place}: nothing fills {{{name}}}.", f"Use {allowed}; write other braces as %7B and %7D.")
    if options.symbols and "symbol" not in names:
        raise JobError(f"{place}: it does not say where its symbols go.", "Write {symbol} there.")
    if "symbol" in names and not options.symbols:
        raise JobError(f"{place}: it names {{symbol}}, and there are none.", "List them in `symbols`.")
    sides = {name.partition(":")[0] for name in names}
    if options.span is not None and not {"start", "end"} <= sides:
        raise JobError(f"{place}: `span` needs {{start}} and {{end}} in the address.", "Write both, or no `span`.")
    if options.span is not None and not parse_duration(options.span):
        raise JobError(f"{place}: a `span` of no time never ends.", "Write a longer one, such as 30d.")


def _keys_of(place: str, names: list[str], secret: SecretRef | None, values: Mapping[str, str]) -> dict[str, str]:
    keys = [name.removeprefix(_SECRET) for name in names if name.startswith(_SECRET)]
    if not keys:
        return {}
    if secret is None:
        raise JobError(f"{place}: it names {{secret:{keys[0]}}} without a secret.", "Name the Secret in `secretRef`.")
    return {key: secret_value(values, secret, key).strip() for key in keys}


def _headers(values: Mapping[str, str], secret: SecretRef) -> dict[str, str]:
    """Return the headers to send: a key that the job names as it is named, of others `_` as the hyphen of headers."""
    headers: dict[str, str] = {}
    for key, value in values.items():
        name = key.replace("_", "-") if secret.key is None else key
        if name.lower() in _OF_THE_REQUEST:
            raise JobError(
                f"secret {secret.name!r}: its key {key!r} would be the header {name}, which each request sets itself.",
                "Leave it out of the secret, or name the one key to send in `secretRef.key`.",
            )
        if name.lower() in map(str.lower, headers):
            raise JobError(f"secret {secret.name!r}: two of its keys are the header {name}.", "Leave one of them out.")
        # A secret that comes from a file often ends in a line break.
        bare = value.strip()
        if not _HEADER_NAME.fullmatch(name) or not bare.isascii() or not bare.isprintable():
            raise JobError(
                f"secret {secret.name!r}: its key {key!r} cannot be sent as a header.",
                "Name it in the address as {secret:KEY}, or one key in `secretRef.key`.",
            )
        headers[name] = bare
    return headers
