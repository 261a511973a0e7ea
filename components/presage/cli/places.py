"""Places as words of a command: `NAME=PLACE`, or a place alone, whose name is its last part."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import Path

from presage.errors import JobError

_NAMED = re.compile(r"(?P<name>[A-Za-z0-9][A-Za-z0-9._-]*)=(?P<place>.+)")
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*")
_RESERVED = "files"


def named_places(words: Sequence[str]) -> Mapping[str, str]:
    """Return the places of a command's words by their names.

    Raises:
        JobError: A name is none, is given twice, or is `files`, which is for single files.
    """
    found: dict[str, str] = {}
    for word in words:
        named = _NAMED.fullmatch(word)
        place = named["place"] if named else word
        name = named["name"] if named else (place.rstrip("/").rpartition("/")[2] or "").lstrip(".")
        if not _NAME.fullmatch(name) or name == _RESERVED:
            raise JobError(f"{word!r} gives no name for its place in the backup.", f"Write NAME={place}.")
        if name in found:
            raise JobError(f"{found[name]} and {place} are both called {name!r}.", f"Write NAME={place}.")
        found[name] = place
    return found


def require_apart(places: Mapping[str, str], backups: str) -> None:
    """Raise JobError for a folder to be copied that is not there, or that backups are in."""
    for place in places.values():
        if "://" in place:
            outer, inner = place.rstrip("/") + "/", backups.rstrip("/") + "/"
            # Two stores may have buckets of one name, but such backups would be a riddle to who restores them.
            within = inner.startswith(outer)
        else:
            folder = Path(place).resolve()
            if not folder.is_dir():
                raise JobError(f"there is no folder {place}.", "Give the place of a lake, or s3://bucket/prefix.")
            within = "://" not in backups and Path(backups).resolve().is_relative_to(folder)
        if within:
            raise JobError(
                f"the backups in {backups} would be copied with {place}.", "Give --to a place outside of it."
            )
