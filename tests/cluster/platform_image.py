"""One image with the real servers of the platform, for tests where no image registry is reached.

python tests/cluster/platform_image.py    build it, unless it is there, and print its archive

The charts name official images. This one stands for all of them: it holds other builds of the same programs, at the
places where the official images have them. It is like them in what a chart touches, and differs so:

- MariaDB of Debian answers as MySQL, behind an entry point written here that keeps the part of the official one's
  contract which the chart uses. Variables and options that only MySQL has are unknown to it.
- Redis, Alertmanager, Pushgateway and the exporters of MySQL and Redis are Debian's, some versions older. Of the newer
  options of MySQL's exporter, those that the chart uses are understood. Kafka and NATS have no exporter in it.
- Prometheus is built from its module without its web pages; Debian's knows no service discovery of Kubernetes.
- MinIO, its client and NATS are built from their modules, so MinIO calls itself a development version.
- Kafka is its released libraries behind start scripts written here: the common tools, no log of the garbage collector.
- It has no user of its own: a Pod that names none is refused where it may not be root.
- It has a shell and Debian's common programs, which some official images lack.
"""

from __future__ import annotations

import gzip
import hashlib
import os
import re
import shutil
import sys
import tarfile
import time
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))  # as pytest does, for a start from the command line

from cluster.archive import write_layers
from cluster.binaries import BuildError, cache, go_programs, kept, run
from cluster.debian import debian_command

_FOLDER = Path(__file__).parent / "platform"
_TOOLS = ("mmdebstrap", "mvn", "java")
_DEBIAN = debian_command(
    *("bash", "ca-certificates", "curl", "default-jre-headless", "openssl", "tini"),
    *("mariadb-client", "mariadb-server-core", "redis-server"),
    *("prometheus-alertmanager", "prometheus-mysqld-exporter", "prometheus-pushgateway", "prometheus-redis-exporter"),
    # Java is not installed without this folder.
    hook='mkdir --parents "$1/usr/share/man/man1"',
)
_PROGRAMS = {
    "minio": "usr/bin",
    "mc": "usr/bin",
    "nats-server": "usr/local/bin",
    "prometheus": "usr/bin",
    "promtool": "usr/bin",
}
_LINKS = {
    "usr/bin/alertmanager": "prometheus-alertmanager",
    "usr/bin/pushgateway": "prometheus-pushgateway",
    "redis_exporter": "usr/bin/prometheus-redis-exporter",
}
_DATA_FOLDERS = ("docker-entrypoint-initdb.d", "run/mysqld", "var/lib/mysql")
_SETTINGS = {"Env": ["PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"], "Cmd": ["bash"]}


@dataclass(frozen=True)
class PlatformImage:
    """The image.

    Attributes:
        name: Its name and tag in the tests.
    """

    name: str

    @property
    def archive(self) -> Path:
        """Where its archive is, or would be, for the present tree."""
        parts = (Path(__file__), *(Path(__file__).parent / name for name in ("archive.py", "debian.py")), *_files())
        return cache() / "images" / f"platform-{_hash(parts)}.tar"


PLATFORM = PlatformImage("docker.io/presage/platform:test")


def lacking_tools() -> tuple[str, ...]:
    """Return what is missing to build the image: programs, or the rights of root."""
    return (*(tool for tool in _TOOLS if shutil.which(tool) is None), *(() if os.geteuid() == 0 else ("root",)))


def build_platform() -> Path:
    """Return the archive of the image; builds it where it is not there: a quarter of an hour the first time.

    Raises:
        BuildError: A tool is missing, or a build fails.
    """
    archive = PLATFORM.archive
    if archive.is_file():
        return archive
    if lacking := lacking_tools():
        raise BuildError(f"the platform's image cannot be built here without {', '.join(lacking)}")
    programs = [*_go_folder("").iterdir(), *_go_folder("prometheus").iterdir()]
    libraries, debian = _libraries(), _debian()

    def write(written: Path) -> None:
        layer = written.with_name("programs.tar.gz")
        with tarfile.open(layer, "w:gz", compresslevel=1) as files:
            _add_all(files, programs, libraries)
        write_layers(written, image=PLATFORM.name, layers=(debian, layer), settings=_SETTINGS)

    kept(archive, write)
    for part in (archive, libraries, debian):
        _remove_former(part)
    return archive


