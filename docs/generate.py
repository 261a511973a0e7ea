"""Writes docs/licences.md: `python docs/generate.py [--check]`.

Which packages an extra brings, uv.lock says; under which licence, the metadata of the installed packages say, and
BY_HAND for those that do not. With `--check` nothing is written, and a page that differs is named; the exit code is
then 1, as it is where a licence is not allowed.
"""  # noqa: INP001 - a script

from __future__ import annotations

import argparse
import re
import sys
import tomllib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path

ROOT = Path(__file__).parents[1]
PAGE = Path("docs/licences.md")
PROJECT = "presage"
BASE = "(base)"

PERMISSIVE = frozenset(
    {
        "0BSD",
        "Apache-2.0",
        "BSD",  # the metadata do not say with how many clauses
        "BSD-2-Clause",
        "BSD-3-Clause",
        "CC0-1.0",
        "ISC",
        "MIT",
        "MIT-0",
        "MIT-CMU",
        "NCSA",
        "PSF-2.0",
        "ZPL-2.1",
        "Zlib",
    }
)
WEAK_COPYLEFT = frozenset({"LGPL-3.0-only", "MPL-2.0"})
ALLOWED = PERMISSIVE | WEAK_COPYLEFT

_SPDX = {
    "2-clause bsd": "BSD-2-Clause",
    "3-clause bsd license": "BSD-3-Clause",
    "apache 2": "Apache-2.0",
    "apache 2.0": "Apache-2.0",
    "apache license 2.0": "Apache-2.0",
    "apache license version 2.0": "Apache-2.0",
    "apache license, version 2.0": "Apache-2.0",
    "apache software license": "Apache-2.0",
    "apache software license 2.0": "Apache-2.0",
    "bsd 3-clause license": "BSD-3-Clause",
    "bsd license": "BSD",
    "http://www.apache.org/licenses/license-2.0": "Apache-2.0",
    "https://www.apache.org/licenses/license-2.0": "Apache-2.0",
    "isc license": "ISC",
    "isc license (iscl)": "ISC",
    "mit license": "MIT",
    "mozilla public license 2.0 (mpl 2.0)": "MPL-2.0",
    "python software foundation license": "PSF-2.0",
}
_WORD = re.compile(r"[A-Za-z0-9][A-Za-z0-9.+-]*")
_OPERATORS = frozenset({"AND", "OR", "WITH"})


@dataclass(frozen=True)
class Known:
    """A licence that a person looked up, because the metadata here do not tell it.

    Attributes:
        version: The version that was looked at; another one must be looked at again.
        licence: As an SPDX expression.
        why: Why it stands here.
    """

    version: str
    licence: str
    why: str


_ELSEWHERE = "of the extra featurestore, which no job can use yet and the tests do not install"
_WINDOWS = "installed on Windows alone"
BY_HAND: Mapping[str, Known] = {
    "bigtree": Known("1.5.3", "MIT", _ELSEWHERE),
    "colorama": Known("0.4.6", "BSD-3-Clause", _WINDOWS),
    "dill": Known("0.4.1", "BSD-3-Clause", _ELSEWHERE),
    "feast": Known("0.67.0", "Apache-2.0", _ELSEWHERE),
    "huey": Known("3.5.4", "MIT", "its metadata name no licence; the file LICENSE is the MIT licence"),
    "mmh3": Known("5.3.1", "MIT", _ELSEWHERE),
    "python-dateutil": Known("2.9.0.post0", "Apache-2.0 OR BSD-3-Clause", "its metadata say `Dual License`"),
    "pywin32": Known("312", "PSF-2.0", _WINDOWS),
    "skops": Known("0.16.0", "MIT", "its metadata say only that OSI approved it; the file LICENSE is the MIT licence"),
    "tenacity": Known("8.5.0", "Apache-2.0", _ELSEWHERE),
    "toml": Known("0.10.2", "MIT", _ELSEWHERE),
    "typeguard": Known("4.6.0", "MIT", _ELSEWHERE),
    "types-greenlet": Known("3.5.0.20260518", "Apache-2.0", _ELSEWHERE),
    "uvicorn-worker": Known("0.4.0", "BSD-3-Clause", _ELSEWHERE),
    "waitress": Known("3.0.2", "ZPL-2.1", _WINDOWS),
}


