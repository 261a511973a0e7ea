"""Which places a job may read from and write to: decided by their text alone, before anything is opened.

A name that resolves to a forbidden address, or an answer that redirects to one, shows only when it is used: a network
policy is the guard there.
"""

from __future__ import annotations

import posixpath
import re
from collections.abc import Iterator
from fnmatch import fnmatchcase
from ipaddress import IPv4Address, IPv6Address, IPv6Network, ip_address
from urllib.parse import unquote

from presage.errors import Problem
from presage.spec.job import PredictionJob
from presage.spec.places import Place, spelled
from presage.spec.sources import Source
from presage.spec.words import show
from presage_operator.desired.job_file import PATH as JOB_DIRECTORY
from presage_operator.settings import AllowedSources, Settings

_FORBIDDEN_NAMES = ("localhost", "ip6-localhost", "ip6-loopback", "metadata", "instance-data")
_FORBIDDEN_SUFFIXES = (
    ".localhost",
    ".localdomain",
    "metadata.google.internal",
    "metadata.goog",
    "instance-data.ec2.internal",
)
# What clouds answer as their machines' metadata and credentials, beside the link-local addresses.
_METADATA_ADDRESSES = frozenset(
    {IPv6Address("fd00:ec2::254"), IPv4Address("100.100.100.200"), IPv4Address("168.63.129.16")}
)
_TRANSLATED = IPv6Network("64:ff9b::/96")

_SCHEME = re.compile(r"([A-Za-z][A-Za-z0-9+.-]*)://")
_FILE = re.compile(r"file://(localhost)?(?=/)", re.IGNORECASE)
_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f]")
_HOST = re.compile(r"[a-z0-9_]([a-z0-9_-]*[a-z0-9_])?(\.[a-z0-9_]([a-z0-9_-]*[a-z0-9_])?)*")
_NUMERIC_LABEL = re.compile(r"[0-9]+|0x[0-9a-f]*")
_BUCKET = re.compile(r"[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]")
_SERVER = re.compile(r"(\[(?P<six>[^\[\]]*)\]|(?P<name>[^:\[\]]+))(:[0-9]{1,5})?")

_WEB = frozenset({"http", "https"})
_EMBEDDED = frozenset({"sqlite", "chdb"})
# Other options of a driver can name another host, a socket or a file of its own.
_HARMLESS_OPTIONS = frozenset({"application_name", "charset", "connect_timeout", "sslmode"})


def refused_places(job: PredictionJob, settings: Settings) -> tuple[Problem, ...]:
    """Return every place of a job that this platform does not allow, with what it allows; nothing where all are.

    Data sets come inside a package and are always allowed. Files are allowed below the data volumes, to read.
    """
    places = _Places(settings)
    found = [
        *(fault for number, source in enumerate(job.spec.sources) for fault in places.source(number, source)),
        *places.sinks(job),
        *places.engine(job),
    ]
    return tuple(Problem(spelled(place), _shown(text), allowed) for place, text, allowed in found)


_Refusal = tuple[Place, str, str]


