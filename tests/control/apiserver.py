"""A real etcd and kube-apiserver for tests: built once from their Go modules, started on free loopback ports.

python tests/control/apiserver.py build    build the binary, unless it is there
python tests/control/apiserver.py serve    start both, print a kubeconfig, stop on Ctrl-C
"""

from __future__ import annotations

import fcntl
import hashlib
import os
import secrets
import shutil
import signal
import socket
import ssl
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

_SOURCE = Path(__file__).parent / "apiserver"
_VERSION = "v1.34.4"
_START_SECONDS = 120
_STOP_SECONDS = 15


class ControlPlaneError(Exception):
    """A server does not start or cannot be built."""


@dataclass(frozen=True)
class ControlPlane:
    """A running API server.

    Attributes:
        url: Its address.
        token: Bearer token of a user in system:masters.
        certificate: PEM file of the certificate that it serves with, to verify it by.
    """

    url: str
    token: str
    certificate: Path

    def kubeconfig(self) -> str:
        """Return a kubeconfig of the server."""
        return f"""apiVersion: v1
kind: Config
clusters: [{{name: test, cluster: {{server: "{self.url}", certificate-authority: "{self.certificate}"}}}}]
users: [{{name: admin, user: {{token: "{self.token}"}}}}]
contexts: [{{name: test, context: {{cluster: test, user: admin}}}}]
current-context: test
"""


def binary_path() -> Path:
    """Return where the binary of the present sources is, or would be."""
    cache = Path(os.environ.get("PRESAGE_CACHE", Path.home() / ".cache" / "presage"))
    content = b"".join((_SOURCE / name).read_bytes() for name in ("go.mod", "go.sum", "main.go"))
    return cache / "bin" / f"control-plane-{hashlib.sha256(content).hexdigest()[:16]}"


def control_plane_binary() -> Path:
    """Return the binary of etcd and kube-apiserver; builds it, which takes minutes, where it is not there.

    Raises:
        ControlPlaneError: There is neither the binary nor a Go toolchain, or the build fails.
    """
    binary = binary_path()
    if binary.is_file():
        return binary
    go = shutil.which("go") or shutil.which("go", path="/usr/local/go/bin")
    if go is None:
        raise ControlPlaneError(f"no Go toolchain to build {binary}")
    binary.parent.mkdir(parents=True, exist_ok=True)
    stamp = "k8s.io/component-base/version"
    major, minor, _ = _VERSION.removeprefix("v").split(".")
    flags = f"-s -w -X {stamp}.gitVersion={_VERSION} -X {stamp}.gitMajor={major} -X {stamp}.gitMinor={minor}"
    with (binary.parent / "lock").open("w") as lock, tempfile.TemporaryDirectory(dir=binary.parent) as folder:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if binary.is_file():
            return binary  # another process built it while this one waited
        # Built beside and renamed, so that an interrupted build leaves no half of a binary.
        built = Path(folder) / "control-plane"
        command = [go, "build", "-trimpath", "-ldflags", flags, "-o", str(built), "."]
        done = subprocess.run(
            command, cwd=_SOURCE, env=os.environ | {"CGO_ENABLED": "0"}, capture_output=True, text=True, check=False
        )
        if done.returncode:
            raise ControlPlaneError(f"go build failed:\n{done.stderr[-2000:]}")
        built.replace(binary)
    return binary


