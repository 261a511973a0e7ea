"""The `restore` command."""

from __future__ import annotations

from contextlib import ExitStack, closing
from pathlib import Path
from typing import Annotated

import typer

from presage.cli.faults import faults_end_the_command
from presage.cli.output import progress_on_stderr
from presage.errors import JobError

_INTERRUPTED = "interrupted: nothing was kept; restore again"


def restore(
    place: Annotated[
        str,
        typer.Argument(
            metavar="PLACE[/TIME]", help="Where backups are; default: the newest whole one.", show_default=False
        ),
    ],
    to: Annotated[
        list[str] | None,
        typer.Option(
            "--to",
            metavar="[NAME=]PLACE",
            help="An empty place, s3://bucket/prefix or a folder, and what of the backup it gets.",
        ),
    ] = None,
    files: Annotated[
        Path | None, typer.Option("--files", metavar="FOLDER", help="An empty folder for the backup's single files.")
    ] = None,
) -> None:
    """Write a backup into empty places; every object is verified."""
    with faults_end_the_command(_INTERRUPTED):
        from presage.cli.places import named_places  # noqa: PLC0415  # loaded only when it is called
        from presage.steps.backup import FILES, open_backup  # noqa: PLC0415  # as above
        from presage.steps.bucket_store import BACKUPS, open_store  # noqa: PLC0415  # as above
        from presage.steps.recovery import restore as recover  # noqa: PLC0415  # as above

        if not (to or files):
            raise JobError("nothing to restore is named.", "Give --to NAME=PLACE, or --files FOLDER, or both.")
        locations = named_places(to or [])
        with ExitStack() as stack, progress_on_stderr() as progress:
            folder, held = open_backup(stack.enter_context(closing(open_store(place, prefix=BACKUPS))))
            targets = {name: stack.enter_context(closing(open_store(one))) for name, one in locations.items()}
            if files is not None:
                targets[FILES] = open_store(str(files))
            count = recover(folder, held, targets, progress=progress)
        typer.echo(f"restored {folder}: {count} objects, all verified")
