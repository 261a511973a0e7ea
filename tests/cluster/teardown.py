"""Stop the node and leave nothing of it: no process, mount, network, address, control group or file."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import time
from collections.abc import Callable, Collection, Iterator
from contextlib import suppress
from pathlib import Path

from cluster.layout import ADDRESS, MARK, NETWORK, SOCKETS, node_folder, one_at_a_time

_PROC = Path("/proc")
_CONTROL_GROUPS = Path("/sys/fs/cgroup")
_CNI_RESULTS = Path("/var/lib/cni/results")
_DEVICE_PLUGINS = Path("/var/lib/kubelet/device-plugins")
_POD_LOG_LINKS = Path("/var/log/containers")
_SHIM = "containerd-shim"
_SECONDS = 30


class TeardownError(Exception):
    """Something of the node does not go away."""


def down() -> None:
    """Stop the node and remove what it made; also after a start or a stop that broke off half-way.

    Raises:
        TeardownError: A process does not end, or a mount does not go.
    """
    with one_at_a_time():
        tear_down()


def tear_down() -> None:
    """Do as `down`, for a caller that keeps other processes waiting already.

    Raises:
        TeardownError: As `down`.
    """
    folder = node_folder()
    if not folder.is_dir():
        return
    # First what starts containers, then the containers, and last the shims that are their parents.
    _kill_all(lambda: {pid for pid in _marked(folder) if _name(pid) != _SHIM[:15]})
    _kill_all(lambda: _descendants(_marked(folder)))
    _kill_all(lambda: _marked(folder))
    _unmount(folder)
    for family in ("ip", "ip6"):
        _try("nft", "delete", "table", family, "kube-proxy")
    _try("ip", "address", "delete", f"{ADDRESS}/32", "dev", "lo")
    forwarding = folder / "ip_forward"
    if forwarding.is_file():
        Path("/proc/sys/net/ipv4/ip_forward").write_text(forwarding.read_text())
    for result in _CNI_RESULTS.glob(f"{NETWORK}-*"):
        pod = result.name.removeprefix(f"{NETWORK}-").removesuffix("-eth0")
        (_CNI_RESULTS / f"cni-loopback-{pod}-lo").unlink(missing_ok=True)
        result.unlink()
    for link in _POD_LOG_LINKS.glob("*"):
        if link.is_symlink() and link.readlink().is_relative_to(folder):
            link.unlink()
    (_DEVICE_PLUGINS / "kubelet.sock").unlink(missing_ok=True)
    _remove_empty(_DEVICE_PLUGINS, _DEVICE_PLUGINS.parent)
    for groups in (*_CONTROL_GROUPS.glob("kubepods"), *_CONTROL_GROUPS.glob("*/kubepods")):
        _remove_empty(*(Path(path) for path, _, _ in os.walk(groups, topdown=False)))
    for socket in SOCKETS.glob("containerd/io.containerd.runtime.v2.task/*/*/address"):
        Path(socket.read_text().removeprefix("unix://")).unlink(missing_ok=True)
    shutil.rmtree(SOCKETS, ignore_errors=True)
    shutil.rmtree(folder)


def _marked(folder: Path) -> set[int]:
    """Return the processes that were started for this folder's node, shims included, containers not."""
    mark = f"{MARK}={folder}".encode()
    return {pid for pid in _processes() if mark in _read(_PROC / str(pid) / "environ").split(b"\0")}


def _descendants(parents: Collection[int]) -> set[int]:
    children: dict[int, list[int]] = {}
    for pid in _processes():
        fields = _read(_PROC / str(pid) / "stat").rpartition(b")")[2].split()
        if fields and fields[0] != b"Z":
            children.setdefault(int(fields[1]), []).append(pid)
    found: set[int] = set()
    front = list(parents)
    while front:
        front = [child for parent in front for child in children.get(parent, ()) if child not in found]
        found.update(front)
    return found


def _processes() -> Iterator[int]:
    return (int(entry.name) for entry in _PROC.iterdir() if entry.name.isdecimal())


def _name(pid: int) -> str:
    return _read(_PROC / str(pid) / "comm").decode().strip()


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except (OSError, ValueError):
        return b""  # it ended meanwhile


def _kill_all(find: Callable[[], Collection[int]]) -> None:
    deadline = time.monotonic() + _SECONDS
    while found := find():
        if time.monotonic() > deadline:
            raise TeardownError(f"these processes do not end: {sorted(found)}")
        for pid in found:
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        time.sleep(0.05)


def _unmount(folder: Path) -> None:
    places = (f"{folder}/", f"{SOCKETS}/")
    targets = [line.split()[1] for line in (_PROC / "mounts").read_text().splitlines()]
    for target in reversed([target for target in targets if target.startswith(places)]):
        done = subprocess.run(["umount", target], capture_output=True, text=True, check=False)
        if done.returncode:
            raise TeardownError(f"cannot unmount {target}: {done.stderr.strip()}")


def _remove_empty(*folders: Path) -> None:
    for folder in folders:
        with suppress(OSError):  # not there, or another's things are in it
            folder.rmdir()


def _try(*command: str) -> None:
    subprocess.run(command, capture_output=True, check=False)
