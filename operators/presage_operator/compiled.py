"""A compiled pipeline as a file."""

from __future__ import annotations

from pathlib import Path

import yaml

from presage.errors import JobError
from presage_operator.desired.pipeline import executors
from presage_operator.errors import JsonObject


def load_pipeline(path: Path) -> JsonObject:
    """Return a compiled pipeline as `pipeline_spec` and `platform_spec`; the latter is empty where it has none.

    Raises:
        JobError: The file cannot be read, or is no compiled pipeline of container steps.
    """
    remedy = "Name a pipeline that the kfp compiler wrote in pipelines.kubeflow.package."
    try:
        documents = list(yaml.safe_load_all(path.read_text(encoding="utf-8")))
    except OSError as error:
        raise JobError(f"{path} cannot be read: {error.strerror}.", remedy) from error
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise JobError(f"{path} is not YAML: {error}.", remedy) from error
    loaded: JsonObject
    match documents:
        case [{"pipelineInfo": _, "root": _} as pipeline]:
            loaded = {"pipeline_spec": pipeline, "platform_spec": {}}
        case [{"pipelineInfo": _, "root": _} as pipeline, {"platforms": _} as platform]:
            loaded = {"pipeline_spec": pipeline, "platform_spec": platform}
        case _:
            raise JobError(f"{path} is no compiled pipeline.", remedy)
    for _ in executors(pipeline):
        pass
    return loaded
