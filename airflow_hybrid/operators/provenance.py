# Licensed under the Apache License, Version 2.0; see the LICENSE file.
"""Which files a task's value may name. Data from XComs is input to be checked, not truth: a user who may edit XComs
must not be able to read any file of a site or of this machine through a later task.
"""

from __future__ import annotations

import json
import os
import posixpath
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

from airflow_hybrid import settings
from airflow_hybrid.config import Deployment
from airflow_hybrid.config.users import is_of_a_person
from airflow_hybrid.cwl.documents.trust.roots import KnownFiles, located
from airflow_hybrid.errors import HybridError, InputError
from airflow_hybrid.model import LOCAL_DEPLOYMENT, SCHEME, Binding, CwlObject, FileRef, JsonValue, WorkflowGraph
from airflow_hybrid.model.locations import Location
from airflow_hybrid.model.task_folders import task_folder
from airflow_hybrid.model.templates import Render, holds_template, is_template, rendered_inputs
from airflow_hybrid.model.walking import location_of
from airflow_hybrid.params import CONF_KEYS, given_value

FOLDER = "airflow_hybrid"
"""last part of every default work directory"""
_VARIABLE = re.compile(r"~[^/]*|\$\{\w+\}|\$\w+")


@dataclass(frozen=True, repr=False)
class Ground:
    """The part of a DAG's settings that determines which files its values may name.

    :ivar settings: inputs from the hybrid file, which may contain templates.
    :ivar base: the base folder of their relative paths.
    :ivar reuse: whether the workflow's jobs may reuse outputs of other runs.
    :ivar from_tasks: inputs whose values other tasks return (:mod:`airflow_hybrid.operators.templates`).
    """

    deployments: Mapping[str, Deployment]
    bindings: Sequence[Binding] = ()
    settings: CwlObject = field(default_factory=dict)
    base: str = "/"
    reuse: bool = False
    from_tasks: Mapping[str, Any] = field(default_factory=dict)

    def __deepcopy__(self, memo: object) -> Ground:
        return self

    @cached_property
    def differs_by_run(self) -> bool:
        """Whether an input is a template, or the value of a task."""
        return bool(self.from_tasks) or holds_template(self.settings)

    def depends_on_run(self, name: str) -> bool:
        """Whether an input is a template, or the value of a task."""
        return name in self.from_tasks or holds_template(self.settings.get(name))

    @property
    def reuses(self) -> bool:
        """Whether any job may reuse outputs of other runs, according to the hybrid file."""
        deployments = any(deployment.reuse for deployment in self.deployments.values())
        return self.reuse or deployments or any(binding.reuse for binding in self.bindings)

    def holds(self, ref: FileRef) -> bool:
        """Whether a file is at one of the DAG's deployments, and below a work directory of the hybrid file.

        The location of a queue's files is the host of the queue, so all work directories count. ``~`` and variables in
        them are expanded by the site: there the file must be in a folder made by a job, and the work directory's path
        must have the same end.
        """
        if ref.deployment != LOCAL_DEPLOYMENT and ref.deployment not in self.deployments:
            return False
        from airflow_hybrid.sites.hosts.job_folders import work_directory_of

        work = work_directory_of(ref.path)
        is_job_file = work is not None and self.works_in(ref.deployment, work)
        literal = [workdir for workdir in self._workdirs() if not _VARIABLE.search(workdir)]
        return is_job_file or any(_is_below(ref.path, workdir) for workdir in literal)

    def works_in(self, deployment: str, folder: str) -> bool:
        """Whether a folder is a work directory of the DAG.

        :param deployment: of the files in it.
        """
        if deployment != LOCAL_DEPLOYMENT and deployment not in self.deployments:
            return False
        return any(_is_workdir(folder, workdir) for workdir in self._workdirs())

    def _workdirs(self) -> Iterator[str]:
        home = settings.airflow_home()
        folder = os.path.join(os.path.abspath(home), FOLDER)
        yield os.path.join(folder, LOCAL_DEPLOYMENT)
        for binding in self.bindings:
            yield from (target.workdir for target in binding.targets if target.workdir)
        for deployment in self.deployments.values():
            is_here = deployment.type == "local" and not deployment.config.get("run_as")
            default = os.path.join(folder, deployment.name) if is_here else f"~/{FOLDER}"
            yield deployment.workdir or default


def _is_below(path: str, workdir: str) -> bool:
    return path.startswith(posixpath.normpath(workdir).rstrip("/") + "/")


