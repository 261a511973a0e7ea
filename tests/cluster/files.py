"""The files that the node's servers read."""

from __future__ import annotations

from pathlib import Path
from string import Template

from cluster import layout
from cluster.certificates import make_authority, make_key, sign

_TEMPLATES = Path(__file__).parent / "templates"


def write_files(folder: Path) -> None:
    """Write keys, certificates, kubeconfigs and configurations, and make the folders of the volumes and the sockets.

    Raises:
        subprocess.CalledProcessError: openssl failed.
    """
    for name in ("logs", "network", *(f"volumes/{index}" for index in range(layout.VOLUMES))):
        (folder / name).mkdir(parents=True)
    for volume in (folder / "volumes").iterdir():
        volume.chmod(0o777)
    layout.SOCKETS.mkdir(mode=0o700)
    make_authority(folder)
    server_names = (
        "kubernetes",
        "kubernetes.default",
        "kubernetes.default.svc",
        "kubernetes.default.svc.cluster.local",
    )
    addresses = (layout.ADDRESS, layout.API_SERVICE_ADDRESS)
    sign(
        *(folder, "apiserver"),
        user="kube-apiserver",
        names=(*(f"DNS:{name}" for name in server_names), *(f"IP:{address}" for address in addresses)),
    )
    sign(folder, "admin", user="admin", group="system:masters")
    sign(folder, "node", user=f"system:node:{layout.NODE}", group="system:nodes", names=(f"IP:{layout.ADDRESS}",))
    for name, certificate in (("kubeconfig", "admin"), ("kubelet.kubeconfig", "node")):
        (folder / name).touch(mode=0o600)
        (folder / name).write_text(_kubeconfig(folder, certificate))
    make_key(folder, "service-account")
    for name in ("containerd.toml", "kubelet.yaml", "kube-proxy.yaml"):
        (folder / name).write_text(filled(name, folder))
    (folder / "network" / "pods.conflist").write_text(filled("network.conflist", folder))


def _kubeconfig(folder: Path, certificate: str) -> str:
    return f"""apiVersion: v1
kind: Config
clusters: [{{name: node, cluster: {{server: "{layout.API_URL}", certificate-authority: "{folder}/ca.crt"}}}}]
users:
  - {{name: user, user: {{client-certificate: "{folder}/{certificate}.crt", client-key: "{folder}/{certificate}.key"}}}}
contexts: [{{name: node, context: {{cluster: node, user: user}}}}]
current-context: node
"""


def filled(name: str, folder: Path, **values: object) -> str:
    """Return a template with the node's names and addresses, and with further values."""
    return Template((_TEMPLATES / name).read_text()).substitute(
        values,
        folder=folder,
        sockets=layout.SOCKETS,
        node=layout.NODE,
        network=layout.NETWORK,
        address=layout.ADDRESS,
        dns_address=layout.DNS_ADDRESS,
        pod_addresses=layout.POD_ADDRESSES,
        pause_image=layout.PAUSE_IMAGE,
        dns_image=layout.DNS_IMAGE,
    )
