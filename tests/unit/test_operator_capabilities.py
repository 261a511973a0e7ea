"""Which back ends run and serve jobs: by configuration and by what the cluster has."""

from __future__ import annotations

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
        ({}, BOTH, ("job", "kserve")),
        ({"pipelines": {"kubeflow": PACKAGE}}, BOTH, ("kubeflow", "kserve")),
        ({"pipelines": {"kubeflow": PACKAGE}}, PLAIN, ("job", "deployment")),
        ({"pipelines": {"backend": "job"}, "serving": {"backend": "deployment"}}, BOTH, ("job", "deployment")),
        ({"pipelines": {"backend": "kubeflow", "kubeflow": PACKAGE}}, PLAIN, ("kubeflow", "deployment")),
        ({"lake": BUCKET}, BOTH, ("job", "kserve")),
        ({"lake": BUCKET}, PLAIN, ("job", "deployment")),
    ],
    ids=[
        "a plain cluster gets the plain ones",
        "without a compiled pipeline kubeflow is left alone",
        "a cluster with both uses both",
        "a compiled pipeline alone makes no kubeflow",
        "the configuration is stronger than the cluster",
        "kubeflow may be outside the cluster",
        "kserve serves from buckets",
        "a deployment does too",
    ],
)
def test_the_back_ends_are(configured: dict[str, object], found: Capabilities, expected: tuple[str, str]) -> None:
    chosen = choose_backends(Settings.model_validate(configured), found, kserve_types=True)
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
    chosen = choose_backends(Settings.model_validate(configured), found, kserve_types=kserve_types)
    (fault,) = [each for each in (chosen.pipelines, chosen.serving) if isinstance(each, Fault)]
    assert fault.reason == reason
    assert remedy in fault.message


def test_without_kserve_s_types_auto_takes_a_deployment() -> None:
    assert choose_backends(Settings(), BOTH, kserve_types=False).serving == "deployment"
