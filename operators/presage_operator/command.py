"""The command `presage operator`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from presage.cli.faults import faults_end_the_command


def operator(
    settings: Annotated[
        Path | None,
        typer.Option("--settings", envvar="PRESAGE_SETTINGS", help="The operator's configuration, YAML."),
    ] = None,
    namespace: Annotated[
        list[str] | None, typer.Option("--namespace", "-n", help="Namespace to watch; default: all of the cluster.")
    ] = None,
    no_leader_election: Annotated[
        bool, typer.Option("--no-leader-election", help="Work without a Lease, as the only replica.")
    ] = False,
    health_port: Annotated[
        int | None, typer.Option("--health-port", min=0, max=65535, help="Port of /healthz, /readyz and /metrics.")
    ] = None,
) -> None:
    """Reconcile the PredictionJobs of a cluster."""
    with faults_end_the_command():
        from presage_operator.main import run_operator  # noqa: PLC0415  # an extra brings what it needs
        from presage_operator.settings import load_settings  # noqa: PLC0415  # as above

        chosen = load_settings(settings)
        changes: dict[str, object] = {}
        if namespace:
            changes["namespaces"] = tuple(namespace)
        if health_port is not None:
            changes["health_port"] = health_port
        if no_leader_election:
            changes["leader_election"] = chosen.leader_election.model_copy(update={"enabled": False})
        run_operator(chosen.model_copy(update=changes))
