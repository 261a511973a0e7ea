"""Runs `presage` in processes that have its libraries loaded: loading them anew costs more than most commands do.

Run as a program: each line that comes on stdin is a command as JSON, and each line on stdout how one ended. A command
is a process of its own, with the working directory, the environment and the files that it is given; it is forked off
this one, which only loads: no thread of a library has work here, and so none holds a lock that a fork would copy.
"""

from __future__ import annotations

import gc
import importlib
import json
import os
import sys
from pathlib import Path

# What a run loads after the command line.
LIBRARIES = (
    "arch.bootstrap", "deltalake", "numpy", "pandas", "plotly.graph_objects", "plotly.io", "polars", "pyarrow.parquet",
    "scipy.signal", "scipy.stats", "sklearn.linear_model", "statsmodels.tsa.forecasting.theta", "xgboost",
    "presage.cli.app", "presage.models.linear", "presage.models.theta", "presage.models.xgboost_trees",
    "presage.report.write", "presage.steps.rerun", "presage.steps.run",
)  # fmt: skip


def main() -> None:
    """Fork off a process a command; in each of them, become the command."""
    # As for a script of `.venv/bin`: what lies beside this file is none of the command's.
    sys.path[0] = str(Path(sys.executable).parent)
    for name in LIBRARIES:
        importlib.import_module(name)
    gc.freeze()
    for line in sys.stdin:
        command = json.loads(line)
        child = os.fork()
        if not child:
            become(**command)
            return
        say(child)
        _, status = os.waitpid(child, 0)
        say(os.waitstatus_to_exitcode(status))


def say(number: int) -> None:
    sys.stdout.write(f"{number}\n")
    sys.stdout.flush()


def become(words: list[str], cwd: str, environment: dict[str, str], out: str, err: str) -> None:
    """Be the command: it ends as the process ends."""
    from presage.cli import main as presage

    os.chdir(cwd)
    os.environ.clear()
    os.environ.update(environment)
    for descriptor, path in enumerate((os.devnull, out, err)):
        opened = os.open(path, os.O_RDWR)
        os.dup2(opened, descriptor)
        os.close(opened)
    sys.argv = words
    presage()


if __name__ == "__main__":
    main()
