"""Files that are seen whole or not at all, and refusals of the operating system as errors that a user can read."""

from __future__ import annotations

import errno
import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from presage.errors import JobError, StorageError

_NO_ROOM = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG})
_NO_PERMISSION = frozenset({errno.EACCES, errno.EPERM, errno.EROFS})
_NO_PLACE = frozenset({errno.ENOTDIR, errno.EEXIST, errno.EISDIR, errno.ENOTEMPTY, errno.ENAMETOOLONG, errno.ELOOP})


@contextmanager
def storage_faults(place: Path, option: str = "") -> Iterator[None]:
    """Turn the operating system's refusals to write into errors that name the place.

    Args:
        place: What is written to.
        option: The option that names the place, such as `--workdir`, if any.

    Raises:
        JobError: No file or directory can be there: a file is in the way of a directory, or the reverse.
        StorageError: There is no room or no permission, or the disk fails.
    """
    try:
        yield
    except OSError as error:
        what = f"cannot write to {place}: {error.strerror or error}."
        another = f"give another {option}" if option else "name another place"
        if error.errno in _NO_PLACE:
            raise JobError(what, f"{another.capitalize()}; what was there before is unchanged.") from error
        remedy = another.capitalize()
        if error.errno in _NO_ROOM:
            remedy = f"Free some space or {another}"
        elif error.errno in _NO_PERMISSION:
            remedy = f"Grant permission to write there or {another}"
        raise StorageError(what, f"{remedy}; what was there before is unchanged.") from error


def write_atomically(path: Path, content: str | bytes, *, option: str = "") -> None:
    """Write a file that is there whole or not at all, also after a power cut; its folders are made.

    A device or a pipe is written to as it is.

    Args:
        path: The file; one that is there is replaced at the very end.
        content: Bytes, or text that is written as UTF-8 as it is.
        option: The option that names the file, if any.

    Raises:
        JobError: No file can be there.
        StorageError: The place cannot be written to.
    """
    data = content.encode() if isinstance(content, str) else content
    with storage_faults(path, option):
        if path.exists() and not (path.is_file() or path.is_dir()):
            path.write_bytes(data)
            return
        path.parent.mkdir(parents=True, exist_ok=True)
        descriptor, name = tempfile.mkstemp(prefix=f".{path.name}-", dir=path.parent)
        draft = Path(name)
        try:
            with os.fdopen(descriptor, "wb") as file:
                file.write(data)
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
