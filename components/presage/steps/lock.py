"""What software and what kind of machine a run ran on: part of what pins its result."""

from __future__ import annotations

import hashlib
import platform
from collections.abc import Mapping
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Final

ABSENT: Final = "absent"
_NUMERIC: Final = (
    "arch",
    "catboost",
    "lightgbm",
    "numpy",
    "onnx",
    "onnxruntime",
    "optuna",
    "pandas",
    "polars",
    "prophet",
    "scikit-learn",
    "scipy",
    "statsforecast",
    "statsmodels",
    "threadpoolctl",
    "xgboost-cpu",
)
"""What computes numbers. What stores and carries them does not count: the data's own digests tell of that."""
_CPU_INFO: Final = Path("/proc/cpuinfo")
_LEVELS: Final = (
    ("x86_64-v4", {"avx512f", "avx512bw", "avx512cd", "avx512dq", "avx512vl"}),
    ("x86_64-v3", {"avx2", "bmi1", "bmi2", "f16c", "fma", "movbe"}),
    ("x86_64-v2", {"cx16", "popcnt", "sse4_1", "sse4_2", "ssse3"}),
)


def read_lock() -> dict[str, str]:
    """Return by name the versions of Python, of Presage and of every library that computes numbers."""
    lock = {"python": ".".join(platform.python_version_tuple()[:2]), "presage": version("presage")}
    for name in _NUMERIC:
        try:
            lock[name] = version(name)
        except PackageNotFoundError:
            lock[name] = ABSENT
    return lock


def lock_digest(lock: Mapping[str, str] | None = None) -> str:
    """Return the SHA-256 over a lock, as `sha256:` and 64 hexadecimal digits; None is that of this process."""
    lines = [f"{name}=={version}" for name, version in (read_lock() if lock is None else lock).items()]
    return "sha256:" + hashlib.sha256("\n".join(lines).encode()).hexdigest()


def lock_differences(then: Mapping[str, str], now: Mapping[str, str]) -> tuple[str, ...]:
    """Return what differs between two locks, such as `numpy 2.2.0 then, 2.3.1 now`."""
    names = dict.fromkeys((*then, *now))
    return tuple(
        f"{name} {then.get(name, ABSENT)} then, {now.get(name, ABSENT)} now"
        for name in names
        if then.get(name, ABSENT) != now.get(name, ABSENT)
    )


def machine_kind() -> str:
    """Return the kind of this machine's processor, such as `x86_64-v3 AuthenticAMD`.

    Libraries of linear algebra choose their code by it, so that the last bits of their results agree on one kind only.
    """
    try:
        text = _CPU_INFO.read_text(encoding="utf-8", errors="replace")
    except OSError:
        text = ""
    return kind_of(platform.machine(), text)


def kind_of(machine: str, cpu_info: str) -> str:
    """Return the kind of a processor.

    Args:
        machine: Its architecture, such as `x86_64`.
        cpu_info: What Linux tells of it in /proc/cpuinfo; empty elsewhere.
    """
    fields: dict[str, str] = {}
    for line in cpu_info.splitlines():
        name, colon, value = line.partition(":")
        if colon:
            fields.setdefault(name.strip(), value.strip())
    flags = set(fields.get("flags", "").split())
    level = next((name for name, needed in _LEVELS if machine == "x86_64" and needed <= flags), machine)
    vendor = fields.get("vendor_id") or fields.get("CPU implementer", "")
    return f"{level} {vendor}".strip()
