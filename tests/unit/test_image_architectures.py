"""The images build for amd64 and arm64: the lock has a wheel for each, but where a page says otherwise."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Iterable, Mapping
from functools import cache
from pathlib import Path

import pytest
from packaging.markers import Marker, default_environment
from packaging.tags import Tag, compatible_tags, cpython_tags
from packaging.utils import parse_wheel_filename

ROOT = Path(__file__).parents[2]
DOCKERFILES = sorted(ROOT.glob("*/Dockerfile"))
MACHINES = {"linux/amd64": "x86_64", "linux/arm64": "aarch64"}
PYTHON = (3, 11)
# Debian 12's, below which no supported python:3.11-slim is.
GLIBC = 36
PURE = {"kfp-server-api", "pyspark"}
"""Published without a wheel, and of Python alone."""
COMPILED = {("dask", "aarch64"), ("featurestore", "aarch64"), ("kserve", "aarch64")}
"""Extras whose psutil has a wheel for the other machine only."""


@cache
def locked() -> Mapping[str, list[dict]]:
    """Return the packages of the lock by their name; one may be there in several versions."""
    packages: dict[str, list[dict]] = {}
    for package in tomllib.loads((ROOT / "uv.lock").read_text(encoding="utf-8"))["package"]:
        packages.setdefault(package["name"], []).append(package)
    return packages


def installed(extras: Iterable[str], machine: str) -> list[dict]:
    """Return the packages that the project's extras bring to a machine."""
    environment = default_environment() | {
        "platform_machine": machine,
        "sys_platform": "linux",
        "platform_system": "Linux",
        "python_version": ".".join(map(str, PYTHON)),
        "python_full_version": "3.11.9",
    }
    found: dict[tuple[str, str], dict] = {}
    ahead = [("presage", None, ""), *(("presage", None, extra) for extra in extras)]
    seen = set()
    while ahead:
        name, version, extra = step = ahead.pop()
        if step in seen:
            continue
        seen.add(step)
        (package,) = (one for one in locked()[name] if version in (None, one["version"]))
        found[name, package["version"]] = package
        wanted = package.get("optional-dependencies", {})[extra] if extra else package.get("dependencies", ())
        for one in wanted:
            if "marker" not in one or Marker(one["marker"]).evaluate(environment):
                ahead += [(one["name"], one.get("version"), inner) for inner in ("", *one.get("extra", ()))]
    return [package for (name, _), package in found.items() if name != "presage"]


@cache
def accepted(machine: str) -> frozenset[Tag]:
    """Return the tags of the wheels that the image's Python takes."""
    platforms = [f"manylinux_2_{minor}_{machine}" for minor in range(GLIBC, 4, -1)]
    platforms += [f"{name}_{machine}" for name in ("manylinux2014", "manylinux2010", "manylinux1", "linux")]
    return frozenset([*cpython_tags(PYTHON, platforms=platforms), *compatible_tags(PYTHON, "cp311", platforms)])


def without_wheel(extras: Iterable[str], machine: str) -> set[str]:
    """Return the names of the packages that such a machine would have to build."""
    return {
        package["name"]
        for package in installed(extras, machine)
        if not any(
            parse_wheel_filename(wheel["url"].rpartition("/")[2])[3] & accepted(machine)
            for wheel in package.get("wheels", ())
        )
    }


def extras_of(dockerfile: Path) -> list[str]:
    """Return the extras that an image installs by default."""
    (found,) = re.findall(r'^ARG EXTRAS="(.+)"$', dockerfile.read_text(encoding="utf-8"), re.MULTILINE)
    return found.split()


@pytest.mark.parametrize("machine", MACHINES.values(), ids=MACHINES)
@pytest.mark.parametrize("dockerfile", DOCKERFILES, ids=lambda path: path.parent.name)
def test_an_image_compiles_nothing(dockerfile: Path, machine: str) -> None:
    assert len(installed(extras_of(dockerfile), machine)) > 15
    assert without_wheel(extras_of(dockerfile), machine) <= PURE


@pytest.mark.parametrize("machine", MACHINES.values(), ids=MACHINES)
@pytest.mark.parametrize("extra", sorted(locked()["presage"][0]["optional-dependencies"]))
def test_an_extra_compiles_no_more_than_the_page_says(extra: str, machine: str) -> None:
    assert without_wheel([extra], machine) - PURE == ({"psutil"} if (extra, machine) in COMPILED else set())


def test_the_page_names_the_extras_that_need_a_compiler_on_arm64() -> None:
    page = (ROOT / "docs" / "images.md").read_text(encoding="utf-8")
    (row,) = (line for line in page.splitlines() if "psutil has no wheel" in line)
    assert set(re.findall(r"`(\w+)`", row.split("|")[1])) == {extra for extra, _ in COMPILED}
