"""Ends a process that unpickles anything; run as a script, does so while bundles are read, or `presage` runs.

Unpickling runs code that the bytes name, so nothing that reads a bundle may do it. The functions and classes that do it
are replaced before anything else is imported, and Python's own audit event tells of those that were reached in another
way.
"""

from __future__ import annotations

import _pickle
import os
import pickle
import sys
import traceback
from typing import NoReturn

REACHED = 86
"""Exit code of a process that unpickled."""


def forbid_pickle() -> None:
    """End this process from now on when it unpickles."""

    def reached(*_: object, **__: object) -> NoReturn:
        traceback.print_stack()
        os.write(2, b"pickle was reached\n")
        os._exit(REACHED)

    for module in (pickle, _pickle):
        for name in ("load", "loads", "_load", "_loads"):
            if hasattr(module, name):
                setattr(module, name, reached)
        for name in ("Unpickler", "_Unpickler"):
            if hasattr(module, name):
                # Libraries make classes of their own of it when they are imported, which unpickles nothing.
                setattr(module, name, type(name, (getattr(module, name),), {"__init__": reached}))

    def heard(event: str, _given: object) -> None:
        if event == "pickle.find_class":
            reached()

    sys.addaudithook(heard)


def _predictions(directory: str, task: str) -> list[float]:
    """Read a bundle and return what its model makes of real rows."""
    from pathlib import Path

    import numpy as np
    from bundle_case import small_frame

    from presage.models import learners, registry
    from presage.models.bundle import read_bundle

    bundle, files = read_bundle(Path(directory))
    frame = small_frame()
    if task == "Forecast":
        made = registry.load(bundle.model, files).predict(frame, np.arange(len(frame) - 5, len(frame)))
    else:
        made = learners.load(bundle.model, files).predict(frame.features[-5:])
    return [float(number) for number in made.ravel()]


def _download(uri: str, place: str) -> str:
    """Download a registered bundle by MLflow's own client, check it and return its model's name."""
    from pathlib import Path

    from mlflow.artifacts import download_artifacts

    from presage.models import registry
    from presage.models.bundle import read_bundle

    bundle, files = read_bundle(Path(download_artifacts(uri, dst_path=place)))
    registry.load(bundle.model, files)
    return bundle.model


def _main(verb: str, *words: str) -> None:
    import json

    if verb == "predict":
        tasks, directories = words[::2], words[1::2]
        made = {place: _predictions(place, task) for task, place in zip(tasks, directories, strict=True)}
        sys.stdout.write(json.dumps(made))
    elif verb == "download":
        sys.stdout.write(_download(*words))
    elif verb == "presage":
        sys.argv = ["presage", *words]
        from presage.cli import main

        main()
    else:
        exec(compile(words[0], "<control>", "exec"))  # a line of the test that calls it


if __name__ == "__main__":
    forbid_pickle()
    _main(*sys.argv[1:])
