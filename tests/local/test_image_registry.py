"""Images for a site without a way out: real skopeo between real registries, and what Helm then asks for."""

from __future__ import annotations

import os
import re
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass, replace
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from threading import Event

import pytest
import yaml
from chart_case import PLATFORM, PROFILES, Scenario, containers, pod_templates
from conftest import lacking
from installs import ROOT
from servers.docker_registry import AMD64, ARM64, PROGRAM, DockerRegistry, docker_registry, push, skopeo_home
from servers.web import listening

MIRROR = ROOT / "charts" / "mirror.py"
DIGEST = re.compile(r"sha256:[0-9a-f]{64}")
LIST = ("redis:7.4", "quay.io/minio/minio:RELEASE.1", "prom/prometheus:v3")
CHART = """
apiVersion: v2
name: tiny
version: 0.1.0
appVersion: 2.0.0
"""
VALUES = """
image: {registry: "", repository: redis, tag: "7.4", digest: ""}
metrics:
  enabled: true
  image: {registry: quay.io, repository: minio/minio, tag: RELEASE.1, digest: ""}
"""


@dataclass(frozen=True)
class Site:
    """The world's registries, all of them one on loopback, and a site's own.

    Attributes:
        world: What docker.io and quay.io lead to.
        own: The site's.
        home: Where skopeo is told so.
        place: The site's registry, and a path in it that no other test has.
        folder: Of this test.
    """

    world: DockerRegistry
    own: DockerRegistry
    home: Path
    place: str
    folder: Path

    def run(self, *words: str | Path, code: int = 0) -> subprocess.CompletedProcess[str]:
        """Run the command, which tries nothing twice, and require its exit code."""
        with self.start(*words) as process:
            out, err = process.communicate(timeout=120)
        assert "Traceback" not in err
        assert process.returncode == code, err + out
        return subprocess.CompletedProcess(process.args, code, out, err)

    def start(self, *words: str | Path) -> subprocess.Popen[str]:
        """Start the command in a process group of its own."""
        first, *others = words
        return subprocess.Popen(
            [sys.executable, MIRROR, first, "--retries", "0", *others],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            cwd=self.folder,
            env=os.environ | {"HOME": str(self.home)},
            start_new_session=True,
        )

    def write_list(self, *images: str) -> Path:
        """Write a list of images."""
        path = self.folder / "images.txt"
        path.write_text("".join(f"{image}\n" for image in images), encoding="utf-8")
        return path

    def has(self, image: str) -> str | None:
        """Return the digest of an image, named without a registry, below the site's place."""
        repository, tag = image.split(":")
        return self.own.digest(f"{self.place.partition('/')[2]}/{repository}", tag)

    def published(self, image: str) -> str | None:
        """Return the digest of an image in the world."""
        repository, tag = world_name(image).split(":")
        return self.world.digest(repository, tag)


def world_name(image: str) -> str:
    """Return where the world's registry has an image, as Docker's own registry names it."""
    return image if "/" in image else f"library/{image}"


def publish(site: Site, *images: str, **how: object) -> None:
    """Push tiny images under the names that the world knows."""
    for image in images:
        push(site.home, f"{site.world.address}/{world_name(image)}", **how)