class _Places:
    def __init__(self, settings: Settings) -> None:
        self.allowed = settings.allowed
        self.mounts = tuple(posixpath.normpath(volume.mount_path) for volume in settings.data_volumes)

    def source(self, number: int, source: Source) -> Iterator[_Refusal]:
        place: Place = ("spec", "sources", number, source.kind)
        if source.file is not None:
            yield from self._told((*place, "uri"), source.file.uri, _file_fault(source.file.uri, self.mounts))
        elif source.s3 is not None:
            yield from self._store((*place,), source.s3.uri, source.s3.endpoint, source.s3.region)
        elif source.exchange is not None:
            if source.exchange.uri is not None:
                yield from self._address((*place, "uri"), source.exchange.uri)
            # Only the library knows an exchange's own hosts.
            elif "*" not in self.allowed.hosts or "https" not in _schemes(self.allowed):
                yield (*place, "name"), source.exchange.name, "no exchange: its hosts are not listed one by one"
        elif source.http is not None:
            yield from self._address((*place, "url"), source.http.url)
        else:
            for kind in (source.sql, source.kafka, source.nats, source.clickhouse):
                if kind is not None:
                    yield from self._address((*place, "uri"), kind.uri)

    def sinks(self, job: PredictionJob) -> Iterator[_Refusal]:
        for number, sink in enumerate(job.spec.sinks):
            place: Place = ("spec", "sinks", number)
            if sink.sql is not None:
                yield from self._written((*place, "sql", "uri"), sink.sql.uri)
            if sink.files is not None:
                yield from self._written((*place, "files", "uri"), sink.files.uri)

    def engine(self, job: PredictionJob) -> Iterator[_Refusal]:
        if job.spec.engine.address is not None:
            yield from self._address(("spec", "engine", "address"), job.spec.engine.address)

    def _written(self, place: Place, uri: str) -> Iterator[_Refusal]:
        scheme = _scheme(uri)
        if scheme == "s3":
            yield from self._store(place[:-1], uri, None, None)
        elif scheme in {"", "file", *_EMBEDDED}:
            yield place, uri, "a server or a bucket: data volumes are only read"
        else:
            yield from self._address(place, uri)

    def _store(self, place: Place, uri: str, endpoint: str | None, region: str | None) -> Iterator[_Refusal]:
        yield from self._told((*place, "uri"), uri, _bucket_fault(uri, self.allowed))
        if endpoint is not None:
            fault = "" if _scheme(endpoint) in _WEB else "an http:// or https:// address"
            yield from self._told((*place, "endpoint"), endpoint, fault or _uri_fault(endpoint, self.allowed))
        else:
            # A region is a part of the cloud's own host name.
            host = f"s3.{region or 'us-east-1'}.amazonaws.com"
            field = "uri" if region is None else "region"
            yield from self._told((*place, field), uri if region is None else region, _host_fault(host, self.allowed))

    def _address(self, place: Place, uri: str) -> Iterator[_Refusal]:
        if _scheme(uri) in _EMBEDDED:
            yield from self._told(place, uri, _embedded_fault(uri, self.allowed, self.mounts))
        else:
            yield from self._told(place, uri, _uri_fault(uri, self.allowed))

    @staticmethod
    def _told(place: Place, text: str, allowed: str) -> Iterator[_Refusal]:
        if allowed:
            yield place, text, allowed


def _uri_fault(uri: str, allowed: AllowedSources) -> str:
    """Return what may stand in the place of an address of servers; empty where it may stay."""
    scheme, rest = _scheme(uri), uri.partition("://")[2]
    if fault := _scheme_fault(scheme, allowed):
        return fault
    authority = re.split(r"[/?#]", rest, maxsplit=1)[0]
    if _CONTROL.search(uri) or not authority.isascii() or set(authority) & set(" \\%{}"):
        return "a plain host name or address"
    if "@" in authority:
        return "an address without credentials"
    for server in authority.split(","):
        matched = _SERVER.fullmatch(server)
        if matched is None:
            return "host, or host:port"
        host = matched["name"] if matched["six"] is None else f"[{matched['six']}]"
        if fault := _host_fault(host, allowed):
            return fault
    if scheme not in _WEB and not _options(rest) <= _HARMLESS_OPTIONS:
        return f"no options but {', '.join(sorted(_HARMLESS_OPTIONS))}"
    return ""


def _host_fault(host: str, allowed: AllowedSources) -> str:
    name = host.lower().rstrip(".")
    last = name.rpartition(".")[2]
    if name.startswith("[") or _NUMERIC_LABEL.fullmatch(last):
        address = _address_of(name)
        if address is None:
            return "a host name, or an address written in full"
        if _forbidden(address):
            return "no loopback, link-local or metadata address"
        name = str(address)
    elif not _HOST.fullmatch(name):
        return "a plain host name or address"
    elif name in _FORBIDDEN_NAMES or f".{name}".endswith(_FORBIDDEN_SUFFIXES):
        return "no loopback, link-local or metadata address"
    patterns = [pattern.lower().rstrip(".").strip("[]") for pattern in allowed.hosts]
    if not any(fnmatchcase(name, pattern) for pattern in patterns):
        return f"a host that matches {' or '.join(allowed.hosts) or 'nothing: no host is allowed'}"
    return ""


