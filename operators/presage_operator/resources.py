"""The kinds of objects that the operator reads and writes."""

from __future__ import annotations

from presage.spec.crd import GROUP, PLURAL, VERSION
from presage_operator.client import Resource

PREDICTION_JOBS = Resource(GROUP, VERSION, PLURAL)
RUNS = Resource("batch", "v1", "jobs")
PODS = Resource("", "v1", "pods")
CLAIMS = Resource("", "v1", "persistentvolumeclaims")
DEPLOYMENTS = Resource("apps", "v1", "deployments")
SERVICES = Resource("", "v1", "services")
AUTOSCALERS = Resource("autoscaling", "v2", "horizontalpodautoscalers")
DISRUPTION_BUDGETS = Resource("policy", "v1", "poddisruptionbudgets")
INFERENCE_SERVICES = Resource("serving.kserve.io", "v1beta1", "inferenceservices")
SCHEDULED_WORKFLOWS = Resource("kubeflow.org", "v1beta1", "scheduledworkflows")
EVENTS = Resource("events.k8s.io", "v1", "events")

SERVER_KINDS = {
    "Deployment": DEPLOYMENTS,
    "Service": SERVICES,
    "HorizontalPodAutoscaler": AUTOSCALERS,
    "PodDisruptionBudget": DISRUPTION_BUDGETS,
    "InferenceService": INFERENCE_SERVICES,
}
