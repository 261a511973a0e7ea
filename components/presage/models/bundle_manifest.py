"""The manifest of a bundle: what was fitted, on what, and what its files must be to be trusted."""

from __future__ import annotations

import json
from collections.abc import Mapping
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

from presage.errors import LakeError
from presage.models.bundle_files import COPY_AGAIN, sha256
from presage.spec.job import TransformName
from presage.spec.models import ModelName, ParameterValue

VERSION: Literal["v3"] = "v3"
_SERIES_VERSION: Literal["v1"] = "v1"
_PANEL_VERSION: Literal["v2"] = "v2"
_VERSIONS = (_SERIES_VERSION, _PANEL_VERSION, VERSION)
_SINCE_V3 = ("lock_digest", "seed", "frame", "transforms", "manifest_sha256")
_NO_DIGEST = "0" * 64
Sha256 = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]


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

    sha256: Sha256
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


class FrameFeature(_Part):
    """A column of the frame."""

    name: str
    """Its name."""
    dtype: Literal["float64"] = "float64"
    """What its values are; a missing one is NaN."""
    definition: str
    """The feature of the job that makes it, as the JSON text of one of `spec.features`."""


class FrameSchema(_Part):
    """The frame that the forecaster reads: a level an origin, and the features of that origin."""

    target: str
    """Source and column whose levels these are, such as sp500.range_volatility."""
    unit: str = ""
    """Unit of the target, empty where the job does not declare one."""
    series: tuple[str, ...] = ()
    """Names of the series, in their order; none where rows are predicted from themselves."""
    features: tuple[FrameFeature, ...] = ()
    """The features, in the order that the forecaster reads them."""


class FittedTransform(_Part):
    """What was learnt from the training window outside the model's own files."""

    file: str
    """File of the bundle that holds it."""
    kind: Literal["Categories"]
    """Categories: the frequent categories of text columns, each of which is a feature."""
    columns: Annotated[tuple[str, ...], Field(min_length=1)]
    """Columns that it was learnt from."""


class Bundle(_Part):
    """The manifest of a fitted forecaster."""

    version: Literal["v1", "v2", "v3"] = VERSION
    job: str
    """Name of the job."""
    namespace: str
    """Namespace of the job."""
    spec_digest: str
    """Digest of the job's spec."""
    lock_digest: str | None = None
    """Digest of the software that fitted it; since v3."""
    seed: Annotated[int, Field(ge=0)] | None = None
    """Seed of the fit; since v3."""
    model: ModelName
    """Forecaster."""
    parameters: dict[str, ParameterValue] = {}
    """The forecaster's own parameters."""
    features: tuple[str, ...] = ()
    """Names of the features, in the order that the forecaster reads them."""
    frame: FrameSchema | None = None
    """What the forecaster reads, and how it is made; since v3."""
    transforms: tuple[FittedTransform, ...] = ()
    """What was learnt beside the model, if anything; since v3."""
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
    manifest_sha256: Sha256 | None = None
    """Digest of the manifest's own bytes, with 64 zeros in the place of these digits; since v3, where `write_bundle`
    fills it in."""

    @model_validator(mode="after")
    def _parts_fit_together(self) -> Bundle:
        if self.conformal.offsets and len(self.conformal.offsets) != self.horizon:
            raise ValueError("conformal offsets must be there for every step ahead")
        if self.train_end < self.train_start:
            raise ValueError("train_end must not be before train_start")
        if self.version != VERSION and (self.version == _PANEL_VERSION) != bool(self.panel):
            raise ValueError(f"version {_PANEL_VERSION} is that of a panel, and {_SERIES_VERSION} that of one series")
        if len({series.name for series in self.panel}) < len(self.panel):
            raise ValueError("no two series have the same name")
        offsets = [series.conformal.offsets for series in self.panel if series.conformal.offsets]
        if any(len(one) != self.horizon for one in offsets):
            raise ValueError("conformal offsets must be there for every step ahead")
        return self

    @model_validator(mode="after")
    def _version_says_what_is_there(self) -> Bundle:
        if self.version != VERSION:
            newer = next((name for name in _SINCE_V3 if getattr(self, name)), None)
            if newer or self.seed is not None:
                raise ValueError(f"{newer or 'seed'} is there since version {VERSION}, not in {self.version}")
            return self
        if self.lock_digest is None or self.seed is None or self.frame is None:
            raise ValueError(f"version {VERSION} has lock_digest, seed and frame")
        if tuple(feature.name for feature in self.frame.features) != self.features:
            raise ValueError("the frame must have the features that the forecaster reads, in their order")
        if self.panel and tuple(series.name for series in self.panel) != self.frame.series:
            raise ValueError("the frame must have the series of the panel, in their order")
        return self

    @model_serializer(mode="wrap")
    def _without_what_the_version_lacks(self, serialize: SerializerFunctionWrapHandler) -> dict[str, object]:
        content: dict[str, object] = serialize(self)
        absent = set() if self.version == VERSION else set(_SINCE_V3)
        absent |= set() if self.panel else {"panel"}
        return {name: part for name, part in content.items() if name not in absent}


def seal(bundle: Bundle, files: Mapping[str, bytes]) -> tuple[Bundle, bytes]:
    """Return the manifest with the digests of the files and of itself, and its bytes."""
    entries = {name: BundleFile(sha256=sha256(files[name]), size=len(files[name])) for name in sorted(files)}
    digits = _NO_DIGEST if bundle.version == VERSION else None
    open_manifest = bundle.model_copy(update={"files": entries, "manifest_sha256": digits})
    content = (open_manifest.model_dump_json(indent=2) + "\n").encode()
    if digits is None:
        return open_manifest, content
    digest = sha256(content)
    return open_manifest.model_copy(update={"manifest_sha256": digest}), _with_digest(content, digits, digest)


def parse(manifest: Path) -> Bundle:
    """Return the manifest in a file.

    Raises:
        LakeError: It is none, a newer version of Presage wrote it, or it is not what its own digest says.
        OSError: The file cannot be read.
    """
    content = manifest.read_bytes()
    try:
        version = json.loads(content).get("version")
    except (ValueError, AttributeError, RecursionError) as error:
        raise LakeError(f"{manifest} is no JSON object.", COPY_AGAIN) from error
    if version not in _VERSIONS:
        raise LakeError(
            f"{manifest} has version {version!r}, and this Presage reads {', '.join(map(repr, _VERSIONS))}.",
            "Install the version of Presage that wrote it, or a later one.",
        )
    try:
        bundle = Bundle.model_validate_json(content)
    except ValidationError as error:
        fault = error.errors()[0]
        field = ".".join(str(part) for part in fault["loc"])
        raise LakeError(f"{manifest}: {fault['msg']} at {field or 'the top'}.", COPY_AGAIN) from error
    if bundle.version == VERSION:
        _require_own_digest(manifest, bundle.manifest_sha256, content)
    return bundle


def _require_own_digest(manifest: Path, digest: str | None, content: bytes) -> None:
    if digest is None or sha256(_with_digest(content, digest, _NO_DIGEST)) != digest:
        raise LakeError(f"the content of {manifest} is not what its manifest_sha256 says.", COPY_AGAIN)


def _with_digest(content: bytes, old: str, new: str) -> bytes:
    """Return a manifest with another digest of itself, which is the last of its fields."""
    before, _, after = content.rpartition(old.encode())
    return before + new.encode() + after
