# Licensed under the Apache License, Version 2.0; see the LICENSE file.
"""Make lost files again: the task that misses them runs their jobs, in this worker.

Airflow lets no task clear another one, nor read the database. But every task has the DAG and the values of all others.
So it makes the fragment of the task that made the files, as that task did, and enters it once more
(:mod:`airflow_hybrid.engine.recovery`). If their jobs miss inputs, too, those are made again first.
"""

from __future__ import annotations

from collections.abc import Coroutine, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Protocol, TypeVar

from airflow_hybrid.amounts import counted
from airflow_hybrid.errors import JobFailedError, LostDataError, all_lost
from airflow_hybrid.model import LOCAL_DEPLOYMENT, FileRef, JsonValue
from airflow_hybrid.model.task_folders import task_folder
from airflow_hybrid.model.walking import files
from airflow_hybrid.operators.context.run import origins_of, xcom_reader
from airflow_hybrid.operators.recovery.producers import Producer, producers_of
from airflow_hybrid.operators.recovery.putting_back import Made, PuttingBack
from airflow_hybrid.operators.recovery.renewed import Renewed
from airflow_hybrid.operators.steps.fragment import StepInputs, Tries, fragment_of
from airflow_hybrid.operators.steps.setup import StepSetup
from airflow_hybrid.operators.values import RETURN, Scope, Values
from airflow_hybrid.overviews.replays import Replay
from airflow_hybrid.sites.hosts.other_machines import on_another_machine

if TYPE_CHECKING:
    from airflow.sdk import Context

    from airflow_hybrid.config import Deployment
    from airflow_hybrid.engine import FragmentExecution, FragmentOutcome, FragmentSpec
    from airflow_hybrid.engine.recovery.again import Again

T = TypeVar("T")
_MOST_SHOWN = 5
"""lost files that the log lists"""


class RunsWork(Protocol):
    """The part of a task that recovery needs: :class:`airflow_hybrid.operators.base.HybridTask`."""

    @property
    def log(self) -> Any: ...

    dag: Any

    def run_executions(self, executions: Sequence[FragmentExecution]) -> list[FragmentOutcome | BaseException]:
        """Run fragments in this worker, all at once; their jobs are cancelled if the task is killed."""

    def run_async(self, work: Coroutine[Any, Any, T]) -> T:
        """Run async work within the task's time limit."""