def _address_of(text: str) -> IPv4Address | IPv6Address | None:
    """Return the address that a C library would take a text for, such as 0x7f.1 for 127.0.0.1."""
    if text.startswith("["):
        try:
            address = ip_address(text[1:-1])
        except ValueError:
            return None
        return address if isinstance(address, IPv6Address) else None
    try:
        parts = [_number(part) for part in text.split(".")]
    except ValueError:
        return None
    *heads, tail = parts
    if len(parts) > 4 or any(head > 255 for head in heads) or tail >= 256 ** (4 - len(heads)):
        return None
    return IPv4Address(sum(head << (24 - 8 * place) for place, head in enumerate(heads)) + tail)


def _number(text: str) -> int:
    if text.startswith("0x"):
        return int(text[2:] or "0", 16)
    return int(text, 8 if text.startswith("0") and len(text) > 1 else 10)


def _forbidden(address: IPv4Address | IPv6Address) -> bool:
    if isinstance(address, IPv6Address):
        inner = [address.ipv4_mapped, address.sixtofour, *(address.teredo or ())]
        if address in _TRANSLATED or int(address) >> 32 == 0:
            inner.append(IPv4Address(int(address) & 0xFFFFFFFF))
        if any(each is not None and _forbidden(each) for each in inner):
            return True
    elif int(address) >> 24 == 0:
        return True
    return (
        address.is_loopback
        or address.is_link_local
        or address.is_unspecified
        or address.is_multicast
        or address in _METADATA_ADDRESSES
    )


def _bucket_fault(uri: str, allowed: AllowedSources) -> str:
    if _scheme(uri) != "s3":
        return "an s3:// location"
    if fault := _scheme_fault("s3", allowed):
        return fault
    return "" if _BUCKET.fullmatch(uri.partition("://")[2].partition("/")[0]) else "s3://, a bucket's name and a key"


def _embedded_fault(uri: str, allowed: AllowedSources, mounts: tuple[str, ...]) -> str:
    """Return what may stand in the place of a database that is a file or a directory."""
    scheme, rest = _scheme(uri), uri.partition("://")[2]
    if fault := _scheme_fault(scheme, allowed):
        return fault
    # Behind three slashes SQLite's path is relative, behind four absolute.
    path = rest.removeprefix("/") if scheme == "sqlite" else rest
    return "a path without options" if set(rest) & set("?#%") else _path_fault(path, mounts)


def _file_fault(uri: str, mounts: tuple[str, ...]) -> str:
    if matched := _FILE.match(uri):
        return _path_fault(unquote(uri[matched.end() :]), mounts)
    return _path_fault(uri, mounts) if not _scheme(uri) else "a path, or a file:// URI without a host"


def _path_fault(path: str, mounts: tuple[str, ...]) -> str:
    normal = posixpath.normpath(posixpath.join(JOB_DIRECTORY, path)).replace("//", "/")
    below = any(normal.startswith(f"{mount.rstrip('/')}/") for mount in mounts)
    if below and ".." not in path.split("/") and not _CONTROL.search(path):
        return ""
    return f"a file below {' or '.join(mounts)}" if mounts else "no file: the operator is given no data volumes"


def _scheme_fault(scheme: str, allowed: AllowedSources) -> str:
    if scheme in _schemes(allowed):
        return ""
    listed = ", ".join(f"{name}://" for name in allowed.schemes)
    return f"an address that starts with {listed}" if listed else "no address: no scheme is allowed"


def _schemes(allowed: AllowedSources) -> frozenset[str]:
    return frozenset(name.lower() for name in allowed.schemes) - {"file"}


def _scheme(uri: str) -> str:
    matched = _SCHEME.match(uri)
    return matched[1].lower() if matched else ""


def _options(rest: str) -> frozenset[str]:
    query = rest.partition("#")[0].partition("?")[2]
    return frozenset(option.partition("=")[0] for option in re.split("[&;]", query) if option)


def _shown(text: str) -> str:
    """Return a place as a status may show it: what could be a credential is left out."""
    place = text.partition("?")[0]
    return "an address with an @ in it" if "@" in place else show(place)
