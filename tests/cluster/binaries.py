"""The programs of the test cluster, built once from their Go modules and kept under a name of their sources' content.

python tests/cluster/binaries.py    build what is not there, and print the folder
"""

from __future__ import annotations

import fcntl
import hashlib
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path

KUBERNETES_VERSION = "v1.34.4"
_SOURCE = Path(__file__).parent / "kubernetes"
_FILES = ("go.mod", "go.sum", "main.go", "pause/main.go")
_PACKAGES = (".", "./pause", "helm.sh/helm/v3/cmd/helm")
_VERSION_PACKAGES = ("k8s.io/component-base/version", "k8s.io/client-go/pkg/version")


class BuildError(Exception):
    """A program is not there and cannot be built."""


def cache() -> Path:
    """Return the folder that keeps what is slow to make; PRESAGE_CACHE names another."""
    return Path(os.environ.get("PRESAGE_CACHE", Path.home() / ".cache" / "presage"))


def binaries_path() -> Path:
    """Return the folder where the programs of the present sources are, or would be."""
    content = b"".join((_SOURCE / name).read_bytes() for name in _FILES)
    return cache() / "bin" / hashlib.sha256(content).hexdigest()[:16]


def binaries() -> Path:
    """Return the folder of `kubernetes`, `kubectl`, `helm` and `pause`; builds them, which takes minutes, when missing.

    Raises:
        BuildError: There are neither the programs nor a Go toolchain, or the build fails.
    """

    def link(built: Path) -> None:
        (built / "kubectl").symlink_to("kubernetes")

    return go_programs(binaries_path(), _SOURCE, _PACKAGES, flags=_link_flags(), finish=link)


def go_programs(
    folder: Path,
    module: Path,
    packages: Sequence[str],
    *,
    flags: str = "-s -w",
    finish: Callable[[Path], None] = lambda built: None,
) -> Path:
    """Return a folder of Go programs; builds them once, where they are not there.

    Args:
        folder: Where they are, or will be.
        module: Folder of their go.mod.
        packages: What to build.
        flags: For the linker.
        finish: Called with the folder before it takes its name.

    Raises:
        BuildError: There are neither the programs nor a Go toolchain, or the build fails.
    """

    def build(built: Path) -> None:
        go = shutil.which("go") or shutil.which("go", path="/usr/local/go/bin")
        if go is None:
            raise BuildError(f"no Go toolchain to build {folder}")
        built.mkdir()
        command = [go, "build", "-trimpath", "-ldflags", flags, "-o", f"{built}/", *packages]
        run(command, folder=module, CGO_ENABLED="0")
        finish(built)

    return kept(folder, build)


def kept(path: Path, make: Callable[[Path], None]) -> Path:
    """Return a file or a folder of the cache; makes it once, where it is not there.

    Args:
        path: Where it is, or will be. Its name says what it is made of.
        make: Makes it at another place. It may not ask for one that is kept in the same folder.
    """
    if path.exists():
        return path
    path.parent.mkdir(parents=True, exist_ok=True)
    with (path.parent / "lock").open("w") as lock, tempfile.TemporaryDirectory(dir=path.parent) as scratch:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if path.exists():
            return path  # another process made it while this one waited
        # Made beside and renamed, so that an interruption leaves no half of it.
        made = Path(scratch) / "made"
        make(made)
        made.rename(path)
    return path


def run(command: Sequence[str], *, folder: Path, **environment: str) -> str:
    """Return what a builder's command says.

    Raises:
        BuildError: It failed.
    """
    done = subprocess.run(
        command, cwd=folder, env=os.environ | environment, capture_output=True, text=True, check=False
    )
    if done.returncode:
        raise BuildError(f"{command[0]} failed:\n{(done.stdout + done.stderr)[-3000:]}")
    return done.stdout


def _link_flags() -> str:
    major, minor, _ = KUBERNETES_VERSION.removeprefix("v").split(".")
    stamps = {"gitVersion": KUBERNETES_VERSION, "gitMajor": major, "gitMinor": minor, "gitTreeState": "clean"}
    return " ".join(
        ("-s -w", *(f"-X {package}.{name}={value}" for package in _VERSION_PACKAGES for name, value in stamps.items()))
    )


if __name__ == "__main__":
    try:
        sys.stdout.write(f"{binaries()}\n")
    except BuildError as failure:
        sys.exit(str(failure))
