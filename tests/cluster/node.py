"""A real Kubernetes node for tests: kubelet, containerd, DNS and the control plane, on this machine's own addresses.

python tests/cluster/node.py build           build its programs, unless they are there
python tests/cluster/node.py up              start it, print where its kubeconfig is
python tests/cluster/node.py load ARCHIVE    give it an image
python tests/cluster/node.py down            stop it and remove all that it made

It runs as root on Debian. No image is pulled, and nothing that runs in it reaches another machine. Claims are bound to
ready local volumes, which any user may write to. NetworkPolicies are accepted and not enforced.
"""

from __future__ import annotations

import os
import shutil
import ssl
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))  # as pytest does, for a start from the command line

from cluster import layout
from cluster.archive import write_archive
from cluster.binaries import BuildError, binaries
from cluster.files import filled, write_files
from cluster.teardown import TeardownError, down, tear_down

_TOOLS = ("containerd", "containerd-shim-runc-v2", "ctr", "runc", "nft", "conntrack", "ip", "mount", "openssl")
_NETWORK_PLUGIN = Path("/usr/lib/cni/ptp")
_FORWARDING = Path("/proc/sys/net/ipv4/ip_forward")
_SECONDS = 120


class NodeError(Exception):
    """The node cannot be started, or a part of it ends or does not become ready."""


@dataclass
class Node:
    """A node that runs, or that is being started.

    Attributes:
        folder: What it keeps.
        programs: Where its programs are.
        servers: Its processes by name.
    """

    folder: Path
    programs: Path
    servers: dict[str, subprocess.Popen[bytes]] = field(default_factory=dict)

    @property
    def kubeconfig(self) -> Path:
        """The administrator's kubeconfig."""
        return self.folder / "kubeconfig"

    def start(self, name: str, *command: str) -> None:
        """Start a server; its output goes to a file under `logs`."""
        environment = os.environ | {layout.MARK: str(self.folder)}
        with self._log(name).open("wb") as output:
            self.servers[name] = subprocess.Popen(
                command, stdin=subprocess.DEVNULL, stdout=output, stderr=output, env=environment, start_new_session=True
            )

    def reap(self) -> None:
        """Wait for the servers' ends, once they are stopped."""
        for server in self.servers.values():
            server.wait()

    def wait_until(self, what: str, is_so: Callable[[], bool]) -> None:
        """Wait until something is so.

        Raises:
            NodeError: A server ended meanwhile, or it takes longer than two minutes.
        """
        deadline = time.monotonic() + _SECONDS
        while not is_so():
            for name, server in self.servers.items():
                if server.poll() is not None:
                    log = self._log(name).read_text(errors="replace")
                    raise NodeError(f"{name} ended with {server.returncode}:\n{log[-3000:]}")
            if time.monotonic() > deadline:
                raise NodeError(f"not so after {_SECONDS} seconds: {what}")
            time.sleep(0.1)

    def kubectl(self, *arguments: str, text: str | None = None) -> str:
        """Return what kubectl says.

        Raises:
            NodeError: It failed.
        """
        return _run(*self._kubectl, *arguments, text=text)

    def meets(self, *condition: str) -> bool:
        """Return whether `kubectl wait` finds a condition met within a second."""
        return _succeeds(*self._kubectl, "wait", "--timeout=1s", *condition)

    def load(self, archive: Path) -> None:
        """Give the node the images of an archive, as `docker save` writes it.

        Raises:
            NodeError: The archive is not one.
        """
        _run(
            "ctr", f"--address={layout.SOCKETS}/containerd.sock", "--namespace=k8s.io", "images", "import", str(archive)
        )

    @property
    def _kubectl(self) -> tuple[str, str]:
        return str(self.programs / "kubectl"), f"--kubeconfig={self.kubeconfig}"

    def _log(self, name: str) -> Path:
        return self.folder / "logs" / f"{name}.log"


def lacking_tools() -> tuple[str, ...]:
    """Return what is missing to run the node: programs, or the rights of root."""
    missing = [tool for tool in _TOOLS if shutil.which(tool) is None]
    if not _NETWORK_PLUGIN.is_file():
        missing.append("containernetworking-plugins")
    return (*missing, *(() if os.geteuid() == 0 else ("root",)))


def up() -> Node:
    """Start the node and return it when it takes Pods.

    Raises:
        NodeError: It runs already, a tool is missing, or a part of it does not become ready.
        BuildError: Its programs cannot be built.
    """
    if lacking := lacking_tools():
        raise NodeError(f"no node can run here without {', '.join(lacking)}")
    programs = binaries()
    folder = layout.node_folder()
    with layout.one_at_a_time():
        if folder.exists() or layout.SOCKETS.exists():
            raise NodeError(f"a node runs or was left behind, see {folder}; `down` stops and removes it")
        folder.mkdir(mode=0o700)
        node = Node(folder, programs)
        try:
            write_files(folder)
            _start_control_plane(node)
            _start_agents(node)
            _add_services(node)
        except BaseException:
            tear_down()
            node.reap()
            raise
    return node


@contextmanager
def running_node() -> Iterator[Node]:
    """Start the node; stop it and remove all that it made afterwards.

    Raises:
        NodeError: As `up`.
        BuildError: As `up`.
        TeardownError: As `down`.
    """
    node = up()
    try:
        yield node
    finally:
        down()
        node.reap()


