"""Which back ends run and serve jobs: by configuration, by what the cluster has and by what is installed."""

from __future__ import annotations

import subprocess
import sys

import pytest

from presage_operator.capabilities import choose_backends
from presage_operator.desired.fault import Fault
from presage_operator.observed import Capabilities
from presage_operator.settings import Settings

PLAIN = Capabilities()
BOTH = Capabilities(kserve=True, kubeflow=True)
PACKAGE = {"package": "/etc/presage/pipeline.yaml"}
BUCKET = {"s3": {"uri": "s3://presage"}}


@pytest.mark.parametrize(
    ("configured", "found", "expected"),
    [
        ({}, PLAIN, ("job", "deployment")),
        ({}, BOTH, ("kubeflow", "kserve")),
        ({"pipelines": {"kubeflow": PACKAGE}}, PLAIN, ("job", "deployment")),
        ({"pipelines": {"backend": "job"}, "serving": {"backend": "deployment"}}, BOTH, ("job", "deployment")),
        ({"pipelines": {"backend": "kubeflow", "kubeflow": PACKAGE}}, PLAIN, ("kubeflow", "deployment")),
        ({"lake": BUCKET}, BOTH, ("kubeflow", "kserve")),
        ({"lake": BUCKET}, PLAIN, ("job", "deployment")),
    ],
    ids=[
        "a plain cluster gets the plain ones",
        "a cluster with both uses both",
        "a compiled pipeline alone makes no kubeflow",
        "the configuration is stronger than the cluster",
        "kubeflow may be outside the cluster",
        "kserve serves from buckets",
        "a deployment does too",
    ],
)
def test_the_back_ends_are(configured: dict[str, object], found: Capabilities, expected: tuple[str, str]) -> None:
    chosen = choose_backends(Settings.model_validate(configured), found, kserve_types=True, pipeline=True)
    assert (chosen.pipelines, chosen.serving) == expected


@pytest.mark.parametrize(
    ("configured", "found", "kserve_types", "reason", "remedy"),
    [
        ({"serving": {"backend": "kserve"}}, PLAIN, True, "BackendMissing", "Install KServe"),
        ({"serving": {"backend": "kserve"}}, BOTH, False, "BackendMissing", "extra kserve"),
        ({"pipelines": {"backend": "kubeflow"}}, BOTH, True, "BackendMissing", "pipelines.kubeflow.package"),
        (
            {"pipelines": {"backend": "kubeflow", "kubeflow": PACKAGE | {"endpoint": ""}}},
            BOTH,
            True,
            "BackendMissing",
            "pipelines.kubeflow.endpoint",
        ),
    ],
    ids=[
        "kserve is chosen and not there",
        "kserve is chosen and its types are not installed",
        "kubeflow is chosen and has nothing to run",
        "kubeflow is chosen and has no address",
    ],
)
def test_what_a_chosen_back_end_lacks_is_said_with_a_remedy(
    configured: dict[str, object], found: Capabilities, kserve_types: bool, reason: str, remedy: str
) -> None:
    chosen = choose_backends(Settings.model_validate(configured), found, kserve_types=kserve_types, pipeline=False)
    (fault,) = [each for each in (chosen.pipelines, chosen.serving) if isinstance(each, Fault)]
    assert fault.reason == reason
    assert remedy in fault.message


def test_without_kserve_s_types_auto_takes_a_deployment() -> None:
    assert choose_backends(Settings(), BOTH, kserve_types=False, pipeline=True).serving == "deployment"


@pytest.mark.parametrize(("configured", "expected"), [({}, "job"), ({"pipelines": {"kubeflow": PACKAGE}}, "kubeflow")])
def test_without_an_installed_pipeline_auto_needs_a_given_one(configured: dict[str, object], expected: str) -> None:
    settings = Settings.model_validate(configured)
    assert choose_backends(settings, BOTH, kserve_types=True, pipeline=False).pipelines == expected


def test_the_pipeline_is_found_without_an_import_of_its_package() -> None:
    code = "import sys; from presage_operator.capabilities import shipped_pipeline as s; s(); print(*sys.modules)"
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert {"presage_pipelines", "kfp"} & set(ran.stdout.split()) == set()
