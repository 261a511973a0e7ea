"""Brings the charts' images to a site's own registry, and pins them to what that registry has.

python charts/mirror.py copy --to mirror.example.com/platform           from where they are published
python charts/mirror.py save FOLDER                                     onto a disk, where no line leads to the site
python charts/mirror.py load FOLDER --to mirror.example.com/platform    and from it
python charts/mirror.py lock --registry mirror.example.com/platform     their digests, as values for Helm

Names below the registry are those that charts ask for with `global.imageRegistry`. skopeo does the work, and is set up
as always: `skopeo login` for passwords, registries.conf and certs.d for registries with certificates of their own.
"""  # noqa: INP001 - a script

from __future__ import annotations

import argparse
import hashlib
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import takewhile
from pathlib import Path
from urllib.parse import quote, unquote

from images import Image, MirrorError, chart_images, parse_image, read_images

CHARTS = Path(__file__).parent
NOT_PUBLISHED = "not published: push it by `make images-publish`, or name its registry by --own-registry"

# A first part without dot and port is no host to skopeo and to container runtimes, but a name on Docker Hub.
_REGISTRY = re.compile(r"([a-z0-9-]*[.:][a-z0-9.:-]*|localhost)(/[a-z0-9]+([._-]+[a-z0-9]+)*)*", re.ASCII)
_PLATFORM = re.compile(r"all|[a-z]+/[a-z0-9]+(/[a-z0-9]+)?", re.ASCII)
_FATAL = re.compile(r'level=fatal msg="(?P<words>.*)"$', re.MULTILINE)


@dataclass(frozen=True)
class Skopeo:
    """How skopeo is called.

    Attributes:
        program: Its path.
        platform: `all`, or one as `linux/arm64`.
        retries: How often it tries again what may pass.
    """

    program: str
    platform: str
    retries: int

    def copy(self, source: str, target: str) -> str:
        """Copy an image, with its digest unchanged, and return that.

        Raises:
            MirrorError: It was not copied. A registry then has nothing new under its name, which an image gets last.
        """
        options = ("--override-os", "--override-arch", "--override-variant")
        chosen = () if self.platform == "all" else tuple(zip(options, self.platform.split("/"), strict=False))
        with tempfile.NamedTemporaryFile("r", encoding="ascii") as digest:
            words = ["--preserve-digests", "--digestfile", digest.name, *(() if chosen else ("--all",))]
            self._run(*(word for option in chosen for word in option), "copy", *words, source, target)
            return digest.read().strip()

    def digest(self, reference: str) -> str:
        """Return the digest of what a registry has under a name: that of its manifest, or of its list of platforms.

        Raises:
            MirrorError: The registry did not give it.
        """
        return f"sha256:{hashlib.sha256(self._run('inspect', '--raw', f'docker://{reference}')).hexdigest()}"

    def _run(self, *words: str) -> bytes:
        command = [self.program, *words, "--retry-times", str(self.retries)]
        done = subprocess.run(command, capture_output=True, check=False)  # noqa: S603 - no shell reads it
        if done.returncode:
            said = done.stderr.decode(errors="replace").strip()
            fatal = _FATAL.search(said)
            raise MirrorError(fatal["words"].replace('\\"', '"') if fatal else said or f"exit code {done.returncode}")
        return done.stdout


def copy(options: argparse.Namespace, skopeo: Skopeo) -> int:
    """Copy images from their registries to another; return how many were not."""

    def one(image: Image, source: str) -> str:
        return skopeo.copy(f"docker://{source}", f"docker://{image.below(options.to)}")

    return _each(_sources(options), one, left_out=NOT_PUBLISHED)


def save(options: argparse.Namespace, skopeo: Skopeo) -> int:
    """Copy images from their registries to a folder; return how many were not."""

    def one(image: Image, source: str) -> str:
        final = options.folder / quote(str(image), safe="")
        # Beside its name until it is whole, so that an interruption leaves no half of it under the name.
        with tempfile.TemporaryDirectory(dir=options.folder, prefix=".part-") as scratch:
            made = Path(scratch) / "image"
            digest = skopeo.copy(f"docker://{source}", f"dir:{made}")
            if final.exists():
                final.rename(Path(scratch) / "before")
            made.rename(final)
        return digest

    sources = _sources(options)
    options.folder.mkdir(parents=True, exist_ok=True)
    return _each(sources, one, left_out=NOT_PUBLISHED)


def load(options: argparse.Namespace, skopeo: Skopeo) -> int:
    """Copy images from a folder that `save` wrote to a registry; return how many were not."""
    # Not the hidden ones, which an interrupted `save` may have left.
    folders = sorted(path.parent for path in options.folder.glob("[!.]*/manifest.json"))
    if not folders:
        raise MirrorError(f"{options.folder} holds no images: `save` writes them.")

    def one(image: Image, folder: str) -> str:
        return skopeo.copy(f"dir:{folder}", f"docker://{image.below(options.to)}")

    return _each({parse_image(unquote(folder.name)): str(folder) for folder in folders}, one)


