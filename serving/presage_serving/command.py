"""The command `presage serve`."""

from __future__ import annotations

from typing import Annotated

import typer

from presage.cli.faults import faults_end_the_command
from presage.errors import MissingExtraError


def serve(
    model_name: Annotated[
        str,
        typer.Option(
            "--model-name",
            "--model_name",
            envvar="PRESAGE_MODEL_NAME",
            help="Name under which the model is served.",
            show_default=False,
        ),
    ],
    model_dir: Annotated[
        str,
        typer.Option(
            "--model-dir",
            "--model_dir",
            envvar="PRESAGE_MODEL_DIR",
            help="Directory of a run, or s3://bucket/prefix: its bundle and its newest forecast.",
            show_default=False,
        ),
    ],
    host: Annotated[str, typer.Option("--host", help="Address to listen on.")] = "0.0.0.0",  # noqa: S104  # a container's
    port: Annotated[
        int,
        typer.Option(
            "--port", "--http_port", envvar="PRESAGE_PORT", min=0, max=65535, help="Port; 0 for any that is free."
        ),
    ] = 8080,
) -> None:
    """Serve a run's newest forecast over KServe's protocols: v1 and Open Inference v2."""
    if not model_name or {"/", ":"} & set(model_name):
        raise typer.BadParameter("a name without slashes and colons is needed", param_hint="--model-name")
    with faults_end_the_command():
        try:
            from presage_serving.process import run_server  # noqa: PLC0415  # an extra brings what it needs
        except ModuleNotFoundError as error:
            if str(error.name).startswith("presage"):
                raise
            raise MissingExtraError(
                f"this command needs the Python package {error.name}, which is not installed.",
                "Install what serving needs: pip install 'presage[serving]'.",
            ) from error
        run_server(model_name, model_dir, host, port)
