"""Images written as the archive that `docker save` writes; no builder is needed for that."""

from __future__ import annotations

import gzip
import hashlib
import io
import json
import platform
import tarfile
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path

_ARCHITECTURES = {"x86_64": "amd64", "aarch64": "arm64"}
_GZIP = b"\x1f\x8b"


def write_archive(archive: Path, *, image: str, program: Path, name: str) -> None:
    """Write an archive of an image that holds one static `program` as `/name` and starts it."""
    with tempfile.TemporaryDirectory(dir=archive.parent) as scratch:
        layer = Path(scratch) / "layer.tar"
        with tarfile.open(layer, "w") as files:
            _add(files, name, program.read_bytes(), mode=0o755)
        write_layers(
            archive, image=image, layers=(layer,), settings={"Entrypoint": [f"/{name}"], "User": "65532:65532"}
        )


def write_layers(archive: Path, *, image: str, layers: Sequence[Path], settings: Mapping[str, object]) -> None:
    """Write an archive of an image.

    Args:
        archive: Where to.
        image: Its name and tag.
        layers: Archives of files, the lowest first; they may be compressed by gzip.
        settings: What a container of it has unless it is told otherwise.
    """
    names = [f"{_digest(layer)}.tar" for layer in layers]
    configuration = json.dumps(
        {
            "architecture": _ARCHITECTURES[platform.machine()],
            "os": "linux",
            "config": dict(settings),
            "rootfs": {"type": "layers", "diff_ids": [f"sha256:{_digest(layer, unpacked=True)}" for layer in layers]},
        }
    ).encode()
    configuration_name = f"{hashlib.sha256(configuration).hexdigest()}.json"
    manifest = [{"Config": configuration_name, "RepoTags": [image], "Layers": names}]
    with tarfile.open(archive, "w") as files:
        for name, layer in zip(names, layers, strict=True):
            files.add(layer, name)
        _add(files, configuration_name, configuration)
        _add(files, "manifest.json", json.dumps(manifest).encode())


def _digest(layer: Path, *, unpacked: bool = False) -> str:
    with layer.open("rb") as content:
        compressed = content.read(len(_GZIP)) == _GZIP
    with gzip.open(layer) if unpacked and compressed else layer.open("rb") as content:
        return hashlib.file_digest(content, "sha256").hexdigest()


def _add(files: tarfile.TarFile, name: str, content: bytes, mode: int = 0o644) -> None:
    entry = tarfile.TarInfo(name)
    entry.size = len(content)
    entry.mode = mode
    files.addfile(entry, io.BytesIO(content))
