"""The files of a bundle's directory: which names may be there, read only as they were promised, replaced at the end."""

from __future__ import annotations

import hashlib
import os
import re
import stat
from pathlib import Path

from presage.errors import LakeError

MANIFEST = "bundle.json"
SIZE_AT_MOST = 2**30
COPY_AGAIN = "It was damaged or changed; copy the bundle again from where it came, or run the job again."
_NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]*(/[A-Za-z0-9_][A-Za-z0-9_.-]*)*")


def sha256(content: bytes) -> str:
    """Return the SHA-256 of a content, as 64 hexadecimal digits."""
    return hashlib.sha256(content).hexdigest()


def check_name(name: str) -> None:
    """Raise LakeError for a path that may not be a bundle's file: one that leaves it, or is its manifest's."""
    if name == MANIFEST or not _NAME.fullmatch(name):
        raise LakeError(
            f"{name!r} may not stand in a bundle.",
            "Paths are relative, stay inside it, and are made of letters, digits, dots, dashes and underscores.",
        )


def check_size(size: int) -> None:
    """Raise LakeError for more bytes than a bundle may have."""
    if size > SIZE_AT_MOST:
        raise LakeError(
            f"a bundle of {size} bytes is larger than the {SIZE_AT_MOST} that are allowed.",
            "Fit fewer or smaller trees, or a shorter horizon.",
        )


def check_presence(directory: Path, *, expected: set[str], found: set[str]) -> None:
    """Raise LakeError where a file is missing or additional."""
    missing = sorted(expected - found)
    additional = sorted(found - expected)
    if missing:
        raise LakeError(f"the bundle {directory} lacks {missing[0]}, which its manifest names.", COPY_AGAIN)
    if additional:
        raise LakeError(
            f"the bundle {directory} holds {additional[0]}, which its manifest does not name.",
            "Remove that file, or copy the bundle again from where it came.",
        )


def check_replaceable(directory: Path) -> None:
    """Raise LakeError for a place that holds anything but a bundle."""
    if not os.path.lexists(directory) or (directory / MANIFEST).is_file():
        return
    if not directory.is_dir() or any(directory.iterdir()):
        raise LakeError(
            f"{directory} is no bundle and is not replaced by one.", "Name a new or empty directory, or a bundle's."
        )


def sizes_below(directory: Path) -> dict[str, int]:
    """Return the bytes of every file below a directory by its path.

    Raises:
        LakeError: Something there is no file: a link or a device.
        OSError: The directory cannot be read.
    """
    sizes = {}
    for folder, subfolders, files in os.walk(directory, onerror=_raise):
        for path in (Path(folder, name) for name in (*subfolders, *files)):
            status = path.lstat()
            if stat.S_ISREG(status.st_mode):
                sizes[path.relative_to(directory).as_posix()] = status.st_size
            elif not stat.S_ISDIR(status.st_mode):
                raise LakeError(
                    f"the bundle {directory} holds {path.relative_to(directory)}, which is a link or a device.",
                    "A bundle holds files only; copy it again with its links resolved.",
                )
    return sizes


def read_file(directory: Path, name: str, *, size: int, digest: str) -> bytes:
    """Return the content of a file; raises LakeError where it is not of this size and digest, OSError as usual."""
    content = (directory / name).read_bytes()
    if len(content) != size or sha256(content) != digest:
        raise LakeError(f"the content of {name} in the bundle {directory} is not what its manifest says.", COPY_AGAIN)
    return content


def write_file(path: Path, content: bytes) -> None:
    """Write a new file that outlives a power cut; raises OSError."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("xb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())


def replace_directory(directory: Path, staged: Path, *, aside: Path) -> None:
    """Put a directory in the place of another, which comes back where that fails; raises OSError."""
    if not os.path.lexists(directory):
        staged.rename(directory)
        return
    directory.rename(aside)
    try:
        staged.rename(directory)
    except BaseException:
        aside.rename(directory)
        raise


def _raise(error: OSError) -> None:
    raise error