@pytest.fixture(scope="module")
def registries(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    """The world with a few images, and an empty registry of a site."""
    for program in ("skopeo", PROGRAM):
        if shutil.which(program) is None:
            lacking(f"no {program}; tests/system-packages.sh installs it")
    folder = tmp_path_factory.mktemp("registries")
    with ExitStack() as running:
        world, own = (running.enter_context(docker_registry(folder / name)) for name in ("world", "own"))
        locations = {"docker.io": world.address} | {name: f"{world.address}/{name}" for name in ("quay.io", "ghcr.io")}
        home = skopeo_home(folder / "home", locations | {one.address: one.address for one in (world, own)})
        site = Site(world, own, home, own.address, folder)
        publish(site, *LIST)
        publish(site, "single/platform:1", platforms=(AMD64,), form="v2s2")
        publish(site, "old/form:1", form="v2s2")
        yield site


@pytest.fixture
def site(registries: Site, tmp_path: Path) -> Site:
    """The registries, with a place and a folder for one test."""
    return replace(registries, place=f"{registries.own.address}/{tmp_path.name.replace('_', '-')}", folder=tmp_path)


@pytest.fixture
def chart(tmp_path: Path) -> Path:
    """A chart of two images."""
    folder = tmp_path / "tiny"
    folder.mkdir()
    (folder / "Chart.yaml").write_text(CHART, encoding="utf-8")
    (folder / "values.yaml").write_text(VALUES, encoding="utf-8")
    return folder


def rows(done: subprocess.CompletedProcess[str]) -> dict[str, tuple[str, str]]:
    """What the table says of each image: the first column and the last."""
    parts = (re.split(r"  +", line, maxsplit=2) for line in done.stdout.splitlines() if not line.startswith("wrote "))
    return {image: (word, detail) for word, image, detail in parts}


def test_an_image_is_copied_under_its_name_with_all_platforms_and_the_same_digest(site: Site) -> None:
    images = (*LIST, "single/platform:1", "old/form:1")
    done = site.run("copy", "--to", site.place, "--images", site.write_list("# a site's own list", "", *images))
    assert rows(done) == {image: ("done", site.published(image)) for image in images}
    for image in images:
        assert site.has(image.removeprefix("quay.io/")) == site.published(image) is not None


def test_one_platform_of_a_list_is_copied_alone(site: Site) -> None:
    listed = site.write_list("redis:7.4")
    for platform in (AMD64, ARM64):
        done = site.run("copy", "--to", f"{site.place}/{platform}", "--platform", platform, "--images", listed)
        ((_, digest),) = rows(done).values()
        raw = subprocess.run(
            ["skopeo", "inspect", "--config", f"docker://{site.place}/{platform}/redis@{digest}"],
            env=os.environ | {"HOME": str(site.home)},
            capture_output=True,
            check=True,
        )
        assert yaml.safe_load(raw.stdout)["architecture"] == platform.removeprefix("linux/")
        assert digest != site.published("redis:7.4")


def test_an_image_that_is_missing_fails_alone_and_by_name(site: Site) -> None:
    listed = site.write_list("redis:7.4", "redis:7.5", "nobody/nothing:1", "prom/prometheus:v3")
    done = site.run("copy", "--to", site.place, "--images", listed, code=1)
    assert {image: word for image, (word, _) in rows(done).items()} == {
        "redis:7.4": "done",
        "redis:7.5": "failed",
        "nobody/nothing:1": "failed",
        "prom/prometheus:v3": "done",
    }
    assert "manifest unknown" in rows(done)["redis:7.5"][1]
    assert done.stderr == "2 of 4 images failed.\n"
    assert site.has("redis:7.5") is None


def test_the_projects_own_images_are_left_out_until_their_registry_is_named(site: Site) -> None:
    listed = site.write_list("redis:7.4", "presage/steps:0.1.0")
    done = site.run("copy", "--to", site.place, "--images", listed)
    assert rows(done)["presage/steps:0.1.0"][0] == "left out"
    assert "make images-publish" in rows(done)["presage/steps:0.1.0"][1]
    assert site.has("presage/steps:0.1.0") is None
    built = f"{site.world.address}/team"
    push(site.home, f"{built}/presage/steps:0.1.0")
    done = site.run("copy", "--to", site.place, "--images", listed, "--own-registry", built)
    assert rows(done)["presage/steps:0.1.0"] == ("done", site.has("presage/steps:0.1.0"))


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("redis", "line 2: 'redis' names no image"),
        ("redis:7.4@sha256:" + "0" * 64, "names no image: write it as NAME:TAG"),
        ("Redis:7.4", "'Redis:7.4' names no image"),
        ("https://quay.io/minio/minio:1", "names no image"),
        ("quay.io/prom/prometheus:v3", "prom/prometheus:v3 and quay.io/prom/prometheus:v3 would both be"),
    ],
)
def test_a_list_that_does_not_name_images_is_refused_before_the_first_copy(site: Site, line: str, words: str) -> None:
    listed = site.write_list("prom/prometheus:v3", line)
    done = site.run("copy", "--to", site.place, "--images", listed, code=1)
    assert words in done.stderr
    assert done.stdout == ""


@pytest.mark.parametrize("to", ["https://mirror.example.com", "mirror", "mirror.example.com/Presage", "a.b/c:1", ""])
def test_a_place_that_is_no_registry_is_refused(site: Site, to: str) -> None:
    done = site.run("copy", "--to", to, "--images", site.write_list("redis:7.4"), code=2)
    assert "is no registry: write its host with a dot or a port" in done.stderr