@dataclass(frozen=True)
class Dependency:
    """A package that an installation may hold.

    Attributes:
        name: Its name in the index.
        versions: Its versions in the lock; of some there are several, for different versions of Python.
        licence: Of the one that is installed, as an SPDX expression, or as its metadata say it.
        extras: The extras that bring it, sorted; `(base)` where every installation has it.
    """

    name: str
    versions: tuple[str, ...]
    licence: str
    extras: tuple[str, ...]


@dataclass(frozen=True)
class _Locked:
    """A package in uv.lock: its versions, of different versions of Python, and what it needs by extra."""

    versions: frozenset[str]
    needs: Mapping[str, frozenset[tuple[str, str]]]


def read_lock(text: str) -> Mapping[str, _Locked]:
    """Return the packages of a uv.lock by name; what a package needs, by its extra, with "" for none."""
    versions: dict[str, set[str]] = {}
    needs: dict[str, dict[str, set[tuple[str, str]]]] = {}
    for package in tomllib.loads(text)["package"]:
        name = package["name"]
        versions.setdefault(name, set()).add(package["version"])
        groups = {"": package.get("dependencies", []), **package.get("optional-dependencies", {})}
        for extra, wanted in groups.items():
            found = needs.setdefault(name, {}).setdefault(extra, set())
            for one in wanted:
                found.update((one["name"], inner) for inner in ("", *one.get("extra", ())))
    return {
        name: _Locked(frozenset(held), {extra: frozenset(found) for extra, found in needs[name].items()})
        for name, held in versions.items()
    }


def brought(locked: Mapping[str, _Locked], extra: str) -> frozenset[str]:
    """Return the names of all packages that an extra of the project brings, "" for those of the base alone."""
    seen: set[tuple[str, str]] = set()
    ahead = list(locked[PROJECT].needs[extra])
    while ahead:
        wanted = ahead.pop()
        if wanted in seen:
            continue
        seen.add(wanted)
        name, inner = wanted
        ahead += locked[name].needs.get(inner, ())
    return frozenset(name for name, _ in seen)


def stated_licence(found: metadata.PackageMetadata) -> str:
    """Return the licence that metadata state, as SPDX where its spelling is known; empty where they state none."""
    # Several classifiers may mean a choice or a sum: all are shown, and all must be allowed.
    classifiers = (one.rpartition(" :: ")[2] for one in found.get_all("Classifier") or () if one.startswith("License"))
    named = ", ".join(dict.fromkeys(_spdx(one) for one in classifiers if one != "OSI Approved"))
    return _line(found, "License-Expression") or _spdx(_line(found, "License")) or named


def _line(found: metadata.PackageMetadata, field: str) -> str:
    """Return a field of one line; empty where it is the whole text of a licence."""
    text = str((found.get_all(field) or [""])[0]).strip()
    return "" if "\n" in text else text


def _spdx(text: str) -> str:
    return _SPDX.get(text.lower(), text)


def names_of(licence: str) -> frozenset[str]:
    """Return the licences that an expression names, those of a choice too."""
    return frozenset(_WORD.findall(licence)) - _OPERATORS


def dependencies(lock: str) -> tuple[Dependency, ...]:
    """Return all packages that an installation of the project may hold, by name.

    Raises:
        ValueError: A package's licence is not stated, or another version is installed than the lock has.
    """
    locked = read_lock(lock)
    base = brought(locked, "")
    extras = {extra: brought(locked, extra) for extra in locked[PROJECT].needs if extra}
    found = []
    for name in sorted(base.union(*extras.values())):
        users = (BASE,) if name in base else tuple(sorted(extra for extra, names in extras.items() if name in names))
        versions = tuple(sorted(locked[name].versions))
        found.append(Dependency(name, versions, _licence(name, versions), users))
    return tuple(found)


