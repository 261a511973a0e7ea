"""The `rollback` command of the plug-in."""

from __future__ import annotations

from typing import Annotated

import typer

from presage.cli.champions import print_champions
from presage.cli.faults import faults_end_the_command
from presage.cli.output import console, note
from presage.cli.rollback import Reason
from presage.errors import StopError
from presage_operator.kubectl.cluster import connect
from presage_operator.kubectl.options import Context, Kubeconfig, Name, Namespace
from presage_operator.kubectl.requests import ended_well, new_request
from presage_operator.kubectl.tables import champion_lines
from presage_operator.names import ROLLBACK_BY, ROLLBACK_FROM, ROLLBACK_REASON, ROLLBACK_REQUESTED_AT, ROLLBACK_TO


def rollback(
    name: Name,
    *,
    reason: Reason,
    to: Annotated[
        str | None,
        typer.Option(
            "--to", metavar="RUN", help="Run in the lake of the champion to bring back; default: the one before."
        ),
    ] = None,
    wait: Annotated[bool, typer.Option("--wait", help="Wait until it has ended; exit with 1 where it failed.")] = False,
    namespace: Namespace = None,
    context: Context = None,
    kubeconfig: Kubeconfig = None,
) -> None:
    """Bring an earlier champion back, and issue its next forecast."""
    with faults_end_the_command("interrupted: the rollback that was asked for goes on"):
        cluster = connect(kubeconfig, context, namespace)
        before = cluster.job(name)
        if not before.status.champions:
            raise StopError(
                f"{cluster.namespace}/{name} has no champion yet, so there is nothing to roll back.",
                f"See what ran: kubectl presage history {name} -n {cluster.namespace}.",
            )
        request, serving = new_request(), before.status.champions[0]
        job = cluster.annotate(
            name,
            {
                ROLLBACK_REQUESTED_AT: request,
                ROLLBACK_REASON: reason,
                ROLLBACK_TO: to,
                # What is seen now is what is to go, whatever takes its place before the rollback starts.
                ROLLBACK_FROM: serving.run,
                ROLLBACK_BY: cluster.user(),
            },
        )
        if not wait:
            typer.echo(
                f"{job.namespace}/{job.name}: asked for a rollback of {serving.model} ({serving.run}) at {request}"
            )
            return
        note(f"{job.namespace}/{job.name}: waiting for the rollback of {serving.model} ({serving.run})")
        ended_well(cluster, job, "Rollback", request, {one.name for one in before.status.runs})
        print_champions(champion_lines(cluster.job(name).status.champions[:2]), console())
