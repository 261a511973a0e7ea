"""The bundle: a fitted forecaster as a directory that a server can trust.

<bundle>/bundle.json      the manifest: what was fitted, on what, and the digest of every other file
<bundle>/<files>          what the forecaster's `dump` gave
<bundle>/series/<n>/      in a bundle of a panel, the files that only the n-th series has; what all have alike is above

A bundle of one series has version v1, one of a panel v2.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import stat
import tempfile
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Literal

from pydantic import (
    AfterValidator,
    AwareDatetime,
    BaseModel,
    ConfigDict,
    Field,
    SerializerFunctionWrapHandler,
    ValidationError,
    model_serializer,
    model_validator,
)

from presage.errors import LakeError, StorageError
from presage.files import sync_directory
from presage.spec.job import TransformName
from presage.spec.models import ModelName, ParameterValue

MANIFEST = "bundle.json"
SERIES_FOLDER = "series"
VERSION: Literal["v1"] = "v1"
PANEL_VERSION: Literal["v2"] = "v2"
SIZE_AT_MOST = 2**30
_NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]*(/[A-Za-z0-9_][A-Za-z0-9_.-]*)*")
_COPY_AGAIN = "It was damaged or changed; copy the bundle again from where it came, or run the job again."


def _in_utc(time: datetime) -> datetime:
    try:
        return time.astimezone(UTC)
    except OverflowError as error:
        raise ValueError("a time is out of range") from error


Time = Annotated[AwareDatetime, AfterValidator(_in_utc)]


class _Part(BaseModel):
    model_config = ConfigDict(
        frozen=True, extra="forbid", strict=True, allow_inf_nan=False, use_attribute_docstrings=True
    )


class BundleFile(_Part):
    """A file of the bundle."""

    sha256: Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]
    size: Annotated[int, Field(ge=0)]
    """Bytes."""


class ConformalState(_Part):
    """What turns a forecast into quantiles: level = to_level(transform, origin's level, learnt change + offset)."""

    probabilities: tuple[Annotated[float, Field(gt=0, lt=1)], ...] = ()
    """Probabilities of the quantiles, ascending."""
    offsets: tuple[tuple[float, ...], ...] = ()
    """For each step ahead, the offset of each quantile, in the terms of the transform; empty where the intervals were
    not calibrated."""
    minimum: float | None = None
    """Level that no quantile falls below."""

    @model_validator(mode="after")
    def _offsets_fit_the_probabilities(self) -> ConformalState:
        if list(self.probabilities) != sorted(set(self.probabilities)):
            raise ValueError("probabilities must ascend")
        if any(len(step) != len(self.probabilities) for step in self.offsets):
            raise ValueError("every step needs one offset a probability")
        return self


class BundleSeries(_Part):
    """A series of a panel; its place among the others names its folder."""

    name: str
    """Name of the series."""
    conformal: ConformalState = ConformalState()
    """The intervals' state at the end of its history."""


class Bundle(_Part):
    """The manifest of a fitted forecaster."""

    version: Literal["v1", "v2"] = VERSION
    job: str
    """Name of the job."""
    namespace: str
    """Namespace of the job."""
    spec_digest: str
    """Digest of the job's spec."""
    model: ModelName
    """Forecaster."""
    parameters: dict[str, ParameterValue] = {}
    """The forecaster's own parameters."""
    features: tuple[str, ...] = ()
    """Names of the features, in the order that the forecaster reads them."""
    transform: TransformName
    """What was learnt."""
    horizon: Annotated[int, Field(ge=1)]
    """Steps ahead."""
    season: Annotated[int, Field(ge=1)]
    """Bars in a season."""
    frequency: str
    """Length of a bar, such as 1d."""
    train_start: Time
    """Start of the training window's first bar, UTC."""
    train_end: Time
    """Start of the training window's last bar, UTC."""
    conformal: ConformalState = ConformalState()
    """The intervals' state at the end of the training window; that of a panel's series is with them."""
    panel: tuple[BundleSeries, ...] = ()
    """The series of a panel; empty in a bundle of one series."""
    created_at: Time
    """When it was fitted, UTC."""
    files: dict[str, BundleFile] = {}
    """The other files, by path inside the bundle; `write_bundle` fills it in."""

    @model_validator(mode="after")
    def _parts_fit_together(self) -> Bundle:
        if self.conformal.offsets and len(self.conformal.offsets) != self.horizon:
            raise ValueError("conformal offsets must be there for every step ahead")
        if self.train_end < self.train_start:
            raise ValueError("train_end must not be before train_start")
        if (self.version == PANEL_VERSION) != bool(self.panel):
            raise ValueError(f"version {PANEL_VERSION} is that of a panel, and {VERSION} that of one series")
        if len({series.name for series in self.panel}) < len(self.panel):
            raise ValueError("no two series have the same name")
        offsets = [series.conformal.offsets for series in self.panel if series.conformal.offsets]
        if any(len(one) != self.horizon for one in offsets):
            raise ValueError("conformal offsets must be there for every step ahead")
        return self

    @model_serializer(mode="wrap")
    def _without_empty_panel(self, serialize: SerializerFunctionWrapHandler) -> dict[str, object]:
        content: dict[str, object] = serialize(self)
        return content if self.panel else {name: part for name, part in content.items() if name != "panel"}


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
        _check_name(name)
    _check_size(sum(len(content) for content in files.values()))
    _check_replaceable(directory)
    entries = {name: BundleFile(sha256=_digest(files[name]), size=len(files[name])) for name in sorted(files)}
    written = bundle.model_copy(update={"files": entries})
    try:
        directory.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(prefix=f".{directory.name}.", dir=directory.parent) as beside:
            staged = Path(beside, "new")
            staged.mkdir()
            for name, content in files.items():
                _write(staged / name, content)
            _write(staged / MANIFEST, (written.model_dump_json(indent=2) + "\n").encode())
            for folder, _, _ in os.walk(staged):
                sync_directory(Path(folder))
            _replace(directory, staged, aside=Path(beside, "old"))
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
        LakeError: There is no bundle, a newer version of Presage wrote it, it is larger than 1 GiB, a file is missing,
            additional, changed, or none (a link, a device), or a path leaves the bundle.
    """
    try:
        sizes = _sizes(directory)
        if MANIFEST not in sizes:
            raise LakeError(f"{directory} holds no bundle: {MANIFEST} is missing.", "Name the directory of a bundle.")
        _check_size(sum(sizes.values()))
        bundle = _parse(directory / MANIFEST)
        for name in bundle.files:
            _check_name(name)
        _check_presence(directory, expected={MANIFEST, *bundle.files}, found=set(sizes))
        return bundle, {name: _read(directory, name, entry) for name, entry in bundle.files.items()}
    except OSError as error:
        raise LakeError(
            f"the bundle {directory} cannot be read: {error.strerror or error}.",
            "Check that the directory is there and may be read.",
        ) from error


def _parse(manifest: Path) -> Bundle:
    content = manifest.read_bytes()
    try:
        version = json.loads(content).get("version")
    except (ValueError, AttributeError, RecursionError) as error:
        raise LakeError(f"{manifest} is no JSON object.", _COPY_AGAIN) from error
    if version not in (VERSION, PANEL_VERSION):
        raise LakeError(
            f"{manifest} has version {version!r}, and this Presage reads {VERSION!r} and {PANEL_VERSION!r}.",
            "Install the version of Presage that wrote it, or a later one.",
        )
    try:
        return Bundle.model_validate_json(content)
    except ValidationError as error:
        fault = error.errors()[0]
        field = ".".join(str(part) for part in fault["loc"])
        raise LakeError(f"{manifest}: {fault['msg']} at {field or 'the top'}.", _COPY_AGAIN) from error


def _sizes(directory: Path) -> dict[str, int]:
    """Return the bytes of every file below a directory by its path; raises LakeError for what is no file."""
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


def _raise(error: OSError) -> None:
    raise error


def _check_presence(directory: Path, *, expected: set[str], found: set[str]) -> None:
    missing = sorted(expected - found)
    additional = sorted(found - expected)
    if missing:
        raise LakeError(f"the bundle {directory} lacks {missing[0]}, which its manifest names.", _COPY_AGAIN)
    if additional:
        raise LakeError(
            f"the bundle {directory} holds {additional[0]}, which its manifest does not name.",
            "Remove that file, or copy the bundle again from where it came.",
        )


def _check_name(name: str) -> None:
    if name == MANIFEST or not _NAME.fullmatch(name):
        raise LakeError(
            f"{name!r} may not stand in a bundle.",
            "Paths are relative, stay inside it, and are made of letters, digits, dots, dashes and underscores.",
        )


def _check_replaceable(directory: Path) -> None:
    if not os.path.lexists(directory) or (directory / MANIFEST).is_file():
        return
    if not directory.is_dir() or any(directory.iterdir()):
        raise LakeError(
            f"{directory} is no bundle and is not replaced by one.", "Name a new or empty directory, or a bundle's."
        )


def _check_size(size: int) -> None:
    if size > SIZE_AT_MOST:
        raise LakeError(
            f"a bundle of {size} bytes is larger than the {SIZE_AT_MOST} that are allowed.",
            "Fit fewer or smaller trees, or a shorter horizon.",
        )


def _read(directory: Path, name: str, entry: BundleFile) -> bytes:
    content = (directory / name).read_bytes()
    if len(content) != entry.size or _digest(content) != entry.sha256:
        raise LakeError(f"the content of {name} in the bundle {directory} is not what its manifest says.", _COPY_AGAIN)
    return content


def _write(path: Path, content: bytes) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("xb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())


def _replace(directory: Path, staged: Path, *, aside: Path) -> None:
    if not os.path.lexists(directory):
        staged.rename(directory)
        return
    directory.rename(aside)
    try:
        staged.rename(directory)
    except BaseException:
        aside.rename(directory)
        raise


def _digest(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()
