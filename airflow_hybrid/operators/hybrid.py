# Licensed under the Apache License, Version 2.0; see the LICENSE file.
"""The tasks of a hybrid DAG: inputs, plan, the steps themselves, outputs."""

from __future__ import annotations

import asyncio
import hashlib
import logging
import math
import threading
from collections.abc import Coroutine, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeVar

from airflow.sdk import BaseOperator
from airflow.sdk.exceptions import AirflowFailException, AirflowSkipException

from airflow_hybrid.config import Deployment, bind, for_run
from airflow_hybrid.cwl import cache, job_requirements
from airflow_hybrid.cwl.inputs import scatter_dims, slice_scatter
from airflow_hybrid.errors import HybridError, InputError
from airflow_hybrid.model import Binding, CwlObject, JsonValue, Step, WorkflowGraph
from airflow_hybrid.operators.values import INPUTS_TASK, RETURN, SHAPE, VALUES, Scope, Values
from airflow_hybrid.params import from_param

if TYPE_CHECKING:
    from airflow.sdk import Context

    from airflow_hybrid.engine import FragmentSpec, TaskIdentity

T = TypeVar("T")
log = logging.getLogger(__name__)
JOB_KEY = "job"
"""conf key under which CWL-Airflow's users give the inputs"""
OUTDIR_KEY = "outdir"
REUSE_KEY = "reuse"
"""conf key that says whether the run may take outputs of other runs (CWL WorkReuse)"""


class HybridTask(BaseOperator):
    """What the tasks share: errors without tracebacks, and the values of upstream tasks."""

    def execute(self, context: Context) -> Any:
        try:
            return self.run_task(context)
        except HybridError as error:
            # The message says what, where and what to do. Airflow logs every exception but SystemExit with a traceback,
            # in which the message would drown; SystemExit fails the task, or retries it if retries are left.
            self.log.error("%s", error)
            ti: Any = context["ti"]
            if error.retryable or int(ti.try_number) > int(ti.max_tries):
                raise SystemExit(1) from error
            raise AirflowFailException(error.message) from None

    def run_task(self, context: Context) -> Any:
        raise NotImplementedError

    @staticmethod
    def values(context: Context) -> Values:
        ti: Any = context["ti"]

        def read(task_id: str, key: str, map_index: int) -> JsonValue:
            return ti.xcom_pull(task_ids=task_id, key=key, map_indexes=map_index)

        return Values(read, ti.map_index if ti.map_index is not None else -1)


