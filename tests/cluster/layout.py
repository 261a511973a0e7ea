"""Where the node keeps its things, and the names and addresses it goes by."""

from __future__ import annotations

import fcntl
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from cluster.binaries import cache

NODE = "presage-node"
NETWORK = "presage-node"
ADDRESS = "10.251.0.1"  # set on the loopback device
SERVICE_ADDRESSES = "10.97.0.0/16"
API_SERVICE_ADDRESS = "10.97.0.1"
DNS_ADDRESS = "10.97.0.10"
POD_ADDRESSES = "10.245.0.0/24"
API_PORT = 17443
API_URL = f"https://{ADDRESS}:{API_PORT}"
ETCD_PORT = 17379
ETCD_PEER_PORT = 17380
PAUSE_IMAGE = "localhost/presage/pause:1"
DNS_IMAGE = "localhost/presage/coredns:1"
VOLUMES = 40
SOCKETS = Path("/run/presage-node")  # the path of a socket is limited to 108 bytes
MARK = "PRESAGE_NODE"  # in the environment of each process of the node, so that `down` finds it


def node_folder() -> Path:
    """Return the folder of everything that the node keeps while it runs."""
    return (cache() / "node").resolve()


def kubeconfig_path() -> Path:
    """Return the administrator's kubeconfig of the node."""
    return node_folder() / "kubeconfig"


@contextmanager
def one_at_a_time() -> Iterator[None]:
    """Wait until no other process starts or stops the node, and keep others waiting meanwhile."""
    cache().mkdir(parents=True, exist_ok=True)
    with (cache() / "node.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield
