"""A real etcd and kube-apiserver for tests, and controllers where asked: started on free loopback ports.

python tests/control/apiserver.py build    build the programs, unless they are there
python tests/control/apiserver.py serve    start both, print a kubeconfig, stop on Ctrl-C
"""

from __future__ import annotations

import os
import secrets
import signal
import socket
import ssl
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))  # as pytest does, for a start from the command line

from cluster.binaries import BuildError, binaries, binaries_path

_START_SECONDS = 120
_STOP_SECONDS = 15
_API_SERVER_STOP_SECONDS = 2  # an orderly stop waits for its clients' watches, which they would keep for minutes


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
    _server: _ApiServer

    def kubeconfig(self, token: str | None = None) -> str:
        """Return a kubeconfig of the server, for the administrator or for whom `token` stands."""
        return f"""apiVersion: v1
kind: Config
clusters: [{{name: test, cluster: {{server: "{self.url}", certificate-authority: "{self.certificate}"}}}}]
users: [{{name: user, user: {{token: "{token or self.token}"}}}}]
contexts: [{{name: test, context: {{cluster: test, user: user}}}}]
current-context: test
"""

    def stop_api_server(self) -> None:
        """Stop the API server; etcd keeps running with all objects."""
        self._server.stop()

    def start_api_server(self) -> None:
        """Start the API server again, with the same address, certificate and objects, and wait until it is ready.

        Raises:
            ControlPlaneError: It does not become ready.
        """
        self._server.start()

    def restart_api_server(self) -> None:
        """Stop the API server, start it again and wait until it is ready.

        Raises:
            ControlPlaneError: It does not become ready.
        """
        self.stop_api_server()
        self.start_api_server()


class _ApiServer:
    """The process of a kube-apiserver, which may be stopped and started again."""

    def __init__(self, command: Sequence[str], *, url: str, certificate: Path, log: Path) -> None:
        self._command = command
        self._url = url
        self._certificate = certificate
        self._log = log
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        self._process = _start(self._log, self._command)
        deadline = time.monotonic() + _START_SECONDS
        while time.monotonic() < deadline and self._process.poll() is None:
            if self._is_ready():
                return
            time.sleep(0.1)
        raise ControlPlaneError(f"kube-apiserver is not ready:\n{self._log.read_text(errors='replace')[-4000:]}")

    def stop(self) -> None:
        if self._process is not None:
            _stop(self._process, seconds=_API_SERVER_STOP_SECONDS)

    def _is_ready(self) -> bool:
        try:
            context = ssl.create_default_context(cafile=self._certificate)
            with urllib.request.urlopen(f"{self._url}/readyz", context=context, timeout=5) as answer:
                return bool(answer.status == 200)
        except (OSError, urllib.error.URLError):
            return False


def binary_path() -> Path:
    """Return where the binary of the present sources is, or would be."""
    return binaries_path() / "kubernetes"


def control_plane_binary() -> Path:
    """Return the binary of all servers; builds it, which takes minutes, where it is not there.

    Raises:
        ControlPlaneError: There is neither the binary nor a Go toolchain, or the build fails.
    """
    return _binary("kubernetes")


def kubectl_binary() -> Path:
    """Return kubectl of the servers' version; builds it as `control_plane_binary` does.

    Raises:
        ControlPlaneError: As `control_plane_binary`.
    """
    return _binary("kubectl")


def helm_binary() -> Path:
    """Return helm; builds it as `control_plane_binary` does.

    Raises:
        ControlPlaneError: As `control_plane_binary`.
    """
    return _binary("helm")


def _binary(name: str) -> Path:
    try:
        return binaries() / name
    except BuildError as error:
        raise ControlPlaneError(str(error)) from error