def _files() -> Iterable[Path]:
    return sorted(path for path in _FOLDER.rglob("*") if path.is_file())


def _hash(parts: Iterable[Path]) -> str:
    content = hashlib.sha256()
    for path in parts:
        data = path.read_bytes()
        content.update(f"{path.name} {len(data)}\n".encode())
        content.update(data)
    return content.hexdigest()[:16]


def _go_folder(name: str) -> Path:
    """Return the folder of the programs that a module of tools names; builds them where they are not there."""
    module = _FOLDER / name
    definition = module / "go.mod"
    folder = cache() / "bin" / f"platform-{_hash((definition, module / 'go.sum'))}"
    tools = re.findall(r"^\t(\S+)$", definition.read_text(), re.MULTILINE)
    return go_programs(folder, module, tools)


def _libraries() -> Path:
    """Return the folder of Kafka's libraries."""
    project = _FOLDER / "pom.xml"

    def fetch(folder: Path) -> None:
        command = ("mvn", "--batch-mode", "--strict-checksums", f"--file={project}", "dependency:copy-dependencies")
        run((*command, f"-DoutputDirectory={folder}"), folder=folder.parent)

    return kept(cache() / "platform" / f"kafka-{_hash((project,))}", fetch)


def _debian() -> Path:
    """Return the layer of Debian's packages."""

    def install(layer: Path) -> None:
        tree = layer.with_name("tree.tar")
        run((*_DEBIAN, str(tree)), folder=layer.parent, TMPDIR=str(layer.parent))
        with tree.open("rb") as content, gzip.open(layer, "wb", compresslevel=1) as compressed:
            shutil.copyfileobj(content, compressed, 1 << 20)

    name = hashlib.sha256(repr(_DEBIAN).encode()).hexdigest()[:16]
    return kept(cache() / "platform" / f"debian-{name}.tar.gz", install)


def _remove_former(part: Path) -> None:
    for former in part.parent.glob(f"{part.name.rpartition('-')[0]}-*"):
        if former.is_dir() and former != part:
            shutil.rmtree(former)
        elif former != part:
            former.unlink()


def _add_all(files: tarfile.TarFile, programs: Iterable[Path], libraries: Path) -> None:
    for program in programs:
        _add(files, program, f"{_PROGRAMS[program.name]}/{program.name}")
    for library in sorted(libraries.iterdir()):
        _add(files, library, f"opt/kafka/libs/{library.name}")
    for configuration in sorted(_FOLDER.glob("*.properties")):
        _add(files, configuration, f"opt/kafka/config/{configuration.name}")
    _add(files, _FOLDER / "docker-entrypoint.sh", "usr/local/bin/docker-entrypoint.sh")
    _add(files, _FOLDER / "mysqld_exporter", "usr/bin/mysqld_exporter")
    starter = _FOLDER / "kafka-run-class.sh"
    _add(files, starter, f"opt/kafka/bin/{starter.name}")
    commands = re.findall(r"^  (kafka-\S+\.sh)\)", starter.read_text(), re.MULTILINE)
    for name, target in (_LINKS | {f"opt/kafka/bin/{command}": starter.name for command in commands}).items():
        link = tarfile.TarInfo(name)
        link.type, link.linkname, link.mode = tarfile.SYMTYPE, target, 0o777
        files.addfile(link)
    for name in _DATA_FOLDERS:
        folder = tarfile.TarInfo(name)
        folder.type, folder.mode = tarfile.DIRTYPE, 0o1777
        files.addfile(folder)


def _add(files: tarfile.TarFile, path: Path, name: str) -> None:
    entry = tarfile.TarInfo(name)
    entry.size, entry.mode = path.stat().st_size, 0o755 if os.access(path, os.X_OK) else 0o644
    with path.open("rb") as content:
        files.addfile(entry, content)


def _main() -> None:
    start = time.monotonic()
    archive = build_platform()
    size = archive.stat().st_size / 1e6
    sys.stdout.write(f"{PLATFORM.name} {archive} {size:.0f} MB, {time.monotonic() - start:.0f} s\n")


if __name__ == "__main__":
    try:
        _main()
    except BuildError as failure:
        sys.exit(str(failure))
