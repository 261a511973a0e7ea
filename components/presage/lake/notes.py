"""What a commit says beside its rows: where a later read goes on, and the digests of the months that it wrote.

A note stands in the commit itself, so that neither is ever there without the other. Most notes tell of the months that
their commit changed; now and then one tells of all. Together they say what each month holds without reading it.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Literal

from deltalake import DeltaTable
from pydantic import BaseModel, ConfigDict, ValidationError

from presage.lake.content import MonthContent

NOTE = "presage"
COMPLETE_EVERY = 64
_SPARE = 8
"""Commits that others may add between opening a table and reading its history."""


class CommitNote(BaseModel):
    """A note as it stands in a commit."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)

    layout: Literal[1] = 1
    version: int
    """Version of the table that the commit makes."""
    bookmark: str = ""
    """Where a later read of the table's source goes on; empty where it begins anew."""
    complete: bool = False
    """Whether all months are told."""
    months: dict[str, MonthContent] = {}
    """What months hold after the commit, such as `2024-01`."""


@dataclass(frozen=True)
class Notes:
    """What is known of a table's newest version without reading its rows.

    Attributes:
        version: The version; -1 for a table that does not exist.
        bookmark: Where a later read of its source goes on; empty where it begins anew.
        months: What each month holds; None where the commits do not tell, as those of an earlier Presage.
        since: Commits since all months were told.
    """

    version: int
    bookmark: str = ""
    months: Mapping[str, MonthContent] | None = None
    since: int = COMPLETE_EVERY

    def with_months(self, months: Mapping[str, MonthContent]) -> Notes:
        """Return the notes of a table whose months were read; the next commit tells of all of them."""
        return replace(self, months=months, since=COMPLETE_EVERY)

    def after(self, bookmark: str | None, changed: Mapping[str, MonthContent] | None) -> Notes:
        """Return the notes after one more commit.

        Args:
            bookmark: Where a later read goes on; None for the same place as before.
            changed: The months that it changes; None for a table that is not kept by months.
        """
        months = None if changed is None else {**(self.months or {}), **changed}
        return Notes(
            version=self.version + 1,
            bookmark=self.bookmark if bookmark is None else bookmark,
            months=months,
            since=0 if self.since + 1 >= COMPLETE_EVERY else self.since + 1,
        )

    def text(self, changed: Iterable[str] = ()) -> str:
        """Return the note of the commit that makes this version, given the months that it changes."""
        months = self.months or {}
        complete = self.months is not None and self.since == 0
        told = months if complete else {name: months[name] for name in changed}
        note = CommitNote(version=self.version, bookmark=self.bookmark, complete=complete, months=dict(told))
        return note.model_dump_json(exclude_defaults=True)


def read_notes(snapshot: DeltaTable) -> Notes:
    """Return what the commits of a table's newest version and before tell."""
    version = snapshot.version()
    commits = snapshot.history(COMPLETE_EVERY + _SPARE)
    notes = {note.version: note for note in map(_parse, commits) if note is not None}
    if version not in notes:
        return Notes(version)
    months: dict[str, MonthContent] = {}
    for since in range(COMPLETE_EVERY + 1):
        note = notes.get(version - since)
        if note is None:
            break
        months = {**note.months, **months}
        if note.complete:
            return Notes(version, notes[version].bookmark, months, since)
    return Notes(version, notes[version].bookmark)


def _parse(commit: Mapping[str, object]) -> CommitNote | None:
    """Return the note of a commit; None where it has none that this Presage can read."""
    text = commit.get(NOTE)
    try:
        return CommitNote.model_validate_json(text) if isinstance(text, str) else None
    except ValidationError:
        return None
