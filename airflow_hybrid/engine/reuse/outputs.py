# Licensed under the Apache License, Version 2.0; see the LICENSE file.
"""Outputs of jobs that ran before, in this DAG run or another: found, checked, and recorded (WorkReuse).

Only done on request. A job is looked up once it is built, because its key depends on what would run. Per batch, a
location runs one or two commands that list what is there and one that looks keys up. After a hit, two more compare the
sizes and checksums of outputs and inputs with the record. Nothing here fails a task: if a site does not answer, or the
answer does not match, the job runs.
"""

from __future__ import annotations

import functools
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from airflow_hybrid.config import Deployment, bind
from airflow_hybrid.cwl.jobs.job import PendingJob
from airflow_hybrid.cwl.jobs.outside import outside_of
from airflow_hybrid.cwl.jobs.reuse import document_asks, paths_of, reuse_key
from airflow_hybrid.cwl.locations.job_paths import JobPaths
from airflow_hybrid.engine.common import in_cwl_thread
from airflow_hybrid.engine.placing.context import FragmentContext
from airflow_hybrid.engine.placing.places import Place
from airflow_hybrid.engine.reuse.input_digests import InputDigests, checksums
from airflow_hybrid.engine.reuse.records import described, is_sound, tree_digest, with_locations
from airflow_hybrid.errors import SiteError
from airflow_hybrid.model import CwlObject, JobScript, JsonValue, LineageEntry, SiteFacts
from airflow_hybrid.model.containers import ReadyImage
from airflow_hybrid.model.jobs import Outside
from airflow_hybrid.sites.containers.identity import PINNED, identity_of
from airflow_hybrid.sites.reuse.index import reuse_index
from airflow_hybrid.sites.reuse.programs import surroundings_of


@dataclass(frozen=True)
class _KnownJob:
    """A job with everything that determines its outputs.

    :ivar contents: of its inputs, by location; ``used``: digests of the location's files and programs that it uses.
    """

    job: PendingJob
    key: str
    contents: Mapping[str, str]
    outside: Outside
    used: JsonValue


@dataclass
class ReuseLookup:
    """The result of a lookup.

    :ivar known: by job key, the jobs whose outputs may be recorded.
    :ivar outputs: job key -> outputs, for the jobs that need not run.
    """

    known: dict[str, _KnownJob] = field(default_factory=dict)
    outputs: dict[str, CwlObject] = field(default_factory=dict)
    lineage: list[LineageEntry] = field(default_factory=list)


