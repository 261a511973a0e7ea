"""A real image registry on a loopback port, and tiny images in it."""

from __future__ import annotations

import gzip
import hashlib
import io
import json
import shutil
import subprocess
import tarfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from urllib.error import HTTPError
from urllib.request import Request, urlopen

import yaml
from servers.http import HttpServer
from servers.ports import free_port, stop, wait_until

PROGRAM = "docker-registry"
AMD64, ARM64 = "linux/amd64", "linux/arm64"
_INDEX = "application/vnd.oci.image.index.v1+json"
_MANIFEST = "application/vnd.oci.image.manifest.v1+json"
_ACCEPTED = (
    _INDEX,
    _MANIFEST,
    "application/vnd.docker.distribution.manifest.list.v2+json",
    "application/vnd.docker.distribution.manifest.v2+json",
)


class DockerRegistry(HttpServer):
    """A running registry; references name it by its address."""

    ready_path = "/v2/"

    def digest(self, repository: str, tag: str) -> str | None:
        """Return the digest that it tells of an image; None where it has none."""
        request = Request(
            f"http://{self.address}/v2/{repository}/manifests/{tag}",
            headers={"Accept": ", ".join(_ACCEPTED)},
            method="HEAD",
        )
        try:
            with urlopen(request, timeout=30) as answer:
                return answer.headers["Docker-Content-Digest"]
        except HTTPError as error:
            if error.code == 404:
                return None
            raise


@contextmanager
def docker_registry(folder: Path, port: int | None = None) -> Iterator[DockerRegistry]:
    """Start a registry over a folder, which may hold the images of one before it, and stop it afterwards.

    Raises:
        ServerError: It does not start.
    """
    port = port or free_port()
    folder.mkdir(exist_ok=True)
    settings, log = folder / "config.yml", folder / "registry.log"
    settings.write_text(
        yaml.safe_dump(
            {
                "version": 0.1,
                "storage": {"filesystem": {"rootdirectory": str(folder / "images")}},
                "http": {"addr": f"127.0.0.1:{port}", "secret": "of one server alone"},
            }
        )
    )
    with log.open("ab") as lines:
        process = subprocess.Popen([PROGRAM, "serve", settings], stdout=lines, stderr=lines)
    running = DockerRegistry(port, process)
    try:
        wait_until(running.is_ready, process, str(log))
        yield running
    finally:
        stop(process)


def skopeo_home(folder: Path, locations: Mapping[str, str]) -> Path:
    """Return a home where skopeo looks for registries, by their name in references, at other places of plain HTTP."""
    settings = folder / ".config" / "containers"
    settings.mkdir(parents=True)
    (settings / "registries.conf").write_text(
        "".join(
            f'[[registry]]\nprefix = "{name}"\nlocation = "{location}"\ninsecure = true\n'
            for name, location in locations.items()
        )
    )
    (settings / "policy.json").write_text('{"default": [{"type": "insecureAcceptAnything"}]}')
    return folder


def push(home: Path, reference: str, *, platforms: Sequence[str] = (AMD64, ARM64), form: str = "oci") -> None:
    """Push an image of one file, which says the reference and the platform; one of several platforms is a list."""
    with TemporaryDirectory() as scratch:
        layout = Path(scratch) / "layout"
        _write_layout(layout, reference, platforms)
        command = ["skopeo", "copy", "--quiet", "--all", "--format", form, f"oci:{layout}", f"docker://{reference}"]
        subprocess.run(command, env={"HOME": str(home), "PATH": _path()}, check=True, timeout=60)


def _path() -> str:
    program = shutil.which("skopeo")
    assert program is not None
    return str(Path(program).parent)


def _write_layout(layout: Path, content: str, platforms: Sequence[str]) -> None:
    blobs = layout / "blobs" / "sha256"
    blobs.mkdir(parents=True)

    def blob(value: bytes | dict, media: str, **more: object) -> dict:
        data = value if isinstance(value, bytes) else json.dumps(value).encode()
        digest = hashlib.sha256(data).hexdigest()
        (blobs / digest).write_bytes(data)
        return {"mediaType": media, "size": len(data), "digest": f"sha256:{digest}", **more}

    def image(platform: str) -> dict:
        system, architecture = platform.split("/")
        files = io.BytesIO()
        with tarfile.open(fileobj=files, mode="w") as archive:
            text = f"{content} {platform}\n".encode()
            entry = tarfile.TarInfo("what")
            entry.size = len(text)
            archive.addfile(entry, io.BytesIO(text))
        layer = blob(gzip.compress(files.getvalue(), mtime=0), "application/vnd.oci.image.layer.v1.tar+gzip")
        layers = {"type": "layers", "diff_ids": [f"sha256:{hashlib.sha256(files.getvalue()).hexdigest()}"]}
        about = {"architecture": architecture, "os": system, "config": {}, "rootfs": layers}
        config = blob(about, "application/vnd.oci.image.config.v1+json")
        manifest = {"schemaVersion": 2, "mediaType": _MANIFEST, "config": config, "layers": [layer]}
        return blob(manifest, _MANIFEST, platform={"architecture": architecture, "os": system})

    images = [image(platform) for platform in platforms]
    if len(images) > 1:
        images = [blob({"schemaVersion": 2, "mediaType": _INDEX, "manifests": images}, _INDEX)]
    (layout / "index.json").write_text(json.dumps({"schemaVersion": 2, "manifests": images}))
    (layout / "oci-layout").write_text('{"imageLayoutVersion": "1.0.0"}')
