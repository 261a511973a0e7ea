"""The test cluster's own authority and the certificates that it signs, by openssl."""

from __future__ import annotations

import subprocess
from collections.abc import Sequence
from pathlib import Path

_DAYS = 30
_LEAF = """basicConstraints = critical, CA:FALSE
keyUsage = critical, digitalSignature
extendedKeyUsage = clientAuth, serverAuth
authorityKeyIdentifier = keyid"""
_AUTHORITY = """basicConstraints = critical, CA:TRUE
keyUsage = critical, keyCertSign, cRLSign
subjectKeyIdentifier = hash"""


def make_authority(folder: Path) -> None:
    """Write `ca.crt` and `ca.key` into the folder."""
    _make(folder, "ca", subject="CN = presage-test", extensions=_AUTHORITY)


def sign(folder: Path, name: str, *, user: str, group: str = "", names: Sequence[str] = ()) -> None:
    """Write `name.crt` and `name.key`, signed by the folder's authority.

    Args:
        folder: Where the authority is.
        name: Name of the files.
        user: Whom Kubernetes sees in a client that shows the certificate.
        group: The user's group.
        names: Alternative names of a server, such as `DNS:kubernetes` or `IP:10.0.0.1`.
    """
    extensions = _LEAF + (f"\nsubjectAltName = {', '.join(names)}" if names else "")
    subject = f"CN = {user}" + (f"\nO = {group}" if group else "")
    _make(folder, name, subject=subject, extensions=extensions, by=("-CA", "ca.crt", "-CAkey", "ca.key"))


def make_key(folder: Path, name: str) -> None:
    """Write a private key, `name.key`, alone."""
    command = ["openssl", "ecparam", "-name", "prime256v1", "-genkey", "-noout", "-out", f"{name}.key"]
    subprocess.run(command, cwd=folder, capture_output=True, check=True)


def _make(folder: Path, name: str, *, subject: str, extensions: str, by: Sequence[str] = ()) -> None:
    configuration = (
        "[req]\nprompt = no\ndistinguished_name = subject\nx509_extensions = extensions\n"
        f"[subject]\n{subject}\n[extensions]\n{extensions}\n"
    )
    command = [
        *("openssl", "req", "-x509", "-config", "/dev/stdin", "-days", str(_DAYS), *by),
        *("-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"),
        *("-keyout", f"{name}.key", "-out", f"{name}.crt"),
    ]
    subprocess.run(command, cwd=folder, input=configuration, capture_output=True, text=True, check=True)
