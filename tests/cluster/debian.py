"""The root file systems that images are made from, of Debian's packages."""

from __future__ import annotations


def debian_command(*packages: str, hook: str = "") -> tuple[str, ...]:
    """Return the command that writes a root file system with the packages; the archive's path is its last word.

    Args:
        packages: What it holds beside what every Debian must hold.
        hook: A command of the shell that is run before they are installed; `$1` is the root.
    """
    return (
        *("mmdebstrap", "--quiet", "--variant=essential", f"--include={','.join(packages)}"),
        *((f"--essential-hook={hook}",) if hook else ()),
        *(f"--dpkgopt=path-exclude=/usr/share/{name}/*" for name in ("doc", "man", "info", "locale")),
        "bookworm",  # its python3 is 3.11
    )
