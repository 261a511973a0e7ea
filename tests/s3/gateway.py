"""A real S3 server for tests: versitygw, built once from its Go module, over a folder in which objects are files."""

from __future__ import annotations

import hashlib
import os
import subprocess
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from cluster.binaries import cache, go_programs
from servers.ports import free_port, stop, wait_until

BUCKET = "lakes"
KEY = "presage-tests"
SECRET = "presage-tests-secret"
_SOURCE = Path(__file__).parent / "versitygw"
_PACKAGE = "github.com/versity/versitygw/cmd/versitygw"


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


def _gateway_binary() -> Path:
    """Return the server's program; builds it, which takes a minute, where it is not there.

    Raises:
        BuildError: There is neither the program nor a Go toolchain, or the build fails.
    """
    content = b"".join((_SOURCE / name).read_bytes() for name in ("go.mod", "go.sum"))
    folder = cache() / "bin" / f"s3-{hashlib.sha256(content).hexdigest()[:16]}"
    return go_programs(folder, _SOURCE, (_PACKAGE,)) / "versitygw"


@contextmanager
def gateway(folder: Path, port: int | None = None, *, host: str = "127.0.0.1") -> Iterator[Gateway]:
    """Start the server over a folder, empty or with what it held before, and stop it afterwards.

    Args:
        folder: Where it keeps its bucket, what stands beside the objects, and its log.
        port: Port that it listens on; None for a free one.
        host: Address that it listens on.

    Raises:
        BuildError: The program cannot be had.
        ServerError: It does not start.
    """
    binary = _gateway_binary()
    data, beside = folder / "data", folder / "beside"
    (data / BUCKET).mkdir(parents=True, exist_ok=True)
    beside.mkdir(exist_ok=True)
    address = f"{host}:{port or free_port()}"
    running = Gateway(f"http://{address}", data / BUCKET)
    # Tags of objects are kept beside them, because not every disk has room for attributes.
    command = [str(binary), "--port", address, "--quiet", "posix", "--sidecar", str(beside), str(data)]
    environment = os.environ | {"ROOT_ACCESS_KEY_ID": KEY, "ROOT_SECRET_ACCESS_KEY": SECRET}
    log = folder / "gateway.log"
    with log.open("wb") as lines:
        process = subprocess.Popen(command, env=environment, stdout=lines, stderr=lines)
    try:
        wait_until(lambda: _answers(running), process, str(log))
        yield running
    finally:
        stop(process)


def _answers(server: Gateway) -> bool:
    try:
        urllib.request.urlopen(server.url, timeout=5).close()
    except urllib.error.HTTPError as error:
        error.close()  # it wants a signature
    except OSError:
        return False
    return True
