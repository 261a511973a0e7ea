"""A model of rows in a bundle: the manifest of `presage.models.bundle`, the learner's files and the design."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

import numpy as np
import polars as pl

from presage.errors import LakeError
from presage.frame import FloatArray, moment
from presage.models.bundle import Bundle, ConformalState, read_bundle, write_bundle
from presage.models.learners import Fitted, load
from presage.spec.digest import spec_digest
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


def write_model(directory: Path, job: PredictionJob, final: Final, probabilities: FloatArray, *, now: datetime) -> None:
    """Write a fitted model of rows as a bundle, whole or not at all.

    Args:
        directory: The bundle's directory.
        job: The job.
        final: The fit.
        probabilities: (q,) the probabilities of its quantiles.
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
        model=final.model.name,
        parameters=final.model.parameters,
        features=final.config.kept,
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