class Recovery:
    """Makes files again that a task misses.

    :param task: which misses them; ``context``: its own.
    :param top: the DAG's workflow.
    :ivar renewed: what has taken the place of lost files by now.
    :ivar checkpoints: what was put back from them.
    :ivar made: what was made again, for people.
    """

    def __init__(self, task: RunsWork, context: Context, top: Scope, renewed: Renewed, put_back: JsonValue) -> None:
        """:param put_back: what an earlier worker of the same try has published as that."""
        self._task = task
        self._context = context
        self._top = top
        self.renewed = renewed
        self.checkpoints = PuttingBack(task.log, context, put_back)
        self.made: list[Replay] = []
        self._asked: set[str] = set()

    @property
    def has_recovered(self) -> bool:
        """Whether this try has made files again, or put them back."""
        return bool(self.renewed or self.checkpoints.entries)

    def make_again(self, error: LostDataError) -> None:
        """Make the files again that an error names.

        :raises LostDataError: that is switched off, or not possible; the error itself.
        :raises JobFailedError: a job has failed this time.
        :raises SiteError: a location could not be used.
        """
        self._make(error, ())

    def _make(self, error: LostDataError, above: tuple[str, ...]) -> None:
        """:param above: titles of the tasks whose jobs miss the files."""
        missing = [uri for uri in error.files if not self.renewed.holds(uri)]
        producers = producers_of(missing, self._folders())
        if not producers or self._may_be_elsewhere(missing):
            raise error
        back = self._put_back(producers)
        missing = [uri for uri in missing if uri not in back]
        if not missing and back:
            return
        if not self._top.replays or self._asked.issuperset(missing):
            raise error
        producers = producers_of(missing, self._folders()) or []
        self._asked.update(missing)
        for producer in producers:
            if producer.title in above or self._may_be_updated(producer):
                raise error
            self._tell(producer, error)
        self._run(producers, above)

    def _put_back(self, producers: Sequence[Producer]) -> set[str]:
        """Put lost files back that have checkpoints; -> those that are there again.

        Not those of the task itself: what it needs of its own jobs is more than their outputs.
        """
        ti: Any = self._context["ti"]
        back: set[str] = set()
        for producer in producers:
            setup = _setup_of(self._task.dag.task_dict[producer.task_id])
            if setup is None or not setup.checkpoints or producer.task_id == ti.task_id:
                continue
            if not self._may_be_updated(producer):
                made = Made(setup, self._published(producer), producer.files)
                back |= self._task.run_async(self.checkpoints.put_back(made, producer))
        return back

    def _may_be_updated(self, producer: Producer) -> bool:
        """Whether a step may have changed the files where they were since: then it is not enough to make them again."""
        ti: Any = self._context["ti"]
        tasks = self._task.dag.task_dict
        after = tasks[producer.task_id].get_flat_relative_ids(upstream=False)
        before = tasks[ti.task_id].get_flat_relative_ids(upstream=True)
        for task_id in sorted({producer.task_id, ti.task_id, *(after & before)}):
            setup = _setup_of(tasks[task_id])
            if setup is not None and setup.may_update_in_place:
                self._task.log.warning(
                    "files that task %s made are not made again: task %s may have updated them in place"
                    " (InplaceUpdateRequirement)", producer.title, task_id,
                )  # fmt: skip
                return True
        return False

    def _may_be_elsewhere(self, files: Sequence[str]) -> bool:
        """Whether another machine may have files of this machine, so that they are not lost."""
        from airflow.configuration import conf

        if conf.get("core", "executor", fallback="") == "LocalExecutor":
            return False
        deployments = self._top.ground.deployments if self._top.ground is not None else {}
        refs = [ref for uri in files if (ref := FileRef.of(uri)) is not None]
        here = [ref for ref in refs if ref.deployment == LOCAL_DEPLOYMENT or _is_local(deployments.get(ref.deployment))]
        return any(on_another_machine(ref.path, ref.uri) is not None for ref in here)

    def _folders(self) -> dict[str, str]:
        """The ids of the DAG's steps' tasks, by their folders in every work directory."""
        ti: Any = self._context["ti"]
        tasks = self._task.dag.task_dict.items()
        return {task_folder(ti.dag_id, ti.run_id, task_id): task_id for task_id, task in tasks if _setup_of(task)}

    def _tell(self, producer: Producer, error: LostDataError) -> None:
        some = producer.files[:_MOST_SHOWN]
        rest = len(producer.files) - len(some)
        shown = "\n".join(f"  {uri}" for uri in some) + (f"\n  and {rest} more" if rest else "")
        self._task.log.warning(
            "files that task %s made are gone or changed (%s); jobs to be run again: %d\n%s",
            producer.title, error.where or "?", len(producer.lost), shown,
        )  # fmt: skip

    def _run(self, producers: Sequence[Producer], above: tuple[str, ...]) -> None:
        """Enter the fragments of tasks again, all at once; those whose jobs miss files, once more after these."""
        left = list(producers)
        while left:
            fragments = [self._fragment(producer) for producer in left]
            results = self._task.run_executions([fragment.execution(self._task.log) for fragment in fragments])
            deeper: list[LostDataError] = []
            again: list[Producer] = []
            for fragment, result in zip(fragments, results, strict=True):
                if isinstance(result, LostDataError):
                    deeper.append(result)
                    again.append(fragment.producer)
                elif isinstance(result, BaseException):
                    raise _in_its_place(result, fragment.producer)
                else:
                    self._note(fragment, result)
            if deeper:
                self._make(all_lost(deeper), (*above, *(producer.title for producer in again)))
            left = again

    def _note(self, fragment: _Fragment, outcome: FragmentOutcome) -> None:
        """Note what has taken the place of what is lost.

        :raises LostDataError: a file was not made again.
        """
        producer = fragment.producer
        changed = self.renewed.note(self._published(producer), fragment.inputs.value(outcome))
        absent = [uri for uri in producer.files if not self.renewed.holds(uri)]
        if absent:
            raise LostDataError.of(
                absent,
                f"task {producer.title} was run again, but has not made {absent[0]} this time",
                hint="clear that task to make everything after it again",
            )
        jobs = len(fragment.again.ran)
        self._task.log.info("%s of task %s ran again", counted(jobs, "job"), producer.title)
        if changed:
            self._task.log.warning(
                "%d files that were made again have another content than before, among them %s; what was made from"
                " the earlier ones stays as it is", len(changed), changed[0],
            )  # fmt: skip
        self.made.append(Replay(producer.title, jobs, len(producer.files), len(changed), producer.files[0]))

    # --- the fragment of another task --------------------------------------------------------------------------------

    def _values(self, map_index: int) -> Values:
        """The values of the run, as a task instance sees them."""
        origins = origins_of(self._context, self._top.ground)
        return Values(xcom_reader(self._context), map_index, origins, self.renewed.applied)

    def _published(self, producer: Producer) -> JsonValue:
        value: JsonValue = self._values(producer.map_index).xcom(producer.task_id, RETURN, producer.map_index)
        return value

    def _fragment(self, producer: Producer) -> _Fragment:
        from airflow_hybrid.engine import TaskIdentity
        from airflow_hybrid.engine.recovery.again import Again
        from airflow_hybrid.sites.batches.directory import attempt_of

        ti: Any = self._context["ti"]
        task = self._task.dag.task_dict[producer.task_id]
        setup = _setup_of(task)
        assert setup is not None
        values = self._values(producer.map_index)
        inputs = StepInputs.read(setup, values, _chunk_of(setup, producer, values))
        last = max(attempt_of(batch) for batch in producer.lost.values())
        identity = TaskIdentity(
            ti.dag_id, ti.run_id, producer.task_id, producer.map_index, last, last, origin="", mark=producer.mark
        )
        asked: Any = getattr(task, "partial_kwargs", vars(task))["asked_retries"]
        tries = Tries(asked.of_dag, left=False)
        spec = fragment_of(inputs, self._context, values.run_inputs(self._top.graph), identity, tries)
        instances = None
        if inputs.places is not None:
            instances = _instances(self._published(producer), inputs.places, producer.files)
        again = Again(producer.lost, instances, self._top.replays, self.renewed.originals)
        return _Fragment(producer, inputs, replace(spec, reuse=False), again)