@contextmanager
def control_plane(
    *, controllers: bool = False, define: Callable[[ControlPlane], None] | None = None
) -> Iterator[ControlPlane]:
    """Start etcd and kube-apiserver with their data in a temporary folder; stop both and remove it afterwards.

    Args:
        controllers: Start kube-controller-manager too. It makes the Pods of Jobs and Deployments, collects objects
            whose owner is gone, and makes service accounts; without a kubelet no Pod ever runs.
        define: Called before the controllers start. The collector of objects whose owner is gone learns kinds when it
            starts and every 30 seconds: kinds that it shall know at once are defined here.

    Raises:
        ControlPlaneError: The binary cannot be had, or a server does not become ready.
    """
    binary = str(control_plane_binary())
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="presage-control-")))
        etcd_port, peer_port, port = _free_ports(3)
        etcd = f"http://127.0.0.1:{etcd_port}"
        peer = f"http://127.0.0.1:{peer_port}"
        stack.enter_context(
            _process(
                folder / "etcd.log",
                [
                    *(binary, "etcd", "--data-dir", str(folder / "etcd"), "--unsafe-no-fsync", "--log-level=warn"),
                    *("--listen-client-urls", etcd, "--advertise-client-urls", etcd),
                    *("--listen-peer-urls", peer, "--initial-advertise-peer-urls", peer),
                    *("--initial-cluster", f"default={peer}"),
                ],
            )
        )
        token = secrets.token_hex(16)
        tokens = folder / "tokens.csv"
        _write_secret(tokens, f'{token},admin,admin,"system:masters"\n')
        key = folder / "service-account.key"
        _write_secret(key, _private_key())
        certificates = folder / "certificates"
        command = [
            *(binary, "kube-apiserver", f"--etcd-servers={etcd}", f"--cert-dir={certificates}"),
            *("--bind-address=127.0.0.1", f"--secure-port={port}", "--service-cluster-ip-range=10.96.0.0/16"),
            *(f"--token-auth-file={tokens}", "--authorization-mode=RBAC", "--endpoint-reconciler-type=none"),
            *("--service-account-issuer=https://kubernetes.default.svc", f"--service-account-key-file={key}"),
            *(f"--service-account-signing-key-file={key}", "--allow-privileged=true"),
        ]
        if not controllers:
            # Then there is nobody to make the service account that this plug-in wants.
            command.append("--disable-admission-plugins=ServiceAccount")
        url = f"https://127.0.0.1:{port}"
        certificate = certificates / "apiserver.crt"
        server = _ApiServer(command, url=url, certificate=certificate, log=folder / "kube-apiserver.log")
        stack.callback(server.stop)
        server.start()
        plane = ControlPlane(url, token, certificate, server)
        if define is not None:
            define(plane)
        if controllers:
            kubeconfig = folder / "kubeconfig"
            _write_secret(kubeconfig, plane.kubeconfig())
            command = [
                *(binary, "kube-controller-manager", f"--kubeconfig={kubeconfig}", "--leader-elect=false"),
                *("--secure-port=0", f"--service-account-private-key-file={key}", f"--root-ca-file={certificate}"),
            ]
            stack.enter_context(_process(folder / "kube-controller-manager.log", command))
        yield plane


@contextmanager
def _process(log: Path, command: Sequence[str]) -> Iterator[None]:
    process = _start(log, command)
    try:
        yield
    finally:
        _stop(process)


def _start(log: Path, command: Sequence[str]) -> subprocess.Popen[bytes]:
    with log.open("ab") as output:
        # A process group of its own, so that Ctrl-C in the terminal reaches us alone and we stop it in order.
        return subprocess.Popen(command, stdout=output, stderr=output, process_group=0)


def _stop(process: subprocess.Popen[bytes], *, seconds: float = _STOP_SECONDS) -> None:
    for number in (signal.SIGTERM, signal.SIGKILL):
        if process.poll() is not None:
            return
        os.killpg(process.pid, number)
        try:
            process.wait(seconds)
        except subprocess.TimeoutExpired:
            continue


def _free_ports(count: int) -> list[int]:
    with ExitStack() as stack:
        listeners = [stack.enter_context(socket.socket()) for _ in range(count)]
        for listener in listeners:
            listener.bind(("127.0.0.1", 0))
        return [listener.getsockname()[1] for listener in listeners]


def _write_secret(path: Path, text: str) -> None:
    path.touch(mode=0o600)
    path.write_text(text)


def _private_key() -> str:
    command = ["openssl", "ecparam", "-name", "prime256v1", "-genkey", "-noout"]
    try:
        return subprocess.run(command, capture_output=True, check=True, text=True).stdout
    except (OSError, subprocess.CalledProcessError) as error:
        raise ControlPlaneError("openssl is needed to make a key") from error


def _serve() -> None:
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    with control_plane() as plane, tempfile.TemporaryDirectory() as folder:
        kubeconfig = Path(folder) / "kubeconfig"
        _write_secret(kubeconfig, plane.kubeconfig())
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