class InputsOperator(HybridTask):
    """First task of the DAG: the run's conf and Params become one valid CWL input object (its XCom).

    :param base: folder against which relative paths of the Params' defaults are resolved.
    :raises InputError: unknown, missing or ill-typed inputs, all in one message.
    """

    def __init__(self, *, graph: WorkflowGraph, base: str, settings: CwlObject | None = None, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.graph = graph
        self.base = base
        self.settings = settings or {}

    def run_task(self, context: Context) -> CwlObject:
        from airflow_hybrid.cwl.inputs import validate_inputs

        conf = dict(getattr(context["dag_run"], "conf", None) or {})
        given, requirements = job_requirements.split(
            given_inputs(self.graph, self.settings, dict(context["params"]), conf)
        )
        order = validate_inputs(self.graph, given, self.base)
        if requirements is not None:
            order[job_requirements.KEY] = job_requirements.normal(requirements, self.graph)
        return order


def in_worker(work: Coroutine[Any, Any, T]) -> T:
    """Run async work in a worker: an event loop of its own, whose connections are closed at its end."""
    from airflow_hybrid.hooks.connectors import close_all

    async def run() -> T:
        try:
            return await work
        finally:
            await close_all()

    return asyncio.run(run())


def instance_id() -> str:
    """Tells this Airflow from others that use the same sites: six hexadecimal digits.

    It is made of the option ``[airflow_hybrid] instance``, else of Airflow's home and Fernet key, which all of its
    processes share.
    """
    from airflow.configuration import AIRFLOW_HOME, conf

    text = conf.get("airflow_hybrid", "instance", fallback="")
    text = text or f"{AIRFLOW_HOME}\0{conf.get('core', 'fernet_key', fallback='')}"
    return hashlib.sha256(text.encode()).hexdigest()[:6]


def run_token(dag_id: str, run_id: str) -> str:
    """The name of what is deployed for a DAG run of this Airflow: ``ah-<instance>-<run>``, in ``[a-z0-9-]``."""
    digest = hashlib.sha256(f"{dag_id}\0{run_id}".encode()).hexdigest()[:10]
    return f"ah-{instance_id()}-{digest}"


def deployments_of_run(deployments: Mapping[str, Deployment], context: Context) -> Mapping[str, Deployment]:
    """The deployments as the task's DAG run sees them."""
    if not any(deployment.managed for deployment in deployments.values()):
        return deployments
    ti: Any = context["ti"]
    return for_run(deployments, run_token(ti.dag_id, ti.run_id), f"{ti.dag_id} {ti.run_id}")


def given_inputs(
    graph: WorkflowGraph, settings: CwlObject, params: Mapping[str, Any], conf: Mapping[str, Any]
) -> CwlObject:
    """The inputs of a run before they are checked: settings < Params < conf < conf's ``job``.

    :raises InputError: a conf key that is neither an input nor ``job``, ``outdir`` or ``reuse``.
    """
    names = [port.name for port in graph.inputs]
    own = {JOB_KEY, OUTDIR_KEY, REUSE_KEY} - set(names)
    job = conf.get(JOB_KEY) if JOB_KEY in own else None
    if job is not None and not isinstance(job, dict):
        raise InputError("must be an object of workflow inputs", where=f"conf key {JOB_KEY!r}")
    if REUSE_KEY in own and not isinstance(conf.get(REUSE_KEY, True), bool):
        raise InputError("must be true or false", where=f"conf key {REUSE_KEY!r}")
    unknown = [k for k in conf if k not in names and k not in own and k not in job_requirements.KEYS]
    if unknown:
        said = _with_nearest(unknown, [*names, *own])
        raise InputError(
            f"unknown conf key{'s' if len(unknown) > 1 else ''}: {said}",
            hint=f"the inputs of this workflow are: {', '.join(names) or 'none'}",
        )
    given = {key: value for key, value in settings.items() if key in names or key in job_requirements.KEYS}
    extra = {"cwl:tool", "outputs_folder", *job_requirements.KEYS}
    ignored = [k for k in {**settings, **(job or {})} if k not in names and k not in extra]
    if ignored:
        # an input object may hold more than the document asks for (CWL v1.2 section "Input object")
        log.warning("the input object has values that are no inputs: %s", _with_nearest(ignored, names))
    for port in graph.inputs:
        name = port.name
        # a Param that is None was left empty in the form, or has no default
        if params.get(name) is not None:
            given[name] = from_param(port.type, params[name])
        if name in conf:
            given[name] = from_param(port.type, conf[name])
        if job and name in job:
            given[name] = from_param(port.type, job[name])
    for source in (conf, job or {}):
        given.update({key: source[key] for key in job_requirements.KEYS if key in source})
    return given


def _with_nearest(unknown: Sequence[str], known: Sequence[str]) -> str:
    """Names in words, each with the nearest one that there is."""
    import difflib

    near = {k: difflib.get_close_matches(k, known, 1) for k in unknown}
    return ", ".join(repr(k) + (f" (did you mean {near[k][0]!r}?)" if near[k] else "") for k in unknown)


class PlanOperator(HybridTask):
    """Plans a step: how many jobs its scatter has, cut into chunks; for a sub-workflow also its instances' inputs.

    XComs: ``return_value`` the chunks ``[{"lo": .., "hi": ..}, ...]`` (index ranges), ``shape`` the scatter's
    dimensions, and for a sub-workflow ``values``: per instance its input object, or None where ``when`` is false.

    :param max_mapped: a scatter longer than this is cut into that many chunks.
    """

    def __init__(
        self, *, step: Step, scope: Scope, deployments: Mapping[str, Deployment], max_mapped: int = 16, **kwargs: Any
    ) -> None:
        super().__init__(**kwargs)
        self.step = step
        self.scope = scope
        self.deployments = dict(deployments)
        self.max_mapped = max_mapped

    def run_task(self, context: Context) -> Any:
        ti: Any = context["ti"]
        instances = self.values(context).step_inputs(self.scope, self.step)
        inputs = [i for i in instances if i is not None]
        chunks: list[dict[str, int]] = []
        if self.step.scatter and not self.scope.in_chunk:
            # in a sub-workflow that was skipped there is nothing to scatter over
            dims = scatter_dims(self.step, inputs[0]) if inputs else (0,) * self.step.dimensions
            total = math.prod(dims)
            chunks = chunk_ranges(total, self.max_mapped)
            ti.xcom_push(key=SHAPE, value=list(dims))
            self.log.info("%s: %d jobs in %d chunks", self.step.path, total, len(chunks))
        if self.step.workflow is not None:
            from airflow_hybrid.cwl.fragment import Fragment
            from airflow_hybrid.engine import list_folder, read_start

            fragment = Fragment.load(cache.read_document(self.step.document))
            deployments = deployments_of_run(self.deployments, context)

            def reader(uri: str) -> bytes:
                return in_worker(read_start(uri, deployments))

            def lister(uri: str) -> list[tuple[str, bool]]:
                return in_worker(list_folder(uri, deployments))

            values: list[CwlObject | None] = []
            for instance in instances:
                values.extend([None] if instance is None else fragment.expand(instance, reader=reader, lister=lister))
            ti.xcom_push(key=VALUES, value=values)
            if values and all(value is None for value in values) and not self.step.scatter:
                self.log.info("%s: its `when` is false: skipped", self.step.path)
        return chunks


def chunk_ranges(total: int, max_mapped: int) -> list[dict[str, int]]:
    """Index ranges of at most ``max_mapped`` chunks; of one job each while the scatter is no longer than that."""
    size = max(1, math.ceil(total / max_mapped))
    return [{"lo": low, "hi": min(total, low + size)} for low in range(0, total, size)]


@dataclass(frozen=True, repr=False)
class StepSetup:
    """What a step's operator knows from the DAG file.

    :ivar step: the step (leaf, or a sub-workflow that runs as one fragment).
    :ivar scope: the (sub-)workflow that it is in, for the values of its inputs.
    """

    step: Step
    scope: Scope
    bindings: tuple[Binding, ...]
    deployments: Mapping[str, Deployment]
    links: JsonValue = None

    def __deepcopy__(self, memo: object) -> StepSetup:
        return self

    def __repr__(self) -> str:
        return f"<StepSetup {self.step.path}>"

    @property
    def leaves(self) -> tuple[str, ...]:
        """Paths of the steps that jobs of this one belong to."""
        if self.step.workflow is None:
            return (self.step.path,)
        return tuple(inner.path for inner in self.step.workflow.walk() if inner.workflow is None)

    @property
    def bound(self) -> frozenset[tuple[str, str | None]]:
        """The deployments, and services of them, where its jobs may run."""
        targets = (target for path in self.leaves for target in bind(self.bindings, path).targets)
        return frozenset((target.deployment, target.service) for target in targets)

    @property
    def hands_on(self) -> bool:
        """Whether an output may be a file that none of its jobs made: expressions pass on what they get."""
        step = self.step
        return step.workflow is not None or step.kind != "tool"

    @property
    def defers(self) -> bool:
        """Whether it is deferred: a job may run elsewhere than on this machine, or a deployment asks for it."""
        used = [self.deployments[name] for name, _ in self.bound if name in self.deployments]
        return any(d.type != "local" if d.deferrable is None else d.deferrable for d in used)


class HybridOperator(HybridTask):
    """Runs a step: resolves its binding to deployments, and its jobs there.

    Steps bound to local deployments run in the worker; all others are deferred, and their remote life is in the
    triggerer (:class:`airflow_hybrid.triggers.hybrid.HybridTrigger`).

    :param setup: the step, where it is bound, and where its inputs come from.
    :param chunk: ``{"lo": int, "hi": int}`` of its scatter, where the task is mapped.
    """

    template_fields: Sequence[str] = ("chunk",)

    def __init__(self, *, setup: StepSetup, chunk: Any = None, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.setup = setup
        self.chunk = chunk
        self._spec: FragmentSpec | None = None

    def run_task(self, context: Context) -> Any:
        step, scope = self.setup.step, self.setup.scope
        ti: Any = context["ti"]
        instances = self.values(context).step_inputs(scope, step)
        alive = [i for i in instances if i is not None]
        jobs: int | None = None
        if self.chunk is not None:
            low, high = self.chunk["lo"], self.chunk["hi"]
            jobs = high - low
            alive = [slice_scatter(step, alive[0], low, high)]
        places = _places(instances) if scope.in_chunk else None
        if not alive:
            skipped = dict.fromkeys(step.outputs)
            ti.xcom_push(key=RETURN, value=[skipped for _ in instances] if places is not None else skipped)
            raise AirflowSkipException(f"{step.path}: the sub-workflow that it is in was skipped by its `when`")
        spec = self._make_spec(context, tuple(alive))
        if self.setup.defers:
            from airflow_hybrid.triggers.hybrid import HybridTrigger

            timeout = self.execution_timeout.total_seconds() if self.execution_timeout else None
            trigger = HybridTrigger(spec=spec.to_json(), places=places, jobs=jobs, timeout_s=timeout)
            self.defer(trigger=trigger, method_name="unreachable")
        return self._run_here(ti, spec, places, jobs)

    def _run_here(self, ti: Any, spec: FragmentSpec, places: list[int | None] | None, jobs: int | None) -> Any:
        from airflow_hybrid.engine import FragmentExecution, task_value

        self._spec = spec
        outcome = in_worker(FragmentExecution(spec, self.log).run())
        self._spec = None
        ti.xcom_push(key="lineage", value=[entry.to_json() for entry in outcome.lineage])
        value = task_value(outcome, places, jobs)
        if all(result.status == "skipped" for result in outcome.results):
            ti.xcom_push(key=RETURN, value=value)
            raise AirflowSkipException(f"{spec.step_path}: its `when` is false")
        return value

    def _make_spec(self, context: Context, instances: tuple[CwlObject, ...]) -> FragmentSpec:
        from airflow_hybrid.engine import FragmentSpec

        setup = self.setup
        identity = identity_of(context["ti"])
        conf = dict(getattr(context["dag_run"], "conf", None) or {})
        return FragmentSpec(
            step_path=setup.step.path,
            leaves=setup.leaves,
            document=self._document(context),
            instances=instances,
            bindings=setup.bindings,
            deployments=deployments_of_run(setup.deployments, context),
            identity=identity,
            links=setup.links,
            chunked=self.chunk is not None,
            first=int(self.chunk["lo"]) if self.chunk is not None else 0,
            # who clears a task wants it to run
            reuse=identity.generation == 0 and conf.get(REUSE_KEY) is not False,
        )

    def _document(self, context: Context) -> JsonValue:
        """The step's document, with the requirements that the run's inputs brought."""
        scope, document = self.setup.scope, cache.read_document(self.setup.step.document)
        brought = self.values(context).xcom(INPUTS_TASK).get(job_requirements.KEY)
        while scope.parent is not None:
            scope = scope.parent
        return job_requirements.with_requirements(document, brought or [], scope.graph.single)

    def unreachable(self, context: Context, event: Any = None) -> None:
        """A deferred task is ended by its trigger; coming back here means that the trigger broke."""
        raise HybridError(f"the trigger of {self.setup.step.path} ended without a verdict: {event}")

    def on_kill(self) -> None:
        """The task is killed while it runs in the worker: end its jobs."""
        if self._spec is not None:
            from airflow_hybrid.engine import FragmentExecution

            # this is a signal handler, and it interrupts an event loop: another one needs a thread of its own
            work = FragmentExecution(self._spec, self.log).cancel()
            thread = threading.Thread(target=in_worker, args=(work,), name="cancel")
            thread.start()
            thread.join()


def _places(instances: Sequence[CwlObject | None]) -> list[int | None]:
    places: list[int | None] = []
    count = 0
    for instance in instances:
        places.append(None if instance is None else count)
        count += instance is not None
    return places


def identity_of(ti: Any) -> TaskIdentity:
    """The task instance's identity; its *generation* grows when it is cleared and not when Airflow retries it.

    A clear sets ``max_tries`` to the tries so far plus ``retries``; a retry leaves it. The difference to the task's
    ``retries`` is therefore the number of tries before the last clear.
    """
    from airflow_hybrid.engine import TaskIdentity

    retries = int(getattr(ti.task, "retries", 0) or 0)
    return TaskIdentity(
        ti.dag_id, ti.run_id, ti.task_id, ti.map_index if ti.map_index is not None else -1,
        max(0, int(ti.max_tries) - retries), int(ti.try_number),
    )  # fmt: skip


class OutputsOperator(HybridTask):
    """Last task of the DAG: brings the workflow's outputs to ``outdir`` and returns the CWL output object.

    :param outdir: a path, ``file:`` or object-store URL; the run's conf may give another (key ``outdir``).
        Each run has a folder of its own in it.
    """

    template_fields: Sequence[str] = ("outdir",)

    def __init__(
        self,
        *,
        scope: Scope,
        deployments: Mapping[str, Deployment],
        outdir: str,
        links: JsonValue = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.scope = scope
        self.deployments = dict(deployments)
        self.outdir = outdir
        self.links = links

    def run_task(self, context: Context) -> CwlObject:
        from airflow_hybrid.gather import gather

        outputs = self.values(context).outputs(self.scope)[0]
        assert outputs is not None
        conf = dict(getattr(context["dag_run"], "conf", None) or {})
        names = {port.name for port in self.scope.graph.inputs}
        outdir = str(conf.get(OUTDIR_KEY) or self.outdir) if OUTDIR_KEY not in names else self.outdir
        deployments = deployments_of_run(self.deployments, context)
        value, lineage = in_worker(gather(outputs, outdir, deployments, self.links, self.log))
        ti: Any = context["ti"]
        ti.xcom_push(key="lineage", value=[entry.to_json() for entry in lineage])
        self.log.info("the outputs are in %s", outdir)
        return value