@contextmanager
def control_plane() -> Iterator[ControlPlane]:
    """Start etcd and kube-apiserver with their data in a temporary folder; stop both and remove it afterwards.

    Raises:
        ControlPlaneError: The binary cannot be had, or a server does not become ready.
    """
    binary = control_plane_binary()
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="presage-control-")))
        etcd_port, peer_port, port = _free_ports(3)
        etcd = f"http://127.0.0.1:{etcd_port}"
        peer = f"http://127.0.0.1:{peer_port}"
        stack.enter_context(
            _process(
                folder / "etcd.log",
                [
                    *(str(binary), "etcd", "--data-dir", str(folder / "etcd"), "--unsafe-no-fsync", "--log-level=warn"),
                    *("--listen-client-urls", etcd, "--advertise-client-urls", etcd),
                    *("--listen-peer-urls", peer, "--initial-advertise-peer-urls", peer),
                    *("--initial-cluster", f"default={peer}"),
                ],
            )
        )
        token = secrets.token_hex(16)
        tokens = folder / "tokens.csv"
        tokens.touch(mode=0o600)
        tokens.write_text(f'{token},admin,admin,"system:masters"\n')
        key = folder / "service-account.key"
        _private_key(key)
        certificates = folder / "certificates"
        server = stack.enter_context(
            _process(
                folder / "kube-apiserver.log",
                [
                    *(str(binary), "kube-apiserver", f"--etcd-servers={etcd}", f"--cert-dir={certificates}"),
                    *("--bind-address=127.0.0.1", f"--secure-port={port}", "--service-cluster-ip-range=10.96.0.0/16"),
                    *(f"--token-auth-file={tokens}", "--authorization-mode=RBAC", "--endpoint-reconciler-type=none"),
                    *("--service-account-issuer=https://kubernetes.default.svc", f"--service-account-key-file={key}"),
                    f"--service-account-signing-key-file={key}",
                    # No controllers run here, so there is nobody to make the service account that this plug-in wants.
                    "--disable-admission-plugins=ServiceAccount",
                ],
            )
        )
        plane = ControlPlane(f"https://127.0.0.1:{port}", token, certificates / "apiserver.crt")
        _wait_until_ready(plane, server, folder / "kube-apiserver.log")
        yield plane


@contextmanager
def _process(log: Path, command: Sequence[str]) -> Iterator[subprocess.Popen[bytes]]:
    with log.open("wb") as output:
        # A process group of its own, so that Ctrl-C in the terminal reaches us alone and we stop it in order.
        process = subprocess.Popen(command, stdout=output, stderr=output, process_group=0)
        try:
            yield process
        finally:
            _stop(process)


def _stop(process: subprocess.Popen[bytes]) -> None:
    for number in (signal.SIGTERM, signal.SIGKILL):
        if process.poll() is not None:
            return
        os.killpg(process.pid, number)
        try:
            process.wait(_STOP_SECONDS)
        except subprocess.TimeoutExpired:
            continue


def _free_ports(count: int) -> list[int]:
    with ExitStack() as stack:
        listeners = [stack.enter_context(socket.socket()) for _ in range(count)]
        for listener in listeners:
            listener.bind(("127.0.0.1", 0))
        return [listener.getsockname()[1] for listener in listeners]


def _private_key(path: Path) -> None:
    path.touch(mode=0o600)
    command = ["openssl", "ecparam", "-name", "prime256v1", "-genkey", "-noout"]
    try:
        path.write_bytes(subprocess.run(command, capture_output=True, check=True).stdout)
    except (OSError, subprocess.CalledProcessError) as error:
        raise ControlPlaneError("openssl is needed to make a key") from error


def _wait_until_ready(plane: ControlPlane, server: subprocess.Popen[bytes], log: Path) -> None:
    deadline = time.monotonic() + _START_SECONDS
    while time.monotonic() < deadline:
        if server.poll() is not None:
            break
        try:
            context = ssl.create_default_context(cafile=plane.certificate)
            with urllib.request.urlopen(f"{plane.url}/readyz", context=context, timeout=5) as answer:
                if answer.status == 200:
                    return
        except (OSError, urllib.error.URLError):
            pass
        time.sleep(0.1)
    raise ControlPlaneError(f"kube-apiserver is not ready:\n{log.read_text(errors='replace')[-4000:]}")


def _serve() -> None:
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    with control_plane() as plane, tempfile.TemporaryDirectory() as folder:
        kubeconfig = Path(folder) / "kubeconfig"
        kubeconfig.touch(mode=0o600)
        kubeconfig.write_text(plane.kubeconfig())
        sys.stdout.write(f"export KUBECONFIG={kubeconfig}\n")
        sys.stdout.flush()
        try:
            signal.pause()
        except KeyboardInterrupt:
            sys.stderr.write("stopped\n")


if __name__ == "__main__":
    try:
        match sys.argv[1:]:
            case ["build"]:
                sys.stdout.write(f"{control_plane_binary()}\n")
            case ["serve"]:
                _serve()
            case _:
                sys.exit(__doc__)
    except ControlPlaneError as error:
        sys.exit(str(error))
