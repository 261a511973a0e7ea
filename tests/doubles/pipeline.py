"""A pipeline of one step with the parameters that the operator gives; kfp reads types that are no texts."""

from kfp import dsl


@dsl.container_component
def step(job: str, workdir: str, as_of: str, cadence: str):
    return dsl.ContainerSpec(image="presage/steps", command=["presage"], args=[job, workdir, as_of, cadence])


@dsl.pipeline(name="presage")
def pipeline(job: str, workdir: str, as_of: str, cadence: str):
    step(job=job, workdir=workdir, as_of=as_of, cadence=cadence)