def test_a_list_that_is_not_there_or_empty_is_told(site: Site) -> None:
    assert "cannot be read" in site.run("copy", "--to", site.place, "--images", "none.txt", code=1).stderr
    empty = site.write_list("# nothing")
    assert f"{empty} names no image." in site.run("copy", "--to", site.place, "--images", empty, code=1).stderr


def test_a_registry_that_goes_in_the_middle_leaves_nothing_half_there_and_a_second_run_brings_the_rest(
    site: Site,
) -> None:
    images = tuple(f"many/image:{number}" for number in range(8))
    publish(site, *images, platforms=(AMD64,))
    listed = site.write_list(*images)
    with docker_registry(site.folder / "mirror") as mirror:
        home = skopeo_home(site.folder / "home", {"docker.io": site.world.address, mirror.address: mirror.address})
        away = replace(site, home=home)
        with away.start("copy", "--to", mirror.address, "--images", listed) as process:
            assert process.stdout is not None
            first = process.stdout.readline()
            mirror.process.kill()
            out, err = process.communicate(timeout=120)
    assert first.startswith("done")
    assert process.returncode == 1
    assert "connection refused" in out
    told = [line.split()[0] for line in (first + out).splitlines()]
    assert len(told) == len(images)
    assert f"{told.count('failed')} of {len(images)} images failed." in err
    with docker_registry(site.folder / "mirror", mirror.port):
        for image, word in zip(images, told, strict=True):
            digest = mirror.digest(*image.split(":"))
            assert digest in ({site.published(image)} if word == "done" else {None, site.published(image)})
        done = away.run("copy", "--to", mirror.address, "--images", listed)
        assert rows(done) == {image: ("done", site.published(image)) for image in images}


def test_a_disk_brings_images_to_where_no_line_leads(site: Site) -> None:
    images = (*LIST, "single/platform:1", "old/form:1")
    disk = site.folder / "disk"
    for _ in range(2):
        done = site.run("save", disk, "--images", site.write_list(*images))
        assert rows(done) == {image: ("done", site.published(image)) for image in images}
    assert len(list(disk.iterdir())) == len(images)
    (disk / "lost+found").mkdir()
    away = replace(site, home=skopeo_home(site.folder / "home", {site.own.address: site.own.address}))
    done = away.run("load", disk, "--to", site.place)
    assert rows(done) == {image: ("done", site.published(image)) for image in images}
    for image in images:
        assert site.has(image.removeprefix("quay.io/")) == site.published(image)


