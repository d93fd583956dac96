# Licensed under the Apache License, Version 2.0; see the LICENSE file.
"""Bring the image of a batch's containers to the location where they run."""

from __future__ import annotations

import functools
from dataclasses import replace

from airflow_hybrid.config import bind
from airflow_hybrid.cwl.jobs.job import PendingJob
from airflow_hybrid.engine.placing.context import FragmentContext
from airflow_hybrid.engine.placing.places import Place
from airflow_hybrid.errors import UnsupportedError
from airflow_hybrid.model import LineageEntry
from airflow_hybrid.model.containers import ImageSource, ReadyImage
from airflow_hybrid.model.values import percent_encoded
from airflow_hybrid.printable import printable
from airflow_hybrid.schedulers.process import ProcessScheduler
from airflow_hybrid.sites.containers.images import ImageStorage, container_settings, ready_image
from airflow_hybrid.sites.files.mover import StageRequest, store_path


async def image_of(
    place: Place, job: PendingJob, context: FragmentContext, lineage: list[LineageEntry]
) -> ReadyImage | None:
    """Bring the image of the jobs' containers to the location; None: they run without.

    :raises UnsupportedError, SiteError: see :func:`airflow_hybrid.sites.containers.images.ready_image`.
    """
    source = _source(place, job)
    if source is None or own_image(place, job):
        return None
    # a binding's options are about the containers that steps ask for
    section = bind(context.spec.bindings, job.step_path).containers if job.image else None
    settings = place.containers if section is None else container_settings(section)
    archive = None
    location = None if source.pull or source.file else source.load or source.root
    if location and settings.runtime != "none":
        file = {
            "class": "File",
            "location": location if "://" in location else f"file://{percent_encoded(location)}",
        }
        archive = store_path(place.workdir, file)
        stage = functools.partial(context.mover.stage, [StageRequest.of(file, place.host, archive)])
        lineage.extend(await place.patiently(stage))
    storage = ImageStorage(place.workdir, place.queue.scheduler.name != ProcessScheduler.name, archive)
    ready = functools.partial(ready_image, place.host, source, settings, storage)
    image = await place.patiently(ready)
    if image is None:
        context.log.info(
            "%s: %s runs without its container (%s)", place.host.title, job.step_path, printable(source.title)
        )
    else:
        context.log.info(
            "%s: %s runs in %s (%s)", place.host.title, job.step_path, printable(source.title), image.runtime
        )
    return image


def own_image(place: Place, job: PendingJob) -> dict[str, str]:
    """The image of a job's DockerRequirement, as an option of a queue whose elements are containers themselves.

    :raises UnsupportedError: the image cannot be pulled.
    """
    source = job.image
    if source is None or not place.queue.makes_containers:
        return {}
    if source.pull:
        return {"image": source.pull}
    raise UnsupportedError(
        f"step {job.step_path} asks for {source.title}, but a pod's image is pulled from a registry",
        where=place.host.title,
        hint="push the image to a registry that the cluster can reach, and name it by `dockerPull`",
    )


def _source(place: Place, job: PendingJob) -> ImageSource | None:
    """The image that a job runs in: its own, else its deployment's; None if it may run without a container.

    :raises UnsupportedError: there is none, and the deployment requires one.
    """
    source = job.image or place.image
    if source is None and place.containers.image:
        source = ImageSource(pull=place.containers.image, required=True)
    if not place.containers.required or place.queue.makes_containers:
        return source
    if source is None:
        raise UnsupportedError(
            f"step {job.step_path} asks for no container, but jobs of this deployment run only in containers",
            where=place.host.title,
            hint="give the tool a DockerRequirement, or the deployment an image for such steps: "
            "`containers: {required: true, image: ...}`",
        )
    return replace(source, required=True)