def lock(options: argparse.Namespace, skopeo: Skopeo) -> int:
    """Write the digests that a registry has as values for Helm, all or none; return how many it did not give."""
    wanted = {image.name for image in read_images(options.images)}
    named = tuple(chart_images(options.chart))
    digests: dict[Image, str] = {}

    def one(image: Image, reference: str) -> str:
        digests[image] = skopeo.digest(reference)
        return digests[image]

    places = {image: image.below(options.registry) if image.name in wanted else None for _, image in named}
    if missing := _each(places, one, left_out=f"not in {options.images}"):
        sys.stderr.write(f"{options.output} is not written: it has the digests of all images, or is not made.\n")
        return missing
    text = lock_text(options.registry, [(path, image, digests[image]) for path, image in named if image in digests])
    options.output.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=options.output.parent, prefix=".part-") as scratch:
        made = Path(scratch) / "lock"
        made.write_text(text, encoding="utf-8")
        made.replace(options.output)
    sys.stdout.write(f"wrote {options.output}\n")
    return 0


def lock_text(registry: str, locked: Sequence[tuple[tuple[str, ...], Image, str]]) -> str:
    """Return the values that pin images.

    Args:
        registry: Where they are pulled from.
        locked: Path of each in the values, the image, and its digest; those of one map stand together.
    """
    lines = [
        f"# Generated by `python charts/mirror.py lock --registry {registry}`; do not edit. The digests are what that",
        "# registry had. A digest takes the tag's place: make the file anew with each upgrade of the chart.",
        "global:",
        f"  imageRegistry: {registry}",
    ]
    before: tuple[str, ...] = ()
    for path, image, digest in locked:
        shared = sum(1 for _ in takewhile(lambda keys: keys[0] == keys[1], zip(before, path, strict=False)))
        lines += [f"{'  ' * depth}{path[depth]}:" for depth in range(shared, len(path))]
        indent = "  " * len(path)
        lines += [f"{indent}# {image}", f"{indent}digest: {digest}"]
        before = path
    return "\n".join(lines) + "\n"


def _sources(options: argparse.Namespace) -> dict[Image, str | None]:
    """Return where each image of the list is copied from; None for one of the project's own that nobody publishes."""
    own = options.own_registry
    return {
        image: (image.below(own) if own else None) if image.own else str(image) for image in read_images(options.images)
    }


def _each(places: Mapping[Image, str | None], act: Callable[[Image, str], str], *, left_out: str = "") -> int:
    """Act on each image that has a place, tell how it went, go on after a failure; return how many failed."""
    width = max(len(str(image)) for image in places)
    failed = 0
    for image, place in places.items():
        word, detail = "left out", left_out
        if place is not None:
            try:
                word, detail = "done", act(image, place)
            except MirrorError as error:
                word, detail = "failed", str(error)
                failed += 1
        sys.stdout.write(f"{word:<8}  {image!s:<{width}}  {detail}\n")
        sys.stdout.flush()
    if failed:
        sys.stderr.write(f"{failed} of {len(places)} images failed.\n")
    return failed


def _registry(text: str) -> str:
    if not _REGISTRY.fullmatch(text):
        raise argparse.ArgumentTypeError(
            f"{text!r} is no registry: write its host with a dot or a port, then its path if any, without https://"
        )
    return text


def _platform(text: str) -> str:
    if not _PLATFORM.fullmatch(text):
        raise argparse.ArgumentTypeError(f"{text!r} is no platform: write all, or one such as linux/arm64")
    return text


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python charts/mirror.py", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    commands = parser.add_subparsers(required=True, metavar="copy|save|load|lock")

    def command(act: Callable[[argparse.Namespace, Skopeo], int], meaning: str) -> argparse.ArgumentParser:
        one = commands.add_parser(act.__name__, help=meaning, description=f"{meaning.capitalize()}.")
        one.add_argument("--retries", type=int, default=3, help="tries after a failure that may pass; default: 3")
        one.set_defaults(act=act, platform="all")
        return one

    copying = command(copy, "copy images from their registries to another")
    saving = command(save, "copy images from their registries to a folder")
    loading = command(load, "copy images from such a folder to a registry")
    locking = command(lock, "write the digests that a registry has, as values for Helm")
    for one in (copying, loading):
        one.add_argument("--to", type=_registry, required=True, help="the registry, and a path in it")
    for one in (saving, loading):
        one.add_argument("folder", type=Path, help="the folder")
    for one in (copying, saving):
        one.add_argument("--platform", type=_platform, default="all", help="one such as linux/arm64; default: all")
        one.add_argument("--own-registry", type=_registry, help="registry that has the images presage/...")
    for one in (copying, saving, locking):
        one.add_argument("--images", type=Path, default=CHARTS / "images.txt", help="list of the images, one a line")
    locking.add_argument("--registry", type=_registry, required=True, help="the registry, and a path in it")
    locking.add_argument("--chart", type=Path, default=CHARTS / "presage", help="folder of the chart")
    locking.add_argument("-o", "--output", type=Path, default=CHARTS / "presage" / "images-lock.yaml", help="the file")
    return parser


def main(arguments: Sequence[str] | None = None) -> int:
    """Do what the command line asks for; return the exit code: 1 where an image failed."""
    options = _parser().parse_args(arguments)
    program = shutil.which("skopeo")
    if program is None:
        sys.stderr.write("There is no program skopeo: install it, such as by `apt-get install skopeo`.\n")
        return 1
    try:
        return 1 if options.act(options, Skopeo(program, options.platform, options.retries)) else 0
    except (MirrorError, OSError) as error:
        sys.stderr.write(f"{error}\n")
        return 1
    except KeyboardInterrupt:
        sys.stderr.write("Stopped. What is done stays; run it again for the rest.\n")
        return 130


if __name__ == "__main__":
    sys.exit(main())
