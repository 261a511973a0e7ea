"""The bundle: a fitted forecaster as a directory that a server can trust.

<bundle>/bundle.json      the manifest: what was fitted, on what, and the digest of every other file and of itself
<bundle>/<files>          what the forecaster's `dump` gave
<bundle>/series/<n>/      in a bundle of a panel, the files that only the n-th series has; what all have alike is above

Version v3 is written. A v1 is of one series and a v2 of a panel: they say less of the frame, and are read as before.
"""

from __future__ import annotations

import os
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path

from presage.errors import LakeError, StorageError
from presage.files import sync_directory
from presage.models.bundle_files import (
    MANIFEST,
    SIZE_AT_MOST,
    check_name,
    check_presence,
    check_replaceable,
    check_size,
    read_file,
    replace_directory,
    sizes_below,
    write_file,
)
from presage.models.bundle_manifest import (
    VERSION,
    Bundle,
    BundleFile,
    BundleSeries,
    ConformalState,
    FittedTransform,
    FrameFeature,
    FrameSchema,
    parse,
    seal,
)

__all__ = [
    "MANIFEST",
    "SERIES_FOLDER",
    "SIZE_AT_MOST",
    "VERSION",
    "Bundle",
    "BundleFile",
    "BundleSeries",
    "ConformalState",
    "FittedTransform",
    "FrameFeature",
    "FrameSchema",
    "files_of_series",
    "read_bundle",
    "share_files",
    "write_bundle",
]

SERIES_FOLDER = "series"


def share_files(parts: Sequence[Mapping[str, bytes]]) -> dict[str, bytes]:
    """Return the files of each series' forecaster as those of one bundle; `files_of_series` takes them apart again.

    Args:
        parts: For each series what its forecaster's `dump` gave, at least one.
    """
    alike = {
        name: content for name, content in parts[0].items() if all(part.get(name) == content for part in parts[1:])
    }
    own = {
        f"{SERIES_FOLDER}/{place}/{name}": content
        for place, part in enumerate(parts)
        for name, content in part.items()
        if name not in alike
    }
    return alike | own


def files_of_series(files: Mapping[str, bytes], place: int) -> dict[str, bytes]:
    """Return the files of the forecaster of the series at this place of a panel."""
    folder = f"{SERIES_FOLDER}/{place}/"
    alike = {name: content for name, content in files.items() if not name.startswith(f"{SERIES_FOLDER}/")}
    return alike | {name.removeprefix(folder): files[name] for name in files if name.startswith(folder)}


def write_bundle(directory: Path, bundle: Bundle, files: Mapping[str, bytes]) -> Bundle:
    """Write a bundle whole or not at all; one that stands there is replaced at the very end.

    Args:
        directory: The bundle's directory; its parents are made.
        bundle: The manifest; what it says of files is replaced.
        files: Contents by path inside the bundle, as a forecaster's `dump` gives them.

    Returns:
        The manifest as written.

    Raises:
        LakeError: A path may not stand in a bundle, the files are larger than 1 GiB, or what stands there is no bundle.
        StorageError: The directory cannot be written to.
    """
    for name in files:
        check_name(name)
    for learnt in bundle.transforms:
        if learnt.file not in files:
            raise LakeError(f"the bundle lacks {learnt.file}, which its transforms name.", "Write that file too.")
    check_size(sum(len(content) for content in files.values()))
    check_replaceable(directory)
    written, manifest = seal(bundle, files)
    try:
        directory.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(prefix=f".{directory.name}.", dir=directory.parent) as beside:
            staged = Path(beside, "new")
            staged.mkdir()
            for name, content in files.items():
                write_file(staged / name, content)
            write_file(staged / MANIFEST, manifest)
            for folder, _, _ in os.walk(staged):
                sync_directory(Path(folder))
            replace_directory(directory, staged, aside=Path(beside, "old"))
            sync_directory(directory.parent)
    except OSError as error:
        raise StorageError(
            f"the bundle {directory} cannot be written: {error.strerror or error}.",
            "Free some space or choose a directory that can be written to; what stood there is unharmed.",
        ) from error
    return written


def read_bundle(directory: Path) -> tuple[Bundle, dict[str, bytes]]:
    """Return a bundle's manifest and its files by path, each as the manifest says.

    Raises:
        LakeError: There is no bundle, a newer version of Presage wrote it, it is larger than 1 GiB, the manifest is not
            what its own digest says, a file is missing, additional, changed, or none (a link, a device), or a path
            leaves the bundle.
    """
    try:
        sizes = sizes_below(directory)
        if MANIFEST not in sizes:
            raise LakeError(f"{directory} holds no bundle: {MANIFEST} is missing.", "Name the directory of a bundle.")
        check_size(sum(sizes.values()))
        bundle = parse(directory / MANIFEST)
        for name in bundle.files:
            check_name(name)
        check_presence(directory, expected={MANIFEST, *bundle.files}, found=set(sizes))
        return bundle, {
            name: read_file(directory, name, size=entry.size, digest=entry.sha256)
            for name, entry in bundle.files.items()
        }
    except OSError as error:
        raise LakeError(
            f"the bundle {directory} cannot be read: {error.strerror or error}.",
            "Check that the directory is there and may be read.",
        ) from error
