"""Run manifests: what a run read and found, and the commit of all its tables at once.

Each table commits by itself; a run's tables belong together from the moment its manifest stands in its directory. A
version of a table that no manifest names is not part of any run.
"""

from __future__ import annotations

from datetime import UTC
from pathlib import Path
from typing import Literal

from pydantic import AwareDatetime, BaseModel, ConfigDict, ValidationError

from presage.errors import LakeError
from presage.files import write_atomically
from presage.lake.tables import TableVersion

MANIFEST = "manifest.json"
_READ = ("v1", "v2")


class PinnedIncumbent(BaseModel):
    """The served model whose losses a run's candidates were compared with."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)

    run: str
    """Run that promoted it."""
    procedure: str
    """Digest of the procedure that it is of."""
    model: str
    """Its name among that procedure's contenders."""
    trials: TableVersion
    """Where its losses are."""


class RunManifest(BaseModel):
    """What pins a run: the same spec, data, seed and lock give the same scorecard.

    A manifest of version v1 has none of the fields whose default says so.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)

    version: Literal["v1", "v2"] = "v2"
    run: str
    """Run id, unique in its job."""
    job: str
    """Name of the job."""
    namespace: str
    """Namespace of the job."""
    spec_digest: str
    """Digest of the job's spec."""
    procedure_digest: str
    """Digest of the part of the spec that the gate judges."""
    tables: dict[str, TableVersion]
    """The versions that the run used or wrote, by the run's own name for each, such as the source's."""
    seed: int
    """Seed of everything random."""
    lock_digest: str
    """Digest of the software that the run ran on."""
    created_at: AwareDatetime
    """When the run began, UTC."""
    scorecard_digest: str | None = None
    """Digest of what the run found; None for a run without a scorecard."""
    inputs: str | None = None
    """Digest of spec, seed, data and lock; None in v1."""
    lock: dict[str, str] = {}
    """The versions behind the lock's digest, by name; empty in v1."""
    cpu: str | None = None
    """Kind of the machine's processor: the same bytes are promised on one kind only; None in v1."""
    tried: TableVersion | None = None
    """The trials that the verdict counted beside this run's; None where there were none, and in v1."""
    incumbent: PinnedIncumbent | None = None
    """What the candidates were compared with beside the baselines; None where no promoted model served, and in v1."""
    replaced: tuple[str, ...] = ()
    """Names of the sources that were read from another place than the job says."""

    @property
    def pinned(self) -> tuple[TableVersion, ...]:
        """Every version of a table that the run is made of: what is kept as long as the run is."""
        before = () if self.incumbent is None else (self.incumbent.trials,)
        tried = () if self.tried is None else (self.tried,)
        return (*self.tables.values(), *tried, *before)


class _Versioned(BaseModel):
    """The part of a manifest that every version has."""

    version: str


def save_manifest(directory: Path, manifest: RunManifest) -> Path:
    """Write a manifest into its run's directory; it is there whole or not at all, also after a power cut.

    Args:
        directory: The run's directory; it is made where it is missing. A manifest that it holds is replaced.
        manifest: What to write.

    Returns:
        Path of the file, `manifest.json`.

    Raises:
        StorageError: The disk is full, read-only or closed to this user.
    """
    path = directory / MANIFEST
    write_atomically(path, manifest.model_dump_json(indent=2) + "\n")
    return path


def load_manifest(path: Path) -> RunManifest:
    """Read a manifest.

    Raises:
        LakeError: There is none, it is damaged, or a newer Presage wrote it.
    """
    try:
        text = path.read_bytes()
        version = _Versioned.model_validate_json(text).version
        manifest = RunManifest.model_validate_json(text) if version in _READ else None
    except (OSError, ValidationError) as error:
        raise LakeError(
            f"The run manifest {path} cannot be read: {_fault(error)}.",
            "Restore it from a copy, or delete the run's directory and run the job again.",
        ) from error
    if manifest is None:
        raise LakeError(
            f"The run manifest {path} has the version {version!r}, and this Presage reads {' and '.join(_READ)}.",
            "Use the Presage that wrote it, or a newer one.",
        )
    return manifest.model_copy(update={"created_at": manifest.created_at.astimezone(UTC)})


def find_manifests(directory: Path) -> tuple[Path, ...]:
    """Return the paths of all manifests below a directory, sorted; hidden directories hold drafts and do not count."""
    found = directory.glob(f"**/{MANIFEST}")
    return tuple(
        sorted(path for path in found if not any(part.startswith(".") for part in path.relative_to(directory).parts))
    )


def list_manifests(directory: Path) -> tuple[RunManifest, ...]:
    """Return all manifests below a directory, the newest first; none where there is no directory.

    Raises:
        LakeError: One of them cannot be read.
    """
    manifests = (load_manifest(path) for path in find_manifests(directory))
    return tuple(sorted(manifests, key=lambda manifest: (manifest.created_at, manifest.run), reverse=True))


def _fault(error: OSError | ValidationError) -> str:
    if isinstance(error, OSError):
        return error.strerror or str(error)
    first = error.errors()[0]
    return f"{'.'.join(str(part) for part in first['loc']) or 'the file'}: {first['msg']}"