def _start_control_plane(node: Node) -> None:
    folder, kubernetes = node.folder, str(node.programs / "kubernetes")
    _run("ip", "address", "replace", f"{layout.ADDRESS}/32", "dev", "lo")
    etcd, peer = (f"http://127.0.0.1:{port}" for port in (layout.ETCD_PORT, layout.ETCD_PEER_PORT))
    node.start(
        *("etcd", kubernetes, "etcd", f"--data-dir={folder}/etcd", "--unsafe-no-fsync", "--log-level=warn"),
        *(f"--listen-client-urls={etcd}", f"--advertise-client-urls={etcd}"),
        *(f"--listen-peer-urls={peer}", f"--initial-advertise-peer-urls={peer}", f"--initial-cluster=default={peer}"),
    )
    node.start(
        *("kube-apiserver", kubernetes, "kube-apiserver", f"--etcd-servers={etcd}", "--allow-privileged=true"),
        *(
            f"--bind-address={layout.ADDRESS}",
            f"--advertise-address={layout.ADDRESS}",
            f"--secure-port={layout.API_PORT}",
        ),
        *(f"--tls-cert-file={folder}/apiserver.crt", f"--tls-private-key-file={folder}/apiserver.key"),
        *(f"--client-ca-file={folder}/ca.crt", "--authorization-mode=Node,RBAC"),
        *("--enable-admission-plugins=NodeRestriction", f"--service-cluster-ip-range={layout.SERVICE_ADDRESSES}"),
        "--service-account-issuer=https://kubernetes.default.svc.cluster.local",
        *(f"--service-account-{use}key-file={folder}/service-account.key" for use in ("", "signing-")),
        *(f"--kubelet-client-certificate={folder}/admin.crt", f"--kubelet-client-key={folder}/admin.key"),
        "--kubelet-preferred-address-types=InternalIP",
    )
    node.wait_until("the API server is ready", lambda: _is_api_ready(folder))
    node.start(
        *("kube-controller-manager", kubernetes, "kube-controller-manager", f"--kubeconfig={node.kubeconfig}"),
        *("--secure-port=0", "--leader-elect=false", f"--root-ca-file={folder}/ca.crt"),
        f"--service-account-private-key-file={folder}/service-account.key",
    )
    node.start(
        *("kube-scheduler", kubernetes, "kube-scheduler", f"--kubeconfig={node.kubeconfig}"),
        *("--secure-port=0", "--leader-elect=false"),
    )


def _is_api_ready(folder: Path) -> bool:
    context = ssl.create_default_context(cafile=folder / "ca.crt")
    context.load_cert_chain(folder / "admin.crt", folder / "admin.key")
    try:
        with urllib.request.urlopen(f"{layout.API_URL}/readyz", context=context, timeout=5) as answer:
            return bool(answer.status == 200)
    except (OSError, urllib.error.URLError):
        return False


def _start_agents(node: Node) -> None:
    folder, kubernetes = node.folder, str(node.programs / "kubernetes")
    (folder / "ip_forward").write_text(_FORWARDING.read_text())
    _FORWARDING.write_text("1\n")
    node.start("containerd", "containerd", f"--config={folder}/containerd.toml")
    node.wait_until(
        "containerd answers", lambda: _succeeds("ctr", f"--address={layout.SOCKETS}/containerd.sock", "version")
    )
    for image, program, name in ((layout.PAUSE_IMAGE, "pause", "pause"), (layout.DNS_IMAGE, "kubernetes", "coredns")):
        archive = folder / f"{name}.tar"
        write_archive(archive, image=image, program=node.programs / program, name=name)
        node.load(archive)
        archive.unlink()
    node.start(
        *("kubelet", kubernetes, "kubelet", f"--config={folder}/kubelet.yaml", f"--root-dir={folder}/kubelet"),
        *(f"--kubeconfig={folder}/kubelet.kubeconfig", f"--hostname-override={layout.NODE}"),
        f"--node-ip={layout.ADDRESS}",
    )
    node.start("kube-proxy", kubernetes, "kube-proxy", f"--config={folder}/kube-proxy.yaml")


def _add_services(node: Node) -> None:
    """Add DNS and the volumes, and wait until Pods can start in the default namespace."""
    folder = node.folder
    volumes = (filled("volume.yaml", folder, index=index) for index in range(layout.VOLUMES))
    objects = "---\n".join((filled("dns.yaml", folder), filled("storage.yaml", folder), *volumes))
    node.kubectl("apply", "--filename=-", text=objects)
    for condition in (
        ("--for=create", "serviceaccount/default"),
        ("--for=condition=Ready", f"node/{layout.NODE}"),
        ("--for=condition=Available", "--namespace=kube-system", "deployment/coredns"),
    ):
        node.wait_until(" ".join(condition), lambda condition=condition: node.meets(*condition))


def _succeeds(*command: str) -> bool:
    return subprocess.run(command, capture_output=True, check=False).returncode == 0


def _run(*command: str, text: str | None = None) -> str:
    done = subprocess.run(command, input=text, capture_output=True, text=True, check=False)
    if done.returncode:
        raise NodeError(f"{' '.join(command[:4])} failed:\n{(done.stdout + done.stderr)[-2000:]}")
    return done.stdout


def _main(words: list[str]) -> None:
    match words:
        case ["build"]:
            sys.stdout.write(f"{binaries()}\n")
        case ["up"]:
            sys.stdout.write(f"export KUBECONFIG={up().kubeconfig}\n")
        case ["load", archive]:
            Node(layout.node_folder(), binaries()).load(Path(archive))
        case ["down"]:
            down()
        case _:
            sys.exit(__doc__)


if __name__ == "__main__":
    try:
        _main(sys.argv[1:])
    except (BuildError, NodeError, TeardownError) as failure:
        sys.exit(str(failure))
