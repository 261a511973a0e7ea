"""The cluster that the tests of this folder share: the one of KUBECONFIG, or else a node of this machine."""

from __future__ import annotations

import os
import secrets
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

import pytest
from cluster.binaries import BuildError, binaries
from cluster.images import IMAGES, build_images
from cluster.images import lacking_tools as lacking_for_images
from cluster.installation import CHART, MEASURED, SYSTEM
from cluster.installation import IMAGES as CHART_IMAGES
from cluster.node import lacking_tools as lacking_for_node
from cluster.node import running_node
from cluster.platform_image import build_platform
from cluster.platform_image import lacking_tools as lacking_for_platform
from conftest import lacking

# One node serves all tests of this folder, so they run in one process: `make test-cluster`.
collect_ignore_glob = ["*"] if "PYTEST_XDIST_WORKER" in os.environ else []


def pytest_report_header() -> str:
    """Say which cluster the tests use."""
    if given := os.environ.get("KUBECONFIG"):
        return f"cluster: of {given}, which must have the images {', '.join(image.name for image in IMAGES)}"
    return "cluster: a node of this machine"


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Say what was measured."""
    for line in MEASURED:
        terminalreporter.write_line(line)


@dataclass(frozen=True)
class Cluster:
    """A running cluster that has the project's three images.

    Attributes:
        kubeconfig: How to reach it, as an administrator.
        programs: Where kubectl and helm are.
    """

    kubeconfig: Path
    programs: Path

    def kubectl(self, *arguments: str, text: str | None = None) -> str:
        """Return what kubectl says; `text` is its standard input.

        Raises:
            AssertionError: It failed.
        """
        return self._run("kubectl", *arguments, text=text)

    def helm(self, *arguments: str) -> str:
        """Return what helm says.

        Raises:
            AssertionError: It failed.
        """
        return self._run("helm", *arguments)

    def _run(self, program: str, *arguments: str, text: str | None = None) -> str:
        environment = os.environ | {"KUBECONFIG": str(self.kubeconfig)}
        command = [str(self.programs / program), *arguments]
        done = subprocess.run(command, env=environment, input=text, capture_output=True, text=True, check=False)
        assert done.returncode == 0, f"{program} {' '.join(arguments)}:\n{done.stdout}{done.stderr}"
        return done.stdout


@pytest.fixture(scope="session")
def cluster() -> Iterator[Cluster]:
    """A cluster with the images; one that KUBECONFIG names must have them already."""
    try:
        programs = binaries()
    except BuildError as error:
        lacking(str(error))
    if given := os.environ.get("KUBECONFIG"):
        yield Cluster(Path(given), programs)
        return
    if missing := sorted({*lacking_for_node(), *lacking_for_images(), *lacking_for_platform()}):
        lacking(f"a cluster of its own needs {', '.join(missing)}; KUBECONFIG names another")
    archives = build_images()
    platform = build_platform()
    with ExitStack() as stack:
        node = stack.enter_context(running_node())
        for image in IMAGES:
            node.load(archives[image])
        node.load(platform)
        yield Cluster(node.kubeconfig, programs)


@pytest.fixture
def namespace(cluster: Cluster) -> Iterator[str]:
    """A namespace of the test's own, under restricted Pod Security."""
    name = f"test-{secrets.token_hex(4)}"
    cluster.kubectl("create", "namespace", name)
    cluster.kubectl("label", "namespace", name, "pod-security.kubernetes.io/enforce=restricted")
    cluster.kubectl("wait", "--for=create", f"--namespace={name}", "serviceaccount/default", "--timeout=60s")
    yield name
    cluster.kubectl("delete", "namespace", name, "--wait=false")


@pytest.fixture(scope="session")
def installed(cluster: Cluster) -> Iterator[Cluster]:
    """The cluster with the chart installed in a namespace under restricted Pod Security."""
    cluster.kubectl("create", "namespace", SYSTEM)
    cluster.kubectl("label", "namespace", SYSTEM, "pod-security.kubernetes.io/enforce=restricted")
    cluster.helm("install", "presage", CHART, "--namespace", SYSTEM, *CHART_IMAGES, "--wait", "--timeout", "3m")
    yield cluster
    cluster.helm("uninstall", "presage", "--namespace", SYSTEM, "--wait", "--timeout", "2m")
    cluster.kubectl("delete", "crd", "predictionjobs.presage.dev", "--ignore-not-found")
    cluster.kubectl("delete", "namespace", SYSTEM, "--timeout=120s")


@pytest.fixture
def show(capsys: pytest.CaptureFixture[str]) -> Callable[[str, str], None]:
    """Print a command and what it said, past pytest's capture: the transcript is what this test is for."""

    def printed(command: str, said: str) -> None:
        with capsys.disabled():
            sys.stdout.write(f"\n$ {command}\n{said.rstrip()}\n")

    return printed
