"""What a run costs beside its fits: the start of each pipeline step, a run that finds itself done, the sample of leaks.

    python benchmarks/steps.py [--repeats N]

Each figure is the median of several cold processes; on a busy machine trust the seconds of CPU.
"""

from __future__ import annotations

import argparse
import os
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

import scipy.stats  # noqa: F401  # a run loads it anyway, for its tests of significance: it is not of the look for leaks
from bounds import bound

from presage.spec.load import load_job
from presage.steps import bars
from presage.steps.run import run_job

ROOT = Path(__file__).parents[1]
JOB = ROOT / "manifests" / "examples" / "quickstart.yaml"
STEPS = {
    "ingest": "ingest",
    "select": "walk",
    "train": "walk",
    "promote": "promote",
    "forecast": "forecast",
    "grade": "grade",
}
START = "import kfp.dsl.executor_main, presage_pipelines.ended, presage_pipelines.steps.{}"
ENVIRONMENT = {**os.environ, "OMP_NUM_THREADS": "1", "PRESAGE_TRACKING": "off"}


def cold(repeats: int, *command: str) -> tuple[float, float]:
    """Return the median seconds, and seconds of CPU, of a command as a process of its own."""
    walls, cpus = [], []
    for _ in range(repeats):
        before, begun = resource.getrusage(resource.RUSAGE_CHILDREN), time.monotonic()
        subprocess.run(command, check=True, capture_output=True, env=ENVIRONMENT)
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        walls.append(time.monotonic() - begun)
        cpus.append(after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime)
    return statistics.median(walls), statistics.median(cpus)


def share_of_leaks(workdir: Path) -> float:
    """Return the share of a run's seconds of CPU that its look for leaks takes."""
    spent: list[float] = []
    look: Callable[..., None] = bars.require_no_leaks

    def timed(*given: object) -> None:
        begun = time.process_time()
        look(*given)
        spent.append(time.process_time() - begun)

    bars.require_no_leaks = timed
    begun = time.process_time()
    run_job(
        load_job(JOB),
        base=JOB.parent,
        workdir=workdir,
        now=datetime.now(UTC),
        sources={},
        workers=1,
        progress=lambda *_: None,
    )
    return sum(spent) / (time.process_time() - begun)


def measure(repeats: int) -> bool:
    """Print all figures beside their bounds; return whether all are kept."""
    presage = str(Path(sys.executable).with_name("presage"))
    kept = []
    for step, module in STEPS.items():
        wall, cpu = cold(repeats, sys.executable, "-c", START.format(module))
        kept.append(bound(f"start of step {step}, seconds ({cpu:.2f} of CPU)", wall, at_most=2))
    with tempfile.TemporaryDirectory() as folder:
        again = (presage, "run", str(JOB), "--workdir", f"{folder}/work")
        cold(1, *again)
        wall, cpu = cold(repeats, *again)
        kept.append(bound(f"a run that finds itself done, seconds ({cpu:.2f} of CPU)", wall, at_most=3))
        kept.append(bound("share of a run that looks for leaks", share_of_leaks(Path(folder, "leaks")), at_most=0.1))
    return all(kept)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--repeats", type=int, default=5)
    sys.exit(0 if measure(parser.parse_args().repeats) else 1)