@dataclass(frozen=True)
class _Fragment:
    """The fragment of a task that made files, to be entered again."""

    producer: Producer
    inputs: StepInputs
    spec: FragmentSpec
    again: Again

    def execution(self, log: Any) -> FragmentExecution:
        from airflow_hybrid.engine import FragmentExecution

        return FragmentExecution(self.spec, log, self.again)


def _in_its_place(error: BaseException, producer: Producer) -> BaseException:
    """An error of a job that was run again, as an error of the task that needs its outputs."""
    if not isinstance(error, JobFailedError):
        return error
    return JobFailedError(
        f"lost files of task {producer.title} could not be made again: {error.message}",
        retryable=error.retryable, where=error.where,
        hint=error.hint or f"clear task {producer.title} to run it again, and everything after it",
    )  # fmt: skip


def _is_local(deployment: Deployment | None) -> bool:
    return deployment is not None and deployment.type == "local"


def _chunk_of(setup: StepSetup, producer: Producer, values: Values) -> Any:
    """The chunk of its scatter that a task instance has; None: it has no chunk of one."""
    node = setup.scope.nodes[setup.step.path]
    if producer.map_index < 0 or node.plan_id is None or setup.scope.in_chunk:
        return None
    return values.xcom(node.plan_id)[producer.map_index]


def _instances(value: Any, places: Sequence[int | None], lost: Sequence[str]) -> frozenset[int] | None:
    """The instances of a chunk that made files; None: any may have.

    :param value: of the task; ``places``: see :attr:`StepInputs.places`.
    """
    if not isinstance(value, list) or len(value) != len(places):
        return None
    found = {
        place for place, outputs in zip(places, value, strict=True) if place is not None and _names_any(outputs, lost)
    }
    return frozenset(found) or None


def _names_any(outputs: JsonValue, lost: Sequence[str]) -> bool:
    locations = [str(file.get("location")) for file in files(outputs)]
    return any(uri == location or uri.startswith(f"{location}/") for location in locations for uri in lost)


def _setup_of(task: Any) -> StepSetup | None:
    """A step's settings, if a task, mapped or not, is that of a step."""
    setup = getattr(task, "partial_kwargs", vars(task)).get("setup")
    return setup if isinstance(setup, StepSetup) else None
