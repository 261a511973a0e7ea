"""Images as lists and charts name them, for mirror.py beside this file."""  # noqa: INP001 - a script's module

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

OWN = "presage/"
"""How the repositories of the project's own images begin; they are built and pushed, not published."""

_IMAGE = re.compile(
    r"((?P<registry>[a-z0-9-]*[.:][a-z0-9.:-]*|localhost)/)?"
    r"(?P<repository>[a-z0-9]+([._/-]+[a-z0-9]+)*)"
    r"(?P<version>:\w[\w.-]{0,127}|@sha256:[0-9a-f]{64})",
    re.ASCII,
)


class MirrorError(Exception):
    """Something cannot be done; the message says what, and what to do."""


@dataclass(frozen=True)
class Image:
    """An image as charts name it.

    Attributes:
        registry: Its own registry; empty for the container runtime's.
        repository: Its name there.
        version: Its tag, as `:7.4`, or its digest, as `@sha256:...`.
    """

    registry: str
    repository: str
    version: str

    def __str__(self) -> str:
        return self.below(self.registry) if self.registry else self.name

    @property
    def name(self) -> str:
        """Its reference without a registry."""
        return self.repository + self.version

    @property
    def own(self) -> bool:
        """Whether the project makes it."""
        return not self.registry and self.repository.startswith(OWN)

    def below(self, registry: str) -> str:
        """Return its reference in a registry that takes the place of its own."""
        return f"{registry}/{self.name}"


def parse_image(text: str) -> Image:
    """Return the image that a reference names.

    Raises:
        MirrorError: It is no reference with one of a tag or a digest.
    """
    found = _IMAGE.fullmatch(text)
    if not found:
        raise MirrorError(f"{text!r} names no image: write it as NAME:TAG, REGISTRY/NAME:TAG or NAME@sha256:...")
    return Image(found["registry"] or "", found["repository"], found["version"])


def read_images(path: Path) -> tuple[Image, ...]:
    """Return the images of a list, one a line; blank lines and those that begin with `#` say nothing.

    Raises:
        MirrorError: The list cannot be read or is empty, a line names no image, or two images would have the same name
            in another registry.
    """
    images: dict[Image, None] = {}
    for number, line in enumerate(_read_text(path).splitlines(), start=1):
        if line.strip() and not line.lstrip().startswith("#"):
            try:
                images[parse_image(line.strip())] = None
            except MirrorError as error:
                raise MirrorError(f"{path}, line {number}: {error}") from None
    if not images:
        raise MirrorError(f"{path} names no image.")
    _require_own_names(tuple(images))
    return tuple(images)


def _require_own_names(images: Sequence[Image]) -> None:
    named = defaultdict(list)
    for image in images:
        named[image.name].append(str(image))
    for name, same in named.items():
        if len(same) > 1:
            raise MirrorError(f"{' and '.join(same)} would both be {name} there: take one of them from the list.")


def chart_images(chart: Path, given: object = None) -> Iterator[tuple[tuple[str, ...], Image]]:
    """Yield the path in the values, and the image, of each that a chart and those it brings name by default.

    Args:
        chart: Its folder.
        given: What a chart around it says of its values.

    Raises:
        MirrorError: A file of a chart cannot be read.
    """
    about = _read_yaml(chart / "Chart.yaml")
    defaults = chart / "values.yaml"
    values = _merged(_read_yaml(defaults) if defaults.is_file() else {}, given)
    brought = {one.get("alias", one["name"]): chart / "charts" / one["name"] for one in about.get("dependencies", ())}
    yield from _images({key: value for key, value in values.items() if key not in brought}, about.get("appVersion", ""))
    for name, folder in brought.items():
        for path, image in chart_images(folder, values.get(name)):
            yield (name, *path), image


def _images(values: Mapping[str, object], version: str) -> Iterator[tuple[tuple[str, ...], Image]]:
    if "repository" in values:
        digest = values.get("digest")
        chosen = f"@{digest}" if digest else f":{values.get('tag') or version}"
        yield (), Image(str(values.get("registry") or ""), str(values["repository"]), chosen)
        return
    for key, value in values.items():
        if isinstance(value, dict):
            yield from (((key, *path), image) for path, image in _images(value, version))


def _merged(values: Mapping[str, object], given: object) -> dict[str, object]:
    """Merge maps as Helm does."""
    if not isinstance(given, dict):
        return dict(values)
    inner = {key: value for key, value in values.items() if isinstance(value, dict)}
    return {**values, **{key: _merged(inner[key], value) if key in inner else value for key, value in given.items()}}


def _read_yaml(path: Path) -> dict[str, Any]:
    try:
        content = yaml.safe_load(_read_text(path))
    except yaml.YAMLError as error:
        raise MirrorError(f"{path} is no YAML: {' '.join(str(error).split())}") from None
    if not isinstance(content, dict):
        raise MirrorError(f"{path} holds no map.")
    return content


def _read_text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except OSError as error:
        raise MirrorError(f"{path} cannot be read: {error.strerror}.") from None
