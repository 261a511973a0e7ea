"""Every run-time dependency is under a licence that is allowed, and the page says which."""

from __future__ import annotations

import shutil
import sys
import tomllib
from email.message import Message
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path
from types import ModuleType

import pytest

ROOT = Path(__file__).parents[2]


def script() -> ModuleType:
    """Return docs/generate.py as a module of its own."""
    spec = spec_from_file_location("docs_generate", ROOT / "docs" / "generate.py")
    assert spec is not None
    assert spec.loader is not None
    module = module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


generate = script()
LOCK = (ROOT / "uv.lock").read_text(encoding="utf-8")


@pytest.fixture(scope="module")
def found() -> tuple:
    """All run-time dependencies."""
    return generate.dependencies(LOCK)


def stated(*fields: tuple[str, str]) -> str:
    """Return what metadata of these fields state."""
    message = Message()
    for name, value in fields:
        message[name] = value
    return str(generate.stated_licence(message))


def copied(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return a copy of what the script reads and writes, which it works on from now on."""
    (tmp_path / "docs").mkdir()
    for name in ("uv.lock", "docs/licences.md"):
        shutil.copy(ROOT / name, tmp_path / name)
    monkeypatch.setattr(generate, "ROOT", tmp_path)
    return tmp_path


def test_every_licence_is_allowed(found: tuple) -> None:
    assert len(found) > 150
    assert generate.not_allowed(found) == ()


def test_the_page_is_current(found: tuple) -> None:
    assert (ROOT / "docs" / "licences.md").read_text(encoding="utf-8") == generate.page(found)


def test_a_page_that_differs_is_noticed_and_written_anew(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    page = copied(tmp_path, monkeypatch) / "docs" / "licences.md"
    before = page.read_bytes()
    page.write_bytes(before + b"more\n")
    assert generate.main(["--check"]) == 1
    assert generate.main([]) == 0
    assert page.read_bytes() == before


def test_every_extra_of_the_project_is_on_the_page(found: tuple) -> None:
    declared = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]["optional-dependencies"]
    named = {extra for one in found for extra in one.extras}
    # An extra whose every package is in the base would be missing here, and rightly.
    assert named - {generate.BASE} == set(declared)


def test_what_was_looked_up_by_hand_is_still_a_dependency(found: tuple) -> None:
    assert set(generate.BY_HAND) <= {one.name for one in found}


def test_a_dependency_of_another_version_than_was_looked_at_is_refused() -> None:
    version = generate.BY_HAND["huey"].version
    with pytest.raises(ValueError, match=r"huey: .* was looked at, and uv\.lock has another"):
        generate.dependencies(LOCK.replace(f'name = "huey"\nversion = "{version}"', 'name = "huey"\nversion = "99.0"'))


@pytest.mark.parametrize(
    ("fields", "licence"),
    [
        ((("License-Expression", "MIT"), ("License", "GPL-3.0")), "MIT"),
        ((("License", "Apache 2.0"), ("Classifier", "License :: OSI Approved :: BSD License")), "Apache-2.0"),
        ((("License", "A text\nof lines"), ("Classifier", "License :: OSI Approved :: MIT License")), "MIT"),
        ((("License", "AGPL-3.0"), ("Classifier", "License :: OSI Approved :: MIT License")), "AGPL-3.0"),
        ((("Classifier", "License :: OSI Approved"),), ""),
        ((("Classifier", "Programming Language :: Python"),), ""),
    ],
)
def test_a_licence_is_what_the_metadata_state_first(fields: tuple[tuple[str, str], ...], licence: str) -> None:
    assert stated(*fields) == licence


@pytest.mark.parametrize(
    ("licence", "allowed"),
    [
        ("MIT", True),
        ("MPL-2.0 AND (Apache-2.0 OR MIT)", True),
        ("GPL-3.0-or-later", False),
        ("AGPL-3.0-only", False),
        ("MIT AND GPL-2.0-only", False),
        ("MIT OR GPL-2.0-only", False),
        ("GNU Affero General Public License v3", False),
        ("Proprietary", False),
    ],
)
def test_a_licence_is_allowed_where_every_part_of_it_is(licence: str, allowed: bool) -> None:
    one = generate.Dependency("some", ("1",), licence, ("train",))
    assert (generate.not_allowed((one,)) == ()) is allowed


def test_a_dependency_that_is_not_installed_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(generate, "BY_HAND", {})
    with pytest.raises(ValueError, match="is not installed"):
        generate.dependencies(LOCK)


def test_an_extra_brings_what_its_packages_need_in_turn() -> None:
    names = generate.brought(generate.read_lock(LOCK), "dask")
    assert {"dask", "distributed", "tornado", "fugue", "triad"} <= names
    assert "pyspark" not in names
