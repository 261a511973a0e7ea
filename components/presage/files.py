"""Files that are seen whole or not at all, and refusals of the operating system as errors that a user can read."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from presage.errors import StorageError


@contextmanager
def storage_faults(place: Path) -> Iterator[None]:
    """Turn the operating system's refusals to write into a StorageError that names the place."""
    try:
        yield
    except OSError as error:
        raise StorageError(
            f"cannot write to {place}: {error.strerror or error}.",
            "Free some space or name another place; what was there before is unchanged.",
        ) from error


def write_atomically(path: Path, content: str) -> None:
    """Write a text file that is there whole or not at all, also after a power cut; its folders are made.

    Args:
        path: The file; one that is there is replaced at the very end.
        content: Text, written as UTF-8 as it is.

    Raises:
        StorageError: The place cannot be written to.
    """
    with storage_faults(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        descriptor, name = tempfile.mkstemp(prefix=f".{path.name}-", dir=path.parent)
        draft = Path(name)
        try:
            with os.fdopen(descriptor, "w", encoding="utf-8", newline="\n") as file:
                file.write(content)
                file.flush()
                os.fsync(file.fileno())
            draft.chmod(0o644)
            draft.replace(path)
            sync_directory(path.parent)
        finally:
            draft.unlink(missing_ok=True)


def sync_directory(directory: Path) -> None:
    """Make a directory's entries outlive a power cut; raises OSError."""
    descriptor = os.open(directory, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
