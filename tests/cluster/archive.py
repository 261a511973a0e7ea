"""An image of one static program, written as the archive that `docker save` writes; no builder is needed for that."""

from __future__ import annotations

import hashlib
import io
import json
import platform
import tarfile
from pathlib import Path

_ARCHITECTURES = {"x86_64": "amd64", "aarch64": "arm64"}


def write_archive(archive: Path, *, image: str, program: Path, name: str) -> None:
    """Write an archive of an image that holds `program` as `/name` and starts it."""
    layer = io.BytesIO()
    with tarfile.open(fileobj=layer, mode="w") as files:
        _add(files, name, program.read_bytes(), mode=0o755)
    digest = hashlib.sha256(layer.getvalue()).hexdigest()
    configuration = json.dumps(
        {
            "architecture": _ARCHITECTURES[platform.machine()],
            "os": "linux",
            "config": {"Entrypoint": [f"/{name}"], "User": "65532:65532"},
            "rootfs": {"type": "layers", "diff_ids": [f"sha256:{digest}"]},
        }
    ).encode()
    configuration_name = f"{hashlib.sha256(configuration).hexdigest()}.json"
    manifest = [{"Config": configuration_name, "RepoTags": [image], "Layers": [f"{digest}.tar"]}]
    with tarfile.open(archive, "w") as files:
        _add(files, f"{digest}.tar", layer.getvalue())
        _add(files, configuration_name, configuration)
        _add(files, "manifest.json", json.dumps(manifest).encode())


def _add(files: tarfile.TarFile, name: str, content: bytes, mode: int = 0o644) -> None:
    entry = tarfile.TarInfo(name)
    entry.size = len(content)
    entry.mode = mode
    files.addfile(entry, io.BytesIO(content))
