"""What software a run ran on: part of what pins its result."""

from __future__ import annotations

import hashlib
import platform
from importlib.metadata import PackageNotFoundError, version

_NUMERIC = (
    "arch",
    "catboost",
    "numpy",
    "polars",
    "scikit-learn",
    "scipy",
    "statsmodels",
    "threadpoolctl",
    "xgboost-cpu",
)


def lock_digest() -> str:
    """Return the SHA-256 over the versions of Presage, of Python and of every library that computes numbers."""
    lines = [f"python=={'.'.join(platform.python_version_tuple()[:2])}", f"presage=={version('presage')}"]
    for name in _NUMERIC:
        try:
            lines.append(f"{name}=={version(name)}")
        except PackageNotFoundError:
            lines.append(f"{name} absent")
    return "sha256:" + hashlib.sha256("\n".join(lines).encode()).hexdigest()
