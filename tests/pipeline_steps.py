"""The pipeline's steps up to a promotion, called one after the other in this process."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from presage_pipelines.shown import Ranking
from presage_pipelines.steps.ingest import ingest
from presage_pipelines.steps.promote import promote
from presage_pipelines.steps.walk import select, train


@dataclass(frozen=True)
class Trained:
    """A run that was kept or found done.

    Attributes:
        run: Its id.
        digest: Digest of its scorecard.
        ranking: What `promote` gave of a Classification.
        data: The pin.
    """

    run: str
    digest: str
    ranking: Ranking | None
    data: str


def trained(job: str, workdir: str, folder: Path, as_of: str) -> Trained:
    """Run the steps; the artefacts are left in a new folder, under the names that Kubeflow shows."""
    folder.mkdir()
    features = folder / "features"
    data = ingest(job, workdir, as_of, dataset=folder / "dataset").data
    entrants = select(job, workdir, data, features=features)
    walks = [folder / name for name in entrants]
    for name, walk in zip(entrants, walks, strict=True):
        train(job, workdir, data, name, features=features, walk=walk)
    report, model = folder / "report", folder / "model"
    made = promote(job, workdir, data, as_of, features=features, walks=walks, report=report, model=model)
    return Trained(made.summary.run, made.summary.digest, made.ranking, data)