class Reuse:
    """Looks up and records the jobs of one fragment."""

    def __init__(self, context: FragmentContext) -> None:
        self.context = context
        self.inputs = InputDigests(context.locations)

    async def find(
        self, place: Place, jobs: Sequence[PendingJob], scripts: Mapping[str, JobScript], image: ReadyImage | None
    ) -> ReuseLookup:
        """Find out which jobs of one step need not run.

        :param scripts: the jobs as they were built for the place, by key. :param image: of their containers.
        :raises CwlError: ``enableReuse`` of the document does not evaluate to true or false.
        """
        lookup = ReuseLookup()
        wanted = await in_cwl_thread(lambda: [job for job in jobs if self._asked(place, job)])
        if not wanted:
            return lookup
        try:
            lookup.known = await self._know(place, wanted, scripts, image)
            if self.context.spec.reuse and lookup.known:
                await self._look_up(place, lookup)
        except (SiteError, ValueError) as error:
            self.context.log.warning("%s: nothing can be reused: %s", place.host.title, error)
        return lookup

    # --- the request ------------------------------------------------------------------------------------------------

    def _asked(self, place: Place, job: PendingJob) -> bool:
        """Whether reuse is requested; the most specific setting takes precedence.

        From the most specific on: the binding, the deployment (or one that it wraps), the DAG run or the workflow,
        the document. If the document forbids reuse, nobody else can allow it.
        """
        document = document_asks(job)
        if document is False:
            return False
        answers = [bind(self.context.spec.bindings, job.step_path).reuse]
        answers += [deployment.reuse for deployment in self._deployments(place)]
        answers += [self.context.spec.reuse_asked, document]
        return next((answer for answer in answers if answer is not None), False)

    def _deployments(self, place: Place) -> list[Deployment]:
        """The place's deployment, and those that it wraps."""
        wrapped_deployments: list[Deployment] = []
        name: str | None = place.target.deployment
        while (
            name is not None
            and name in self.context.spec.deployments
            and len(wrapped_deployments) <= len(self.context.spec.deployments)
        ):
            wrapped_deployments.append(self.context.spec.deployments[name])
            name = wrapped_deployments[-1].wraps
        return wrapped_deployments

    # --- what determines a job's outputs ----------------------------------------------------------------------------

    async def _know(
        self,
        place: Place,
        jobs: Sequence[PendingJob],
        scripts: Mapping[str, JobScript],
        image: ReadyImage | None,
    ) -> dict[str, _KnownJob]:
        """The jobs that the task has not begun and that are known in full, by key."""
        container = await self._container(place, jobs[0], image)
        if container is None:
            return {}
        digests = await self.inputs.unsaid(jobs)

        def look_at_jobs() -> dict[str, tuple[Mapping[str, str], JobPaths, Outside]]:
            looks: dict[str, tuple[Mapping[str, str], JobPaths, Outside]] = {}
            for job in jobs:
                contents = self.inputs.contents(job, digests)
                if contents is None:
                    continue
                paths = paths_of(job, contents)
                outside = outside_of(scripts[job.key], paths)
                if outside is not None:
                    looks[job.key] = contents, paths, outside
            return looks

        looks = await in_cwl_thread(look_at_jobs)
        outsides = {name: outside for name, (_, _, outside) in looks.items()}
        task = place.task_directory(self.context.spec.identity)
        surroundings = await surroundings_of(place.host, outsides, task)
        settings = self._settings(place, jobs[0].step_path)

        def keys() -> dict[str, _KnownJob]:
            known = {}
            for job in jobs:
                # a job that this task has begun itself is taken over from its job directory, not from the index
                if job.key not in surroundings.used or job.key in surroundings.begun:
                    continue
                contents, paths, outside = looks[job.key]
                used = surroundings.used[job.key]
                place_says = {"container": container, "settings": settings, "used": used}
                key = reuse_key(job, scripts[job.key], contents, paths, place_says)
                if key is not None:
                    known[job.key] = _KnownJob(job, key, contents, outside, used)
            return known

        return await in_cwl_thread(keys)

    async def _container(self, place: Place, job: PendingJob, image: ReadyImage | None) -> str | None:
        """The image that the jobs run in; empty: no container; None: unknown."""
        if place.queue.makes_containers:
            pull = job.image.pull if job.image is not None else None
            return pull if pull is not None and PINNED.match(pull) else None
        return "" if image is None else await identity_of(place.host, image)

    def _settings(self, place: Place, step_path: str) -> JsonValue:
        """The hybrid file's settings for the place: template and native options, containers, deployments."""
        section = bind(self.context.spec.bindings, step_path).containers
        settings: list[Any] = [
            place.target.service,
            place.target.locations,
            place.options,
            repr(place.containers if section is None else section),
            [[deployment.type, deployment.config, deployment.templates] for deployment in self._deployments(place)],
        ]
        return json.loads(json.dumps(settings, sort_keys=True, default=repr))

    # --- the lookup -------------------------------------------------------------------------------------------------

    async def _look_up(self, place: Place, lookup: ReuseLookup) -> None:
        known = lookup.known
        index = reuse_index(place.host, place.workdir)
        keys = sorted({item.key for item in known.values()})
        task = place.task_directory(self.context.spec.identity)
        index_answer = await index.find(keys, task, place.patiently)
        records = {key: record for key, record in index_answer.records.items() if is_sound(record)}
        hits = {name: records[item.key] for name, item in known.items() if item.key in records}
        if not hits:
            return
        good = await self._unchanged(place, list(hits.values()))
        jobs = {name: known[name].job for name in hits}
        inputs_as_said = await self.inputs.as_said(list(jobs.values()))
        for name, record in hits.items():
            as_recorded = record["key"] in good and name in inputs_as_said
            if not as_recorded or set(record["outputs"]) != set(jobs[name].output_ports):
                continue
            lookup.outputs[name] = with_locations(record["outputs"], place)
            lookup.lineage.extend(
                LineageEntry(place.uri(path), place.uri(path), "reused", size, 0.0, checksum, reused=True)
                for path, size, checksum in record["files"]
            )

    async def _unchanged(self, place: Place, records: Sequence[Mapping[str, Any]]) -> set[str]:
        """Keys of the records whose outputs are unchanged."""
        files = {path for record in records for path, _, _ in record["files"]}
        trees = {path for record in records for path, _ in record["trees"]}
        ask = functools.partial(checksums, place.host, sorted(files), sorted(trees))
        facts: SiteFacts = await place.patiently(ask)
        good = set()
        for record in records:
            same = all(
                (fact := facts.files.get(path)) is not None and (fact.size, fact.checksum) == (size, checksum)
                for path, size, checksum in record["files"]
            )
            if same and all(tree_digest(facts, path) == digest for path, digest in record["trees"]):
                good.add(str(record["key"]))
        return good

    # --- recording --------------------------------------------------------------------------------------------------

    async def record(self, place: Place, lookup: ReuseLookup, outputs: Mapping[str, CwlObject]) -> None:
        """Record the outputs of successful jobs for others.

        A job is not recorded if an input or a program changed while it ran: it may have seen either version.
        """
        ended = {name: known for name, known in lookup.known.items() if name in outputs}
        if not ended:
            return
        try:
            same = await self._same_as_before(place, ended)
        except (SiteError, ValueError) as error:
            self.context.log.warning("%s: the finished jobs are not recorded for reuse: %s", place.host.title, error)
            return
        records = {}
        for name in same:
            record = described(outputs[name], place, self.context.spec.identity.directory)
            if record:
                records[ended[name].key] = record
        if records:
            reuse_index(place.host, place.workdir).record(records)

    async def _same_as_before(self, place: Place, ended: Mapping[str, _KnownJob]) -> list[str]:
        jobs = [known.job for known in ended.values()]
        contents = {name: known.contents for name, known in ended.items()}
        unchanged = await self.inputs.unchanged(jobs, contents)
        outsides = {name: known.outside for name, known in ended.items()}
        now = await surroundings_of(place.host, outsides, place.task_directory(self.context.spec.identity))
        return [name for name, known in ended.items() if name in unchanged and now.used.get(name) == known.used]
