"""The `backup` command."""

from __future__ import annotations

from contextlib import ExitStack, closing
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated

import typer
from pydantic import BaseModel

from presage.cli.faults import faults_end_the_command
from presage.cli.options import Form
from presage.cli.output import Output, emit, note, progress_on_stderr

_INTERRUPTED = "interrupted: there is no new backup; the next one removes what this one left"

From = Annotated[
    list[str],
    typer.Argument(
        metavar="[NAME=]FROM...",
        help="Places to copy, s3://bucket/prefix or a folder, by their names in the backup; default: the last part.",
        show_default=False,
    ),
]


class BackupSummary(BaseModel):
    """What the command made.

    Attributes:
        place: Where the backup is.
        created_at: When it was begun, UTC.
        objects: Number of its objects.
        bytes: Their bytes.
        places: Names of the places that it holds; single files are `files`.
    """

    place: str
    created_at: datetime
    objects: int
    bytes: int
    places: tuple[str, ...]


def backup(  # noqa: PLR0917  # its arguments are options
    places: From,
    to: Annotated[
        str, typer.Option("--to", metavar="PLACE", help="Where backups are: s3://bucket/prefix or a folder.")
    ],
    file: Annotated[
        list[Path] | None, typer.Option("--file", metavar="PATH", help="A file beside them, as a database's dump.")
    ] = None,
    keep: Annotated[int, typer.Option("--keep", min=0, help="Newest backups to keep; 0: all.")] = 0,
    pushgateway: Annotated[
        str | None,
        typer.Option(
            "--pushgateway",
            metavar="URL",
            envvar="PRESAGE_PUSHGATEWAY",
            help="Tell this Prometheus Pushgateway when it ended well.",
        ),
    ] = None,
    namespace: Annotated[
        str, typer.Option("--namespace", envvar="POD_NAMESPACE", help="Label `namespace` of what is pushed.")
    ] = "default",
    output: Form = Output.table,
) -> None:
    """Copy lakes and files into a backup of this moment; jobs may go on."""
    with faults_end_the_command(_INTERRUPTED):
        from presage.cli.places import named_places, require_apart  # noqa: PLC0415  # loaded only when it is called
        from presage.steps.backup import back_up, push_backup  # noqa: PLC0415  # as above
        from presage.steps.bucket_store import BACKUPS, open_store  # noqa: PLC0415  # as above
        from presage.steps.push import require_pushgateway  # noqa: PLC0415  # as above

        if pushgateway:
            require_pushgateway(pushgateway)
        locations = named_places(places)
        require_apart(locations, to)
        with ExitStack() as stack, progress_on_stderr() as progress:
            sources = {name: stack.enter_context(closing(open_store(one))) for name, one in locations.items()}
            place = stack.enter_context(closing(open_store(to, prefix=BACKUPS)))
            made = back_up(sources, file or (), place, now=datetime.now(UTC), keep=keep, progress=progress)
        if pushgateway:
            fault = push_backup(pushgateway, made, namespace=namespace, ended_at=datetime.now(UTC))
            if fault:
                note(f"warning: {fault} The backup is whole.")
        summary = BackupSummary(
            place=f"{to.rstrip('/')}/{made.time}",
            created_at=made.created_at,
            objects=made.objects,
            bytes=made.size,
            places=tuple(one.name for one in made.places),
        )
        if output is Output.table:
            typer.echo(f"backup {summary.place}: {summary.objects} objects, {summary.bytes} bytes")
        else:
            emit(summary, output)
