"""A model of rows in a bundle: the manifest of `presage.models.bundle`, the learner's files and the design."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

import numpy as np
import polars as pl

from presage.errors import LakeError
from presage.features.schema import feature_text
from presage.frame import FloatArray, moment
from presage.models.bundle import (
    Bundle,
    ConformalState,
    FittedTransform,
    FrameFeature,
    FrameSchema,
    read_bundle,
    write_bundle,
)
from presage.models.learners import Fitted, load
from presage.spec.digest import spec_digest
from presage.spec.features import CalendarFeature, Columns, Feature
from presage.spec.job import PredictionJob
from presage.tabular.conformal import with_offsets
from presage.tabular.design import DESIGN, Design, read_design
from presage.tabular.fits import predict
from presage.tabular.walk import Final
from presage.tasks import single_threaded


@dataclass(frozen=True)
class TableModel:
    """A model of rows, as it is served.

    Attributes:
        bundle: The manifest.
        design: What makes the features.
        fitted: The learner.
    """

    bundle: Bundle
    design: Design
    fitted: Fitted

    @property
    def probabilities(self) -> FloatArray:
        """(q,) the probabilities of the quantiles; none for a Classification."""
        return np.array(self.bundle.conformal.probabilities, dtype=np.float64)

    def predict(self, rows: pl.DataFrame) -> tuple[FloatArray, FloatArray]:
        """Return (n,) predictions of rows and their (n, q) quantiles.

        Raises:
            DataError: The rows lack a column.
        """
        places = [self.design.names.index(name) for name in self.bundle.features]
        features = np.ascontiguousarray(self.design.matrix(rows)[:, places])
        with single_threaded():
            mean = predict(self.fitted, features, self.design.task)
        if not self.bundle.conformal.offsets:
            return mean, np.empty((len(mean), 0))
        offsets = np.array(self.bundle.conformal.offsets[0], dtype=np.float64)
        return mean, with_offsets(mean, offsets, self.bundle.conformal.minimum)


def write_model(
    directory: Path,
    job: PredictionJob,
    final: Final,
    probabilities: FloatArray,
    *,
    lock_digest: str,
    now: datetime,
) -> None:
    """Write a fitted model of rows as a bundle, whole or not at all.

    Args:
        directory: The bundle's directory.
        job: The job.
        final: The fit.
        probabilities: (q,) the probabilities of its quantiles.
        lock_digest: Digest of the software that fitted it.
        now: When it was fitted, UTC.

    Raises:
        LakeError: What stands there is no bundle.
        StorageError: The directory cannot be written to.
    """
    offsets = (tuple(final.offsets.tolist()),) if len(probabilities) else ()
    bundle = Bundle(
        job=job.metadata.name,
        namespace=job.metadata.namespace,
        spec_digest=spec_digest(job),
        lock_digest=lock_digest,
        seed=job.spec.seed,
        model=final.model.name,
        parameters=final.model.parameters,
        features=final.config.kept,
        frame=_frame(job, final.design, final.config.kept),
        transforms=_transforms(final.design),
        transform="Level",
        horizon=1,
        season=1,
        frequency=job.spec.frequency,
        train_start=moment(final.start),
        train_end=moment(final.end),
        conformal=ConformalState(
            probabilities=tuple(probabilities.tolist()), offsets=offsets, minimum=job.spec.target.minimum
        ),
        created_at=now,
    )
    write_bundle(directory, bundle, {**final.fitted.dump(), DESIGN: final.design.to_bytes()})


def read_model(directory: Path) -> TableModel:
    """Return the model of rows in a bundle.

    Raises:
        LakeError: There is no bundle, it is damaged, or it is of no model of rows.
    """
    bundle, files = read_bundle(directory)
    design = read_design(files)
    unknown = set(bundle.features).difference(design.names)
    if unknown:
        raise LakeError(
            f"the bundle {directory} reads feature {min(unknown)!r}, which its {DESIGN} does not make.",
            "It was changed; copy the bundle again from where it came, or run the job again.",
        )
    learnt = {name: content for name, content in files.items() if name != DESIGN}
    return TableModel(bundle=bundle, design=design, fitted=load(bundle.model, learnt))


def _frame(job: PredictionJob, design: Design, features: Sequence[str]) -> FrameSchema:
    """Return what the learner reads, and which entry of a job's features makes each of it."""
    target = job.spec.target
    nothing: dict[str, object] = {"numbers": (), "categories": {}, "parts": ()}
    made: dict[str, Feature] = {}
    for column in design.kinds:
        held = (
            {"categories": {column: design.categories[column]}}
            if column in design.categories
            else {"numbers": (column,)}
        )
        entry = Feature(columns=Columns(columns=(f"{design.source}.{column}",)))
        made |= dict.fromkeys(design.model_copy(update=nothing | held).names, entry)
    for part in design.parts:
        entry = Feature(calendar=CalendarFeature(parts=(part,)))
        made |= dict.fromkeys(design.model_copy(update=nothing | {"parts": (part,)}).names, entry)
    return FrameSchema(
        target=f"{target.source}.{target.column}",
        unit=job.spec.source(target.source).units.get(target.column, ""),
        features=tuple(FrameFeature(name=name, definition=feature_text(made[name])) for name in features),
    )


def _transforms(design: Design) -> tuple[FittedTransform, ...]:
    if not design.categories:
        return ()
    return (FittedTransform(file=DESIGN, kind="Categories", columns=tuple(design.categories)),)
