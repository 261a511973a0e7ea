"""What every test may ask for."""

from __future__ import annotations

import os
from pathlib import Path
from typing import NoReturn

import pytest

SHARED_DATA = Path(os.environ.get("PRESAGE_SHARED_DATA", Path(__file__).parents[2] / "shared" / "data"))


def lacking(reason: str) -> NoReturn:
    """Skip for want of a tool or of data; in CI nothing may be wanting, so there it fails."""
    if os.environ.get("CI") == "true":
        pytest.fail(f"in CI nothing may be lacking: {reason}")
    pytest.skip(reason)


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """The folder of real data beside the project; its files are used where they are and never copied."""
    if not SHARED_DATA.is_dir():
        lacking(f"no real data at {SHARED_DATA}; PRESAGE_SHARED_DATA names another place")
    return SHARED_DATA