def _is_workdir(folder: str, workdir: str) -> bool:
    parts = _VARIABLE.split(workdir)
    if len(parts) == 1:
        return folder == posixpath.normpath(workdir)
    tail = parts[-1].rstrip("/")
    return folder.endswith(tail) and len(folder) > len(tail)


def no_task(reference: Any) -> JsonValue:
    """:raises HybridError: always; for DAGs without inputs of tasks."""
    raise HybridError(f"the value of {reference} is not known here")


@dataclass(frozen=True, repr=False)
class Origins:
    """The files that values of one DAG run may name.

    :ivar params: of the run; with ``conf`` the source of its inputs.
    :ivar render: renders a template for the run.
    :ivar resolve: gives the value of a reference to a task of the run.
    :ivar declared: names of the DAG's Params, which a run's conf may have: those of inputs, and the author's own.
    """

    ground: Ground
    dag_id: str
    run_id: str
    params: Mapping[str, Any]
    conf: Mapping[str, Any]
    render: Render
    resolve: Callable[[Any], JsonValue] = no_task
    declared: frozenset[str] = frozenset()

    def given(self, graph: WorkflowGraph, *, quiet: bool = False) -> CwlObject:
        """The inputs of the run before they are checked; see :func:`airflow_hybrid.operators.given.given_inputs`.

        :raises InputError: a template cannot be rendered, or a key of the conf is unknown.
        """
        return self._given(graph, self._settings(graph), quiet=quiet)

    def _given(self, graph: WorkflowGraph, settings: CwlObject, *, quiet: bool) -> CwlObject:
        from airflow_hybrid.operators.given import given_inputs

        # a form sends null for a field that was left empty, and that of a template or a task's value is empty at first
        conf = {
            name: value
            for name, value in self.conf.items()
            if (value is not None or not self.ground.depends_on_run(name)) and not self._is_authors(name, graph)
        }
        return given_inputs(graph, settings, self.params, conf, quiet=quiet)

    def _is_authors(self, name: str, graph: WorkflowGraph) -> bool:
        """Whether a key of the conf is a Param that the DAG's author has added to those of the form."""
        return name in self.declared and name not in CONF_KEYS and all(port.name != name for port in graph.inputs)

    def _settings(self, graph: WorkflowGraph) -> CwlObject:
        settings = self.ground.settings
        if not self.ground.differs_by_run:
            return settings
        types = {port.name: port.type for port in graph.inputs if not self._gives(port.name)}
        values = {name: self._rendered(name, types, value) for name, value in settings.items()}
        for name, reference in self.ground.from_tasks.items():
            if name in types:
                values[name] = given_value(types[name], self._resolved(name, reference))
        return values

    def _gives(self, name: str) -> bool:
        """Whether the run itself has a value for an input: a template for it is not rendered, nor can it fail."""
        job = self.conf.get("job")
        sources = [self.params, self.conf, job if isinstance(job, Mapping) else {}]
        return any(source.get(name) is not None for source in sources)

    def _resolved(self, name: str, reference: Any) -> JsonValue:
        try:
            return self.resolve(reference)
        except HybridError as error:
            error.where = error.where or f"input {name!r}"
            raise

    def _rendered(self, name: str, types: Mapping[str, JsonValue], value: JsonValue) -> JsonValue:
        try:
            result = rendered_inputs(types, {name: value}, self.render)[name]
        except HybridError as error:
            error.where = error.where or f"input {name!r}"
            raise
        return given_value(types[name], result) if is_template(value) and name in types else result

    def reuses(self, document: JsonValue) -> bool:
        """Whether a step's jobs may reuse outputs of other runs.

        :param document: of the step, which may request it (WorkReuse).
        """
        said = self.conf.get("reuse")
        if isinstance(said, bool):
            return said
        return self.ground.reuses or "WorkReuse" in json.dumps(document)

    def strangers(self, value: JsonValue, folder: str | None) -> list[Mapping[str, Any]]:
        """The Files and Directories of a task's value that no job made.

        :param folder: of the task, if only its own jobs count (:func:`airflow_hybrid.model.task_folders.task_folder`).
        """
        return [item for item in located(value) if not self._made(item, folder)]

    def _made(self, file: Mapping[str, Any], folder: str | None) -> bool:
        from airflow_hybrid.sites.hosts.job_folders import work_directory_of

        location = str(file.get("location", ""))
        if location.startswith("_:"):
            return True
        try:
            ref = FileRef.parse(location)
        except ValueError:
            return False
        work = work_directory_of(ref.path)
        if work is None or "path" in file or ref.uri != location or not self.ground.works_in(ref.deployment, work):
            return False
        return folder is None or ref.path.startswith(f"{work}/{folder}/g")

    def own_folder(self, task_id: str, map_index: int) -> str:
        """The folder of a task's jobs in every work directory."""
        return task_folder(self.dag_id, self.run_id, task_id, map_index)

    def check_inputs(self, graph: WorkflowGraph, order: CwlObject) -> None:
        """Check that the first task's value still has the files and requirements of the run's inputs.

        :raises HybridError: it names another file, or has another requirement.
        """
        from airflow_hybrid.cwl.given import job_requirements
        from airflow_hybrid.cwl.given.run_inputs import named_files

        inputs, requirements = job_requirements.split(self._given(graph, self.ground.settings, quiet=True))
        normal = None if requirements is None else job_requirements.normal(requirements, graph)
        if order.get(job_requirements.KEY) != json.loads(json.dumps(normal)):
            raise HybridError(
                "the value of task 'inputs' has requirements that are not among the run's inputs: they are not used",
                hint="its XCom, or the DAG, was changed during the run; clear task 'inputs' to make it again",
            )
        if next(located(order), None) is None:
            return
        if self.ground.differs_by_run:
            # only for values with files: rendering may ask Airflow for Variables
            inputs, _ = job_requirements.split(self.given(graph, quiet=True))
        named = named_files(graph, inputs, self.ground.base)
        known = KnownFiles(named, requirements, [port.default for port in graph.inputs if port.has_default])
        for file, primary in _with_primaries(order, None):
            if known.strange([alone(file)]) is None:
                continue
            location = str(location_of(file))
            beside = primary is not None and posixpath.dirname(primary) == posixpath.dirname(location)
            if not beside:
                raise stranger(location, "inputs", "is not among the run's inputs")

    def check_connections(self, inputs: JsonValue) -> None:
        """Check that a run's inputs name no Connection by which somebody logs in to a deployment.

        :raises InputError: one does.
        """
        from airflow_hybrid.sites.files.objects import connection_of

        for file in located(inputs):
            location = str(location_of(file))
            conn_id = connection_of(location)
            if conn_id is not None and is_of_a_person(self.ground.deployments, conn_id):
                raise InputError(
                    f"the input {location} names the Connection {conn_id!r}, which is for accounts at a deployment",
                    hint="use a Connection of the object store, with another name",
                )

    def check_given(self, order: JsonValue) -> None:
        """Check that a run's inputs at deployments are in work directories.

        :raises InputError: a ``hybrid:`` location is not normal, or not below a work directory of a deployment; or see
            :meth:`check_connections`.
        """
        self.check_connections(order)
        for file in located(order):
            location = str(location_of(file))
            if location.startswith("_:"):
                continue
            try:
                parsed = Location.parse(location)
                held = parsed.scheme != SCHEME or self.ground.holds(FileRef.parse(parsed.uri))
            except ValueError as error:
                raise InputError(f"an input cannot be used: {error}") from None
            if not held:
                raise InputError(
                    f"the input {location} is not below the work directory of a deployment of this DAG",
                    hint="such locations are for files made by jobs; give other files as `file:` or by URL",
                )


def alone(item: Mapping[str, Any]) -> Mapping[str, Any]:
    """A File or Directory without those that it names: an output may be an input with secondary files of the job."""
    return {key: value for key, value in item.items() if key not in ("secondaryFiles", "listing")}


def stranger(location: str, task_id: str, why: str) -> HybridError:
    """The error for a value that names a file which its task may not name."""
    return HybridError(
        f"the value of task {task_id!r} names {location}, which {why}: it is not used",
        hint=f"its XCom, or the DAG, was changed during the run; clear task {task_id!r} to make it again",
    )


def _with_primaries(value: Any, primary: str | None) -> Iterator[tuple[Mapping[str, Any], str | None]]:
    """Every located File and Directory, with the location of its primary file if it is a secondary file."""
    if isinstance(value, list):
        for entry in value:
            yield from _with_primaries(entry, primary)
    elif isinstance(value, Mapping):
        mine = location_of(value) if value.get("class") in ("File", "Directory") else None
        if isinstance(mine, str):
            yield value, primary
        for key, entry in value.items():
            yield from _with_primaries(entry, mine if key == "secondaryFiles" and isinstance(mine, str) else None)