def _licence(name: str, versions: Sequence[str]) -> str:
    known = BY_HAND.get(name)
    if known is not None:
        if known.version not in versions:
            raise ValueError(f"{name}: {known.version} was looked at, and uv.lock has another; look at its licence.")
        return known.licence
    try:
        found = metadata.metadata(name)
    except metadata.PackageNotFoundError:
        raise ValueError(f"{name} is not installed: run `make test` once, or write its licence into BY_HAND.") from None
    version = metadata.version(name)
    if version not in versions:
        raise ValueError(f"{name} {version} is installed, and uv.lock has another: run `make test` once.")
    licence = stated_licence(found)
    if not licence:
        raise ValueError(f"{name} {version}: its metadata state no known licence; look it up for BY_HAND.")
    return licence


def not_allowed(found: Iterable[Dependency]) -> tuple[Dependency, ...]:
    """Return the packages whose licence names one that is not allowed."""
    return tuple(one for one in found if not names_of(one.licence) <= ALLOWED)


def page(found: Sequence[Dependency]) -> str:
    """Return the page of all licences, in Markdown."""
    weak = [one for one in found if names_of(one.licence) & WEAK_COPYLEFT]
    names = {one.name for one in found}
    lines = [
        "# Licences",
        "",
        "Generated by `python docs/generate.py` from uv.lock and the metadata of the installed packages; do not edit.",
        "",
        f"Presage is under Apache-2.0. Below are its {len(found)} run-time dependencies, the extras that bring them,",
        "and what their own metadata state, `License-Expression` first, in the spelling of SPDX. A licence that is",
        "not allowed fails a test. `BSD` is one whose metadata do not say with how many clauses. A wheel can hold",
        "compiled libraries under licences of their own; they are in the wheel, and not looked at here. Servers that",
        "run beside Presage, such as MinIO, are [images of their own](supply-chain.md#images).",
        "",
        f"Allowed: {', '.join(sorted(PERMISSIVE))};",
        f"of weak copyleft: {', '.join(sorted(WEAK_COPYLEFT))}.",
        "",
        "## Of weak copyleft",
        "",
        *_table(("package", "licence", "extras"), ((one.name, one.licence, ", ".join(one.extras)) for one in weak)),
        "",
        "## Looked up by hand",
        "",
        *_table(
            ("package", "licence", "why"),
            ((name, known.licence, known.why) for name, known in BY_HAND.items() if name in names),
        ),
        "",
        "## All",
        "",
        *_table(
            ("package", "version", "licence", "extras"),
            ((one.name, ", ".join(one.versions), one.licence, ", ".join(one.extras)) for one in found),
        ),
    ]
    return "\n".join(lines) + "\n"


def _table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> Iterable[str]:
    yield f"| {' | '.join(head)} |"
    yield f"| {' | '.join('---' for _ in head)} |"
    yield from (f"| {' | '.join(row)} |" for row in rows)


def main(arguments: Sequence[str] | None = None) -> int:
    """Write the page, or with `--check` name it where it differs; return the exit code."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0] if __doc__ else None)
    parser.add_argument("--check", action="store_true", help="write nothing; fail where the page differs")
    check = parser.parse_args(arguments).check
    try:
        found = dependencies((ROOT / "uv.lock").read_text(encoding="utf-8"))
    except ValueError as error:
        sys.stderr.write(f"{error}\n")
        return 1
    refused = not_allowed(found)
    for one in refused:
        sys.stderr.write(f"{one.name}: {one.licence} is not among the allowed licences.\n")
    wanted = page(found)
    if check:
        current = (ROOT / PAGE).read_text(encoding="utf-8") if (ROOT / PAGE).is_file() else ""
        if current != wanted:
            sys.stderr.write(f"{PAGE} is not current: run `make generate`.\n")
        return int(bool(refused) or current != wanted)
    (ROOT / PAGE).write_text(wanted, encoding="utf-8")
    return int(bool(refused))


if __name__ == "__main__":
    sys.exit(main())
