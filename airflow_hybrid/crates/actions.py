# Licensed under the Apache License, Version 2.0; see the LICENSE file.
"""What was done in a run, as a crate has it: an action for each job, each step, the workflow, and the engine."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from airflow_hybrid.crates.data import Data
from airflow_hybrid.crates.described import DescribedStep, Description
from airflow_hybrid.crates.entities import WORKFLOW_FILE, Entities, Properties, reference, references, times
from airflow_hybrid.crates.facts import JobKey, JobValues, RunFacts
from airflow_hybrid.errors import HybridError
from airflow_hybrid.model.jobs import JobState
from airflow_hybrid.model.records import JobRecord, job_name
from airflow_hybrid.printable import redacted

RUN_ACTION = "#run"
_COMPLETED, _FAILED = (f"http://schema.org/{name}ActionStatus" for name in ("Completed", "Failed"))
_DOCKER_IMAGE = "https://w3id.org/ro/terms/workflow-run#DockerImage"
_SECONDS, _NUMBER, _MEBIBYTE = (f"http://qudt.org/vocab/unit/{unit}" for unit in ("SEC", "NUM", "MebiBYTE"))


@dataclass
class _Span:
    """Times of actions that belong together."""

    began: float | None = None
    ended: float | None = None

    def include(self, record: JobRecord) -> None:
        if record.began is not None:
            self.began = record.began if self.began is None else min(self.began, record.began)
        if record.ended is not None:
            self.ended = record.ended if self.ended is None else max(self.ended, record.ended)


class Actions:
    """Adds the actions of a run.

    :ivar used: ids of the tools that have run.
    """

    def __init__(self, facts: RunFacts, description: Description, entities: Entities, data: Data) -> None:
        self._facts = facts
        self._description = description
        self._entities = entities
        self._data = data
        self.used: dict[str, None] = {}
        self._of_steps: dict[str, list[str]] = {}
        """by path of a step: ids of the actions of its jobs"""
        self._spans: dict[str, _Span] = {}
        """by path of a sub-workflow"""

    def add(self) -> None:
        """:raises HybridError: nothing is known of any job."""
        self._jobs()
        self._made_again()
        self._sub_workflows()
        if not self._of_steps:
            raise HybridError(
                f"nothing is known of any job of run {self._facts.run_id}: there is no record of it to be made",
                hint="jobs are recorded when they have ended: `airflow hybrid jobs` shows them",
            )
        self._run()
        self._engine()

    # --- jobs ---------------------------------------------------------------------------------------------------

    def _jobs(self) -> None:
        described = self._description.steps
        recorded: dict[JobKey, None] = {}
        for record in sorted(self._facts.jobs, key=lambda record: record.order):
            step = described.get(record.step)
            if step is None or step.tool.is_workflow:
                continue  # the document was changed since: what is not in it cannot be described
            key = (record.step, record.index)
            recorded[key] = None
            values = self._facts.values.get(key, JobValues())
            self._job(step, record.index, values, record)
        for (path, index), values in self._facts.values.items():
            # an expression runs no job of which there would be a record
            step = described.get(path)
            if (path, index) not in recorded and step is not None and not step.tool.is_workflow and values.outputs:
                self._job(step, index, values, None)

    def _job(self, step: DescribedStep, index: str, values: JobValues, record: JobRecord | None) -> None:
        succeeded = record is None or record.state is JobState.COMPLETED
        outputs = values.outputs if succeeded else None
        properties: Properties = {
            "name": f"Run of {job_name(step.path, index)}",
            "instrument": reference(step.tool.id),
            "object": references(self._data.values(values.inputs or {}, step.tool.inputs)),
            "result": references(self._data.values(outputs or {}, step.tool.outputs)),
        }
        identifier = self._entities.number("job")
        if record is not None:
            properties |= self._recorded(record, succeeded, identifier)
        if step.image and (record is None or not record.reused):
            properties["containerImage"] = reference(self._image(step.image))
        self._entities.add(identifier, "CreateAction", properties)
        self.used[step.tool.id] = None
        self._of_steps.setdefault(step.path, []).append(identifier)
        self._count(step.path, record)

    def _made_again(self) -> None:
        """An action for the jobs of each task that ran again; files say where the task that missed them was told."""
        for made in self._facts.replays.made_again:
            task_id = made.replay.task.partition("[")[0]
            step = self._description.steps.get(self._facts.steps_of_tasks.get(task_id, ""))
            files = [
                self._data.renewed(file.before, file.now, file.size, file.checksum)
                for file in self._facts.replays.files
                if (file.task, file.missed_by) == (made.replay.task, made.missed_by)
            ]
            properties: Properties = {
                "name": f"Made again: {made.replay.task}",
                "description": made.reason,
                "instrument": reference(WORKFLOW_FILE if step is None else step.tool.id),
                "result": references(dict.fromkeys(files)),
                "actionStatus": _COMPLETED,
            }
            identifier = self._entities.add(self._entities.number("made-again"), "CreateAction", properties)
            if step is not None:
                self.used[step.tool.id] = None
                self._of_steps.setdefault(step.path, []).append(identifier)

    def _recorded(self, record: JobRecord, succeeded: bool, identifier: str) -> Properties:
        properties: Properties = {
            **times(record.began, record.ended),
            "actionStatus": _COMPLETED if succeeded else _FAILED,
            "location": reference(self._place(record)),
        }
        if record.scheduler_id:
            properties["identifier"] = record.scheduler_id
        if record.exit_code is not None:
            properties["additionalProperty"] = reference(self._exit_code(record.exit_code))
        if not succeeded:
            code = "" if record.exit_code is None else f"exit code {record.exit_code}"
            parts = [part for part in (code, record.reason_and_rule) if part]
            properties["error"] = ": ".join(parts) or record.state.value
        notes = []
        if record.order > (1, 0):
            notes.append(f"attempt {record.attempt_name}")
        if record.reused:
            notes.append("did not run: its outputs are those of the same job of an earlier run")
        properties["description"] = "; ".join(notes)
        properties["resourceUsage"] = references(self._usage(record, identifier))
        return properties

    def _usage(self, record: JobRecord, identifier: str) -> Iterable[str]:
        known = (
            ("cpu_s", "processor time", record.cpu_s, _SECONDS),
            ("cores", "processors asked for", record.cores, _NUMBER),
            ("memory_mib", "memory asked for", record.memory_mib, _MEBIBYTE),
        )
        for name, shown, amount, unit in known:
            if amount is None:
                continue
            own = name == "cpu_s"  # the others are the same for many jobs
            value_id = f"{identifier}-{name}" if own else f"#{name}-{amount}"
            properties: Properties = {"name": shown, "propertyID": name, "value": str(amount), "unitCode": unit}
            yield self._entities.add(value_id, "PropertyValue", properties)

    def _exit_code(self, code: int) -> str:
        properties = {"name": "exit code", "propertyID": "exit_code", "value": str(code)}
        return self._entities.add(f"#exit-code-{code}", "PropertyValue", properties)

    def _place(self, record: JobRecord) -> str:
        """Where a job ran: a site, and its node if that is known."""
        site_name = f"{record.deployment}/{record.service}" if record.service else record.deployment
        description = f"location {record.location}" if record.location else ""
        site_key = "-".join(part for part in (record.deployment, record.service, record.location) if part)
        site = self._entities.add(f"#site-{_word(site_key)}", "Place", {"name": site_name, "description": description})
        if not record.node or record.node == record.location:
            return site
        node = {"name": record.node, "containedInPlace": reference(site)}
        return self._entities.add(f"#node-{_word(site_key)}-{_word(record.node)}", "Place", node)

    def _image(self, name: str) -> str:
        properties: Properties = {"additionalType": reference(_DOCKER_IMAGE), **image_parts(name)}
        return self._entities.add(f"#image-{_word(name)}", "ContainerImage", properties)

    # --- steps, sub-workflows, the run -------------------------------------------------------------------------

    def _count(self, path: str, record: JobRecord | None) -> None:
        """Note a job for the sub-workflows that its step is in."""
        above = path.rpartition("/")[0]
        while above:
            span = self._spans.setdefault(above, _Span())
            if record is not None:
                span.include(record)
            above = above.rpartition("/")[0]

    def _sub_workflows(self) -> None:
        for path, span in self._spans.items():
            step = self._description.steps.get(path)
            if step is None:
                continue
            properties = {
                "name": f"Run of {path}",
                "instrument": reference(step.tool.id),
                **times(span.began, span.ended),
            }
            identifier = self._entities.add(self._entities.number("workflow"), "CreateAction", properties)
            self.used[step.tool.id] = None
            self._of_steps.setdefault(path, []).append(identifier)

    def _run(self) -> None:
        facts, main = self._facts, self._description.main
        outputs = facts.outputs or {}
        properties: Properties = {
            "name": f"Run of {facts.name}",
            "identifier": f"{facts.dag_id} {facts.run_id}",
            "instrument": reference(WORKFLOW_FILE),
            **times(facts.began, facts.ended),
            "actionStatus": _COMPLETED if facts.succeeded else _FAILED,
            "object": references(self._data.values(facts.inputs, main.inputs)),
            "result": references(self._data.values(outputs, main.outputs)),
            "agent": reference(self._agent()) if facts.user else None,
        }
        self._entities.add(RUN_ACTION, "CreateAction", properties)

    def _agent(self) -> str:
        return self._entities.add(f"#user-{_word(self._facts.user)}", "Person", {"name": self._facts.user})

    def _engine(self) -> None:
        entities, facts = self._entities, self._facts
        programs = [
            entities.add(f"#{_word(name)}", "SoftwareApplication", {"name": name, "softwareVersion": version})
            for name, version in facts.versions.items()
        ]
        engine, *others = programs
        entities.all[engine]["softwareRequirements"] = references(others)
        entities.all[engine]["url"] = "https://pypi.org/project/airflow-hybrid/"
        steps = [self._step(path, actions) for path, actions in self._of_steps.items()]
        properties: Properties = {
            "name": f"Run of {facts.name} by {next(iter(facts.versions))}",
            "instrument": reference(engine),
            "object": references(steps),
            "result": reference(RUN_ACTION),
            **times(facts.began, facts.ended),
            "agent": reference(self._agent()) if facts.user else None,
        }
        entities.add("#engine-run", "OrganizeAction", properties)

    def _step(self, path: str, actions: list[str]) -> str:
        step = self._description.steps[path]
        properties: Mapping[str, Any] = {
            "name": f"Runs of step {path}",
            "instrument": reference(step.id),
            "object": references(actions),
        }
        return self._entities.add(self._entities.number("step-runs"), "ControlAction", properties)


def image_parts(image: str) -> dict[str, str]:
    """An image's name in its parts, as container engines read it.

    >>> image_parts("quay.io/biocontainers/samtools:1.20")
    {'registry': 'quay.io', 'name': 'biocontainers/samtools', 'tag': '1.20'}
    """
    rest, _, digest = redacted(image).removeprefix("docker://").partition("@")
    first, slash, behind = rest.partition("/")
    has_registry = bool(slash) and ("." in first or ":" in first or first == "localhost")
    name, _, tag = (behind if has_registry else rest).partition(":")
    parts = {"registry": first if has_registry else "docker.io", "name": name}
    if digest.startswith("sha256:"):
        parts["sha256"] = digest.removeprefix("sha256:")
    if tag or not digest:
        parts["tag"] = tag or "latest"
    return parts


def _word(text: str) -> str:
    """A text as part of an id."""
    return "".join(sign if sign.isascii() and (sign.isalnum() or sign in "._-") else f"~{ord(sign):x}" for sign in text)
