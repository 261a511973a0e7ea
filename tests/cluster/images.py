"""The three images of the project, built from its own Dockerfiles where no registry is reached.

python tests/cluster/images.py    build what is not there, and print each image's archive

The official base image is on a registry, so a base is made here from Debian's packages and given to the Dockerfiles as
their argument BASE. An archive keeps the hash of all that went into it in its name: an unchanged tree builds nothing.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import sys
import tempfile
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))  # as pytest does, for a start from the command line

from cluster.binaries import BuildError, cache, run
from cluster.debian import debian_command

_ROOT = Path(__file__).parents[2]
_TOOLS = ("buildah", "mmdebstrap")
_CERTIFICATES = Path("/etc/ssl/certs")
_BASE_NAME = "localhost/presage-base"
_BASE_COMMAND = debian_command("python3", "python3-venv", "ca-certificates", "libgomp1", "libstdc++6")
_BASE_FILE = 'FROM scratch\nADD base.tar /\nCMD ["python3"]\n'


@dataclass(frozen=True)
class Image:
    """One image of the project.

    Attributes:
        name: Its name and tag in the tests.
        dockerfile: Its Dockerfile, from the root of the project.
        extras: What of Presage it holds, where the tests need less than the Dockerfile's own choice.
    """

    name: str
    dockerfile: str
    extras: str = ""


IMAGES = (
    Image(
        "docker.io/presage/steps:test",
        "components/Dockerfile",
        extras="train s3 http sql exchange pipelines tracking metrics",
    ),
    Image("docker.io/presage/server:test", "serving/Dockerfile"),
    Image("docker.io/presage/operator:test", "operators/Dockerfile"),
)
_LAYERS = 60
_CONTEXT = ("pyproject.toml", "uv.lock", "README.md", "LICENSE", ".dockerignore")
_PACKAGES = (
    "components/presage",
    "pipelines/presage_pipelines",
    "serving/presage_serving",
    "operators/presage_operator",
)


def lacking_tools() -> tuple[str, ...]:
    """Return what is missing to build images: programs, or the rights of root."""
    return (*(tool for tool in _TOOLS if shutil.which(tool) is None), *(() if os.geteuid() == 0 else ("root",)))


def archive_path(image: Image) -> Path:
    """Return where the archive of the image is, or would be, for the present tree."""
    content = hashlib.sha256(repr((_BASE_COMMAND, _BASE_FILE, image)).encode())
    for path in _inputs(image):
        data = path.read_bytes()
        content.update(f"{path.relative_to(_ROOT)} {len(data)}\n".encode())
        content.update(data)
    return _folder() / f"{Path(image.dockerfile).parent}-{content.hexdigest()[:16]}.tar"


def build_images(images: Iterable[Image] = IMAGES) -> Mapping[Image, Path]:
    """Return the archives of the images; builds those that are not there, which takes minutes the first time.

    Raises:
        BuildError: A tool is missing, or a build fails.
    """
    archives = {image: archive_path(image) for image in images}
    missing = {image: archive for image, archive in archives.items() if not archive.is_file()}
    if not missing:
        return archives
    if lacking := lacking_tools():
        raise BuildError(f"images cannot be built here without {', '.join(lacking)}")
    _folder().mkdir(parents=True, exist_ok=True)
    _forget_former_builds()
    with tempfile.TemporaryDirectory(dir=_folder()) as scratch:
        base = _base(Path(scratch))
        for image, archive in missing.items():
            _build(image, archive, base, Path(scratch))
    return archives


def _forget_former_builds() -> None:
    """Keep the layers of some builds, for what has not changed, and not those of all that ever were."""
    if len(_buildah("images", "--all", "--quiet").split()) > _LAYERS:
        _buildah("rm", "--all")
        _buildah("rmi", "--all", "--force")


def _folder() -> Path:
    return cache() / "images"


def _inputs(image: Image) -> Iterable[Path]:
    yield from (_ROOT / name for name in (image.dockerfile, *_CONTEXT))
    for package in _PACKAGES:
        yield from sorted(
            path for path in (_ROOT / package).rglob("*") if path.is_file() and "__pycache__" not in path.parts
        )


def _base(scratch: Path) -> str:
    """Return the name of the base image in the store of buildah; makes it where it is not."""
    name = f"{_BASE_NAME}:{hashlib.sha256(repr((_BASE_COMMAND, _BASE_FILE)).encode()).hexdigest()[:16]}"
    if name not in _buildah("images", "--format", "{{.Name}}:{{.Tag}}").split():
        _run([*_BASE_COMMAND, str(scratch / "base.tar")])
        (scratch / "Dockerfile").write_text(_BASE_FILE)
        _buildah("bud", "--tag", name, str(scratch))
        (scratch / "base.tar").unlink()
    return name


def _build(image: Image, archive: Path, base: str, scratch: Path) -> None:
    extras = ("--build-arg", f"EXTRAS={image.extras}") if image.extras else ()
    _buildah(
        *("bud", "--layers", "--build-arg", f"BASE={base}", "--network", "host", "--ignorefile", ".dockerignore"),
        *extras,
        *("--file", image.dockerfile, "--tag", image.name, *_mounts(scratch), "."),
    )
    for former in _folder().glob(f"{archive.name.rpartition('-')[0]}-*.tar"):
        former.unlink()
    # Written beside and renamed, so that an interrupted build leaves no half of an archive.
    written = scratch / "image.tar"
    _buildah("push", image.name, f"docker-archive:{written}:{image.name}")
    written.rename(archive)


def _mounts(scratch: Path) -> Sequence[str]:
    """Return the flags that give pip and uv inside the build what this machine trusts and which index it uses."""
    if not _CERTIFICATES.is_dir():
        return ()
    bundle = _CERTIFICATES / "ca-certificates.crt"
    index = os.environ.get("PIP_INDEX_URL")
    pip = scratch / "pip.conf"
    pip.write_text(f"[global]\ncert = {bundle}\n" + (f"index-url = {index}\n" if index else ""))
    uv = scratch / "uv.toml"
    uv.write_text("system-certs = true\n")
    mounts = {_CERTIFICATES: _CERTIFICATES, pip: Path("/etc/pip.conf"), uv: Path("/etc/uv/uv.toml")}
    return [f"--volume={source}:{target}:ro" for source, target in mounts.items()]


def _buildah(*arguments: str) -> str:
    store = _folder() / "store"
    run = Path("/run/presage-images")  # the path of a socket in it is limited to 108 bytes
    return _run(["buildah", "--root", str(store), "--runroot", str(run), *arguments])


def _run(command: Sequence[str]) -> str:
    temporary = _folder() / "temporary"
    temporary.mkdir(parents=True, exist_ok=True)
    return run(command, folder=_ROOT, BUILDAH_ISOLATION="chroot", TMPDIR=str(temporary))


def _main() -> None:
    for image in IMAGES:
        start = time.monotonic()
        archive = build_images([image])[image]
        size = archive.stat().st_size / 1e6
        sys.stdout.write(f"{image.name} {archive} {size:.0f} MB, {time.monotonic() - start:.0f} s\n")
        sys.stdout.flush()


if __name__ == "__main__":
    try:
        _main()
    except BuildError as failure:
        sys.exit(str(failure))
