"""A real S3 server for tests: versitygw, built once from its Go module, over a folder in which objects are files."""

from __future__ import annotations

import hashlib
import os
import socket
import subprocess
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from cluster.binaries import BuildError, cache, go_programs

BUCKET = "lakes"
KEY = "presage-tests"
SECRET = "presage-tests-secret"
_SOURCE = Path(__file__).parent / "versitygw"
_PACKAGE = "github.com/versity/versitygw/cmd/versitygw"
_START_SECONDS = 30


@dataclass(frozen=True)
class Gateway:
    """A running server with one bucket.

    Attributes:
        url: Its address.
        folder: The bucket as a folder: an object is the file of its key.
    """

    url: str
    folder: Path

    def environment(self, url: str | None = None) -> dict[str, str]:
        """Return the variables that lead a command to it, or to it through another address."""
        return {
            "AWS_ENDPOINT_URL": url or self.url,
            "AWS_ACCESS_KEY_ID": KEY,
            "AWS_SECRET_ACCESS_KEY": SECRET,
            "AWS_EC2_METADATA_DISABLED": "true",
        }


def gateway_binary() -> Path:
    """Return the server's program; builds it, which takes a minute, where it is not there.

    Raises:
        BuildError: There is neither the program nor a Go toolchain, or the build fails.
    """
    content = b"".join((_SOURCE / name).read_bytes() for name in ("go.mod", "go.sum"))
    folder = cache() / "bin" / f"s3-{hashlib.sha256(content).hexdigest()[:16]}"
    return go_programs(folder, _SOURCE, (_PACKAGE,)) / "versitygw"


@contextmanager
def gateway(folder: Path) -> Iterator[Gateway]:
    """Start the server on a free loopback port over an empty folder, and stop it afterwards.

    Raises:
        BuildError: The program cannot be had.
    """
    binary = gateway_binary()
    data, beside = folder / "data", folder / "beside"
    (data / BUCKET).mkdir(parents=True)
    beside.mkdir()
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        address = f"127.0.0.1:{listener.getsockname()[1]}"
    # Tags of objects are kept beside them, because not every disk has room for attributes.
    command = [str(binary), "--port", address, "--quiet", "posix", "--sidecar", str(beside), str(data)]
    environment = os.environ | {"ROOT_ACCESS_KEY_ID": KEY, "ROOT_SECRET_ACCESS_KEY": SECRET}
    with (folder / "gateway.log").open("wb") as log:
        process = subprocess.Popen(command, env=environment, stdout=log, stderr=log)
    try:
        _wait_until_it_answers(f"http://{address}/", process)
        yield Gateway(f"http://{address}", data / BUCKET)
    finally:
        process.terminate()
        process.wait(30)


def _wait_until_it_answers(url: str, process: subprocess.Popen[bytes]) -> None:
    deadline = time.monotonic() + _START_SECONDS
    while time.monotonic() < deadline and process.poll() is None:
        try:
            with urllib.request.urlopen(url, timeout=5):
                return
        except urllib.error.HTTPError:
            return  # it answers, and wants a signature
        except OSError:
            time.sleep(0.05)
    raise BuildError("the server does not answer")
