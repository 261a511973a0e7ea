"""Libraries that only some forecasters need, imported when they do."""

from __future__ import annotations

from importlib import import_module
from types import ModuleType
from typing import Literal

from presage.errors import MissingExtraError

Extra = Literal["train", "statistics"]


def library(module: str, *, needed_by: str, extra: Extra = "train") -> ModuleType:
    """Return a module.

    Args:
        module: Its dotted name.
        needed_by: What cannot do without it.
        extra: The extra of `presage` that brings it.

    Raises:
        MissingExtraError: It, or a module that it needs, is not installed.
    """
    try:
        return import_module(module)
    except ModuleNotFoundError as error:
        raise MissingExtraError(
            f"{needed_by} needs the Python package {error.name}, which is not installed.",
            f"Install what training needs: pip install 'presage[{extra}]'.",
        ) from error
