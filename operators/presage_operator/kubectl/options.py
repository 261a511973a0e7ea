"""The arguments and options that the plug-in's commands share."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Annotated

import typer

from presage.cli.output import Output

_OBJECT_NAME = re.compile(r"[a-z0-9]([a-z0-9.-]*[a-z0-9])?")


def object_name(text: str | None) -> str | None:
    """Return a name that an object may have; other text would lead a call to another place."""
    if text is not None and not _OBJECT_NAME.fullmatch(text):
        raise typer.BadParameter(f"{text!r} is no name that Kubernetes gives")
    return text


Name = Annotated[
    str, typer.Argument(metavar="NAME", help="The PredictionJob.", show_default=False, callback=object_name)
]
Namespace = Annotated[
    str | None,
    typer.Option(
        "--namespace", "-n", help="Namespace; default: the context's.", show_default=False, callback=object_name
    ),
]
Context = Annotated[
    str | None, typer.Option("--context", help="Context of the kubeconfig; default: the current.", show_default=False)
]
Kubeconfig = Annotated[
    Path | None, typer.Option("--kubeconfig", help="File to use; default: KUBECONFIG, else ~/.kube/config.")
]
Form = Annotated[Output, typer.Option("--output", "-o", help="Form of what goes to stdout.")]
