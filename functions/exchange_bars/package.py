"""Build the function's package: the handler, the part of Presage that it calls, and what both import, as one zip.

The versions of what is imported are those of uv.lock; the same files give the same bytes.
"""

from __future__ import annotations

import argparse
import shutil
import subprocess
import tempfile
import zipfile
from pathlib import Path

ROOT = Path(__file__).parents[2]
MODULES = (
    "__init__.py",
    "errors.py",
    "sources/__init__.py",
    "sources/candles.py",
    "sources/ccxt_answers.py",
    "sources/ccxt_client.py",
    "sources/retries.py",
)
"""What of Presage the handler calls; it needs neither the rest nor what the rest imports."""

_EXTRAS = ("exchange", "s3")
_REQUIREMENTS = ("ccxt", "boto3")
_LEFT_OUT = ("ccxt/async_support/", "ccxt/pro/", "bin/")
_EARLIEST = (1980, 1, 1, 0, 0, 0)


def write_package(target: Path, site: Path | None = None) -> None:
    """Write the zip.

    Args:
        target: Where.
        site: Folder of the installed requirements; None for a package without them.
    """
    files = {"handler.py": Path(__file__).with_name("handler.py")}
    files |= {f"presage/{name}": ROOT / "components" / "presage" / name for name in MODULES}
    if site is not None:
        files |= {name: path for path in site.rglob("*") if path.is_file() and _wanted(name := _name(path, site))}
    target.parent.mkdir(parents=True, exist_ok=True)
    with zipfile.ZipFile(target, "w", zipfile.ZIP_DEFLATED) as package:
        for name in sorted(files):
            entry = zipfile.ZipInfo(name, _EARLIEST)
            entry.external_attr = 0o644 << 16
            package.writestr(entry, files[name].read_bytes(), zipfile.ZIP_DEFLATED)


def install(site: Path, *, uv: str, python: str, platform: str) -> None:
    """Install the requirements, built for a runtime's Python version and platform, into a folder."""
    extras = [word for extra in _EXTRAS for word in ("--extra", extra)]
    export = [uv, "export", "--quiet", "--frozen", "--no-dev", "--no-emit-project", "--no-hashes", *extras]
    locked = site.with_suffix(".txt")
    locked.write_text(subprocess.run(export, cwd=ROOT, check=True, capture_output=True, text=True).stdout)
    runtime = ["--python-version", python, "--python-platform", platform, "--only-binary", ":all:"]
    target = ["--target", str(site), "--constraints", str(locked)]
    subprocess.run([uv, "pip", "install", "--quiet", *runtime, *target, *_REQUIREMENTS], cwd=ROOT, check=True)


def main() -> None:
    """Build the package that the command line asks for."""
    parser = argparse.ArgumentParser(description="Build the package of the function exchange_bars.")
    parser.add_argument("target", type=Path, help="the zip to write")
    parser.add_argument("--uv", default="uv", help="the uv program")
    parser.add_argument("--python", default="3.12", help="Python version of the runtime")
    parser.add_argument("--platform", default="x86_64-manylinux_2_28", help="platform of the runtime, as uv names it")
    words = parser.parse_args()
    uv = shutil.which(words.uv)
    if uv is None:
        parser.error(f"there is no program {words.uv!r}; install uv, or name it by --uv")
    with tempfile.TemporaryDirectory() as folder:
        site = Path(folder) / "site"
        install(site, uv=str(Path(uv).absolute()), python=words.python, platform=words.platform)
        write_package(words.target, site)


def _name(path: Path, site: Path) -> str:
    return path.relative_to(site).as_posix()


def _wanted(name: str) -> bool:
    return not name.startswith(_LEFT_OUT) and "__pycache__" not in name


if __name__ == "__main__":
    main()