def test_an_image_that_a_disk_has_damaged_does_not_get_its_name(site: Site) -> None:
    disk = site.folder / "disk"
    site.run("save", disk, "--images", site.write_list("single/platform:1", "redis:7.4"))
    (damaged,) = disk.glob("single*")
    manifest = yaml.safe_load((damaged / "manifest.json").read_text(encoding="utf-8"))
    layer = damaged / manifest["layers"][0]["digest"].removeprefix("sha256:")
    content = bytearray(layer.read_bytes())
    content[20] ^= 1
    layer.write_bytes(content)
    # To a registry that has none of its layers, so that they must be sent.
    with docker_registry(site.folder / "mirror") as mirror:
        away = replace(site, home=skopeo_home(site.folder / "home", {mirror.address: mirror.address}))
        done = away.run("load", disk, "--to", mirror.address, code=1)
        assert {image: word for image, (word, _) in rows(done).items()} == {
            "redis:7.4": "done",
            "single/platform:1": "failed",
        }
        assert mirror.digest("single/platform", "1") is None
        assert mirror.digest("redis", "7.4") == site.published("redis:7.4")


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGKILL, -signal.SIGKILL)])
def test_a_save_that_is_stopped_leaves_no_image_behind(site: Site, number: signal.Signals, code: int) -> None:
    asked, over = Event(), Event()

    class Silent(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            asked.set()
            over.wait(60)

    disk = site.folder / "disk"
    with listening(Silent) as url:
        address = url.removeprefix("http://")
        waiting = replace(site, home=skopeo_home(site.folder / "home", {address: address}))
        with waiting.start("save", disk, "--images", site.write_list(f"{address}/slow:1")) as process:
            assert asked.wait(60)
            os.killpg(process.pid, number)
            _, err = process.communicate(timeout=60)
        over.set()
    assert "Traceback" not in err
    assert process.returncode == code
    assert "holds no images" in site.run("load", disk, "--to", site.place, code=1).stderr


def test_a_lock_has_the_digests_that_the_registry_tells(site: Site, chart: Path) -> None:
    listed = site.write_list(*LIST)
    site.run("copy", "--to", site.place, "--images", listed)
    words = ("lock", "--registry", site.place, "--images", listed, "--chart", chart, "-o", "lock.yaml")
    site.run(*words)
    text = (site.folder / "lock.yaml").read_text(encoding="utf-8")
    assert text.startswith(f"# Generated by `python charts/mirror.py lock --registry {site.place}`; do not edit.")
    assert yaml.safe_load(text) == {
        "global": {"imageRegistry": site.place},
        "image": {"digest": site.published("redis:7.4")},
        "metrics": {"image": {"digest": site.published("quay.io/minio/minio:RELEASE.1")}},
    }
    assert "# quay.io/minio/minio:RELEASE.1\n" in text
    site.run(*words)
    assert (site.folder / "lock.yaml").read_text(encoding="utf-8") == text


def test_a_lock_is_not_written_without_every_digest(site: Site, chart: Path) -> None:
    listed = site.write_list(*LIST)
    site.run("copy", "--to", site.place, "--images", site.write_list("redis:7.4"))
    site.write_list(*LIST)
    lock = site.folder / "lock.yaml"
    lock.write_text("what was there", encoding="utf-8")
    words = ("lock", "--images", listed, "--chart", chart, "-o", lock)
    done = site.run(*words, "--registry", site.place, code=1)
    assert rows(done)["redis:7.4"] == ("done", site.published("redis:7.4"))
    assert "manifest unknown" in rows(done)["quay.io/minio/minio:RELEASE.1"][1]
    assert f"{lock} is not written" in done.stderr
    done = site.run(*words, "--registry", "127.0.0.1:1", code=1)
    assert "connection refused" in done.stdout
    assert lock.read_text(encoding="utf-8") == "what was there"


def test_a_lock_leaves_out_what_the_list_leaves_out(site: Site, chart: Path) -> None:
    listed = site.write_list("redis:7.4")
    site.run("copy", "--to", site.place, "--images", listed)
    done = site.run("lock", "--registry", site.place, "--images", listed, "--chart", chart, "-o", "lock.yaml")
    assert rows(done)["quay.io/minio/minio:RELEASE.1"] == ("left out", f"not in {listed}")
    assert "metrics" not in yaml.safe_load((site.folder / "lock.yaml").read_text(encoding="utf-8"))


def test_a_chart_that_cannot_be_read_is_told(site: Site, chart: Path) -> None:
    words = ("lock", "--registry", site.place, "--images", site.write_list("redis:7.4"), "--chart")
    assert "none/Chart.yaml cannot be read" in site.run(*words, "none", code=1).stderr
    (chart / "values.yaml").write_text("image: {", encoding="utf-8")
    assert "values.yaml is no YAML" in site.run(*words, chart, code=1).stderr


def test_without_skopeo_the_command_says_what_to_install(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(site.folder))
    done = site.run("copy", "--to", site.place, code=1)
    assert done.stderr == "There is no program skopeo: install it, such as by `apt-get install skopeo`.\n"


def test_a_platform_that_is_mirrored_and_locked_asks_for_nothing_but_the_sites_images_by_digest(site: Site) -> None:
    images = (ROOT / "charts" / "images.txt").read_text(encoding="utf-8").split()
    own = tuple(image for image in images if image.startswith("presage/"))
    publish(site, *(image for image in images if image not in own), platforms=(AMD64,))
    for image in own:
        push(site.home, f"{site.place}/{image}", platforms=(AMD64,))
    site.run("copy", "--to", site.place)
    done = site.run("lock", "--registry", site.place, "-o", "lock.yaml")
    assert {word for word, _ in rows(done).values()} == {"done"}
    assert set(rows(done)) == set(images)
    objects = Scenario(PLATFORM, PROFILES / "full.yaml").render("--values", site.folder / "lock.yaml")
    asked = {one["image"] for _, template in pod_templates(objects) for one in containers(template)}
    (settings,) = (one for one in objects if one["kind"] == "ConfigMap" and "settings.yaml" in one.get("data", {}))
    chosen = yaml.safe_load(settings["data"]["settings.yaml"])["images"]
    asked |= {chosen["server"], chosen["steps"]}
    assert len(asked) > 10
    for reference in asked:
        place, name, digest = re.fullmatch(r"(127\.0\.0\.1:\d+/[^/]+)/(.+)@(sha256:[0-9a-f]{64})", reference).groups()
        assert place == site.place
        assert site.own.digest(f"{site.place.partition('/')[2]}/{name}", digest) == digest
