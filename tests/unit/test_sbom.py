"""What is installed is what the lock says, to the byte, and the bill of materials names all of it."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import tomllib
from pathlib import Path
from uuid import UUID

import pytest
from conftest import lacking

ROOT = Path(__file__).parents[2]
FLAGS = ("--quiet", "--frozen", "--all-extras", "--all-groups", "--format", "cyclonedx1.5")
PROJECT = "presage"
DOCKERFILES = sorted(ROOT.glob("*/Dockerfile"))


def locked() -> list[dict]:
    """Return the packages of the lock, without the project itself."""
    packages = tomllib.loads((ROOT / "uv.lock").read_text(encoding="utf-8"))["package"]
    return [package for package in packages if package["name"] != PROJECT]


def files(package: dict) -> list[dict]:
    """Return the files of a locked package."""
    return [*package.get("wheels", ()), *([package["sdist"]] if "sdist" in package else ())]


@pytest.fixture(scope="module")
def bill(tmp_path_factory: pytest.TempPathFactory) -> dict:
    """The bill of materials, as `make sbom` makes it."""
    own = ROOT / ".uv" / "bin" / "uv"
    uv = str(own) if own.is_file() else shutil.which("uv")
    if uv is None:
        lacking("no uv: `make test` puts one into .uv")
    path = tmp_path_factory.mktemp("sbom") / "sbom.cdx.json"
    environment = os.environ | {"UV_OFFLINE": "1"}
    subprocess.run([uv, "export", *FLAGS, "--output-file", path], cwd=ROOT, env=environment, check=True, timeout=60)
    return json.loads(path.read_text(encoding="utf-8"))


def test_every_file_of_the_lock_has_its_sha256() -> None:
    assert len(locked()) > 200
    for package in locked():
        assert files(package), package["name"]
        for file in files(package):
            assert re.fullmatch(r"sha256:[0-9a-f]{64}", file.get("hash", "")), file["url"]


def test_every_package_of_the_lock_comes_from_an_index_and_none_from_a_path_or_a_repository() -> None:
    assert {tuple(package["source"]) for package in locked()} == {("registry",)}


@pytest.mark.parametrize("path", DOCKERFILES, ids=lambda path: path.parent.name)
def test_an_image_installs_the_lock_as_it_is(path: Path) -> None:
    text = path.read_text(encoding="utf-8").replace("\\\n", " ")
    steps = [line for line in text.splitlines() if "/opt/uv/bin/uv " in line]
    assert [("uv sync --frozen" in step, "uv pip install --no-deps" in step) for step in steps] == [
        (True, False),
        (False, True),
    ]


def test_there_are_dockerfiles() -> None:
    assert {path.parent.name for path in DOCKERFILES} >= {"components", "operators", "serving"}


def test_one_version_of_uv_installs_everywhere() -> None:
    texts = [path.read_text(encoding="utf-8") for path in (*DOCKERFILES, ROOT / "Makefile")]
    versions = {found for text in texts for found in re.findall(r"UV_VERSION\s*:?=\s*([0-9.]+)", text)}
    assert len(versions) == 1


def test_the_bill_is_cyclonedx(bill: dict) -> None:
    assert (bill["bomFormat"], bill["specVersion"], bill["version"]) == ("CycloneDX", "1.5", 1)
    assert UUID(bill["serialNumber"].removeprefix("urn:uuid:"))
    assert bill["metadata"]["component"]["name"] == PROJECT
    for one in bill["components"]:
        assert one["type"] == "library"
        assert one["purl"].startswith(f"pkg:pypi/{one['name']}@{one['version']}")


def test_each_reference_of_the_bill_is_one_component(bill: dict) -> None:
    references = [one["bom-ref"] for one in (bill["metadata"]["component"], *bill["components"])]
    assert len(references) == len(set(references))
    assert {one["ref"] for one in bill["dependencies"]} == set(references)
    assert {other for one in bill["dependencies"] for other in one.get("dependsOn", ())} <= set(references)


def test_the_bill_names_every_package_of_the_lock_and_no_other(bill: dict) -> None:
    assert {(one["name"], one["version"]) for one in bill["components"]} == {
        (package["name"], package["version"]) for package in locked()
    }


def test_the_bill_has_the_hashes_of_the_lock(bill: dict) -> None:
    told = {
        (one["name"], digest["content"])
        for one in bill["components"]
        for place in one["externalReferences"]
        for digest in place["hashes"]
        if digest["alg"] == "SHA-256"
    }
    held = {(package["name"], file["hash"].removeprefix("sha256:")) for package in locked() for file in files(package)}
    assert told == held
