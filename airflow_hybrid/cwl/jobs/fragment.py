# Licensed under the Apache License, Version 2.0; see the LICENSE file.
"""A piece of a workflow that one task runs: cwltool's generators, advanced as the results of jobs come in."""

from __future__ import annotations

import hashlib
import json
import re
import time
from collections import OrderedDict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, cast

from cwltool.errors import WorkflowException
from cwltool.process import shortname
from cwltool.utils import aslist

from airflow_hybrid.cwl import messages
from airflow_hybrid.cwl.documents.trust import Known, located, made_up
from airflow_hybrid.cwl.javascript import node as javascript
from airflow_hybrid.cwl.jobs.context import HybridContext
from airflow_hybrid.cwl.jobs.job import PendingJob
from airflow_hybrid.cwl.jobs.outputs import check_json
from airflow_hybrid.cwl.jobs.runtime import HybridTool, HybridWorkflow, load_process
from airflow_hybrid.cwl.jobs.step_files import Lister, Reader, StepFs
from airflow_hybrid.cwl.values.file_values import clean, named
from airflow_hybrid.errors import CwlError
from airflow_hybrid.model import CwlObject, Port

__all__ = [
    "Fragment",
    "FragmentRun",
    "InstanceResult",
    "PendingJob",
]

_CACHED = 64
SLICE_S = 0.5
"""How long one call of ``pump`` may evaluate expressions: the thread is shared by all fragments of a process."""


@dataclass(frozen=True)
class InstanceResult:
    """How one instance of a fragment ended.

    :ivar status: ``success``, ``skipped`` (``when`` was false for all of it), ``permanentFail`` or ``temporaryFail``.
    :ivar outputs: output port -> value; nulls when skipped or failed.
    """

    outputs: CwlObject
    status: str
    message: str = ""


class Fragment:
    """A compiled step, ready to be run any number of times.

    :ivar owner: name of its document: its expressions have a process of their own.
    :ivar process: what the step runs.
    :ivar single: it holds one command-line tool and no loop: its jobs are numbered in order.
    """

    def __init__(self, document: Mapping[str, Any], *, chunked: bool = False) -> None:
        text = json.dumps(document, sort_keys=True)
        document = json.loads(text)
        self.owner = hashlib.sha256(text.encode()).hexdigest()
        step = document["steps"][0]
        if chunked and "scatter" in step:
            step["scatterMethod"] = "dotproduct"
        self.document = document
        self.name = str(step.get("label") or shortname(step["id"]))
        self.outputs = [shortname(port["id"]) for port in document["outputs"]]
        self.inputs = [shortname(port["id"]) for port in document["inputs"]]
        with messages.caught():
            self._workflow: HybridWorkflow = load_process(document)
        self.process = self._workflow.steps[0].embedded_tool
        self.single = isinstance(self.process, HybridTool) and not step.get("loop")
        self._not_connected = {
            port["id"] for port in self._workflow.steps[0].tool["inputs"] if port.get("not_connected")
        }

    @classmethod
    def load(cls, document: Mapping[str, Any], *, chunked: bool = False) -> Fragment:
        """A fragment of a stored document (:func:`airflow_hybrid.cwl.documents.cache.read_document`), cached by
        content.

        :param chunked: the scatter arrays of an instance are a slice, cut by ``inputs.slice_scatter``: the scatter
            method is then dotproduct whatever the step says.
        """
        text = json.dumps(document, sort_keys=True)
        key = (hashlib.sha256(text.encode()).hexdigest(), chunked)
        fragment = _loaded.get(key)
        if fragment is None:
            fragment = _loaded[key] = cls(document, chunked=chunked)
            while len(_loaded) > _CACHED:
                _loaded.popitem(last=False)
        _loaded.move_to_end(key)
        return fragment

    def start(
        self,
        instances: Sequence[CwlObject],
        *,
        name: str,
        reader: Reader | None = None,
        lister: Lister | None = None,
        max_iterations: Callable[[str], int] | None = None,
        first: int = 0,
    ) -> FragmentRun:
        """Begin to run each of ``instances``, a complete set of the step's input ports.

        :param name: for messages.
        :param reader: reads a File for ``loadContents`` of step inputs and for ExpressionTools (blocking).
        :param lister: lists a Directory for them.
        :param max_iterations: most iterations of a loop, by the path of its step; by default there is no bound.
        :param first: for messages: index of the first job in the whole scatter, where this is a chunk of one.
        """
        with javascript.process_of(self.owner):
            return FragmentRun(self, instances, name, StepFs(reader, lister, self.document), max_iterations, first)

    def expand(
        self, inputs: CwlObject, *, reader: Reader | None = None, lister: Lister | None = None
    ) -> list[CwlObject | None]:
        """The inputs that the step's process would get, one per scattered index (flat order), without running it.

        ``valueFrom`` and ``when`` are evaluated; None stands for an index that ``when`` skips.

        :raises CwlError: an expression fails.
        :raises SiteError: a file that an expression looks into cannot be read (retryable).
        """
        fs = StepFs(reader, lister, self.document)
        context = _context(fs, 0)
        context.expanded = []
        ended: list[str] = []
        with messages.caught() as log, javascript.process_of(self.owner):
            generator = self._workflow.start(
                self._complete(inputs), lambda outputs, status: ended.append(status), context
            )
            try:
                next(generator, None)
            except WorkflowException as error:
                if not fs.raised:
                    raise CwlError(messages.plain(str(error))[1], where=self.name) from error
            text = log.take()
        if fs.raised:
            raise fs.raised[0]
        strange = Known(inputs, list(located(self.document))).strange(context.expanded)
        if strange:
            raise made_up(strange, self.name)
        if "success" not in ended:
            raise CwlError(text or "the step's inputs could not be evaluated", where=self.name)
        orders = context.expanded
        if not orders and "scatter" not in self._workflow.steps[0].tool:
            orders = [None]
        return [self._loaded(self._short(order), context) for order in orders]

    def _loaded(self, order: CwlObject | None, context: HybridContext) -> CwlObject | None:
        """The inputs of a sub-workflow that itself loads listings or contents, with these in them."""
        process = self.process
        ports = {shortname(port["id"]): Port("", "", document=port) for port in process.tool["inputs"]}
        loading = [name for name, port in ports.items() if port.loads_listing or port.loads_contents]
        if order is None or not isinstance(process, HybridWorkflow) or not loading:
            return order
        with messages.caught(), javascript.process_of(self.owner):
            try:
                job = process._init_job(order, context).job
            except Exception as error:  # cwltool raises bare ones where a file cannot be read
                if context.raised:
                    raise context.raised[0] from error
                raise CwlError(messages.plain(str(error))[1], where=self.name) from error
        loaded = {
            name: clean(job.get(name), contents=ports[name].loads_contents, listing=ports[name].loads_listing)
            for name in loading
        }
        return {**order, **loaded}

    def _short(self, order: Mapping[str, Any] | None) -> CwlObject | None:
        if order is None:
            return None
        return {shortname(key): clean(value) for key, value in order.items() if key not in self._not_connected}

    def _complete(self, inputs: CwlObject) -> CwlObject:
        return {name: named(inputs.get(name)) for name in self.inputs}


_loaded: OrderedDict[tuple[str, bool], Fragment] = OrderedDict()


def _context(fs: StepFs, instance: int) -> HybridContext:
    context = HybridContext()
    context.make_fs_access = cast(Any, lambda basedir: fs)
    context.instance = instance
    context.raised = fs.raised
    context.make_job = PendingJob
    return context


class _Instance:
    """One running instance."""

    def __init__(
        self,
        number: int,
        workflow: HybridWorkflow,
        inputs: CwlObject,
        fs: StepFs,
        max_iterations: Callable[[str], int] | None,
        first: int,
        owner: str,
    ) -> None:
        self.number = number
        step = workflow.steps[0].tool
        self.empty = any(not inputs.get(shortname(port)) for port in aslist(step.get("scatter", [])))
        self.context = _context(fs, number)
        self.context.ran = []
        self.context.max_iterations = max_iterations
        self.context.first = first
        self.context.owner = owner
        self.outstanding = 0
        self.result: InstanceResult | None = None
        self.errors: list[str] = []
        self.generator = workflow.start(inputs, self.done, self.context)

    def done(self, outputs: Any, status: str) -> None:
        if status == "success" and not self.context.ran and not self.empty:
            status = "skipped"
        outputs = {shortname(key): clean(value) for key, value in (outputs or {}).items()}
        self.result = InstanceResult(outputs, status, "; ".join(self.errors) if "Fail" in status else "")


class FragmentRun:
    """A fragment being run. Thread-confined; no I/O but the reader and lister that were given.

    :ivar paused: the last call of :meth:`pump` ended before all was done that can be done: call it again.
    """

    def __init__(
        self,
        fragment: Fragment,
        instances: Sequence[CwlObject],
        name: str,
        fs: StepFs,
        max_iterations: Callable[[str], int] | None = None,
        first: int = 0,
    ) -> None:
        self._fragment = fragment
        self._fs = fs
        self.name = name
        self.paused = False
        self._jobs = 0
        self._keys: set[str] = set()
        self._instances = [
            _Instance(number, fragment._workflow, fragment._complete(inputs), fs, max_iterations, first, fragment.owner)
            for number, inputs in enumerate(instances)
        ]
        self._active = list(self._instances)
        self._known = Known(instances, list(located(fragment.document)))

    @property
    def finished(self) -> bool:
        """True when every instance has ended; call :meth:`pump` first."""
        return all(instance.result is not None for instance in self._instances)

    @property
    def iterations(self) -> dict[str, int]:
        """How often each loop went round so far, by names and indexes of the steps around it (``/spread[2]/count``)."""
        found: dict[str, int] = {}
        for instance in self._instances:
            for scope, count in instance.context.iterations.items():
                number = f" of instance {instance.number}" if len(self._instances) > 1 else ""
                found[_readable(scope) + number] = count
        return found

    def pump(self) -> list[PendingJob]:
        """Go on as far as results allow: the command-line jobs that are newly ready, in a reproducible order.

        :raises SiteError: a file that an expression looks into cannot be read; this is no failure of the document, and
            to run the fragment again makes sense.
        :raises CwlError: a loop has gone round too often.
        """
        fresh: list[PendingJob] = []
        self.paused = False
        until = time.monotonic() + SLICE_S
        with messages.caught() as log, javascript.process_of(self._fragment.owner):
            for instance in self._active:
                self._advance(instance, fresh, log, until)
                if self._fs.raised:
                    raise self._fs.raised[0]
        self._active = [instance for instance in self._active if instance.result is None]
        return fresh

    def _advance(self, instance: _Instance, fresh: list[PendingJob], log: messages.Caught, until: float) -> None:
        idle = 0
        try:
            while instance.result is None:
                for item in instance.generator:
                    if item is None:
                        idle += 1
                        break
                    idle = 0
                    if isinstance(item, PendingJob):
                        self._register(item, instance)
                        fresh.append(item)
                        continue
                    item.run(instance.context)
                    if time.monotonic() > until and instance.result is None:
                        self.paused = True
                        return
                else:
                    break
                if instance.outstanding or idle > 1:
                    break
        except Exception as error:
            text = messages.plain(str(error))[1] or type(error).__name__
            if isinstance(error, RecursionError):
                text = messages.TOO_DEEP
            _note(instance, log.take() or text)
            self._fail(instance)
            return
        # what a job has failed with says more than cwltool's warning that its step has ended so
        _note(instance, log.take(warns=not instance.errors))
        if instance.result is None and not instance.outstanding:
            self._fail(instance)
        elif instance.result is not None and "Fail" in instance.result.status and instance.errors:
            instance.result = InstanceResult(
                instance.result.outputs, instance.result.status, "; ".join(instance.errors)
            )
        elif instance.result is not None and (problem := _not_json(instance.result.outputs)):
            _note(instance, f"{self.name}: {problem}")
            self._fail(instance)
        elif instance.result is not None and (strange := self._known.strange([instance.result.outputs])):
            _note(instance, str(made_up(strange, self._fragment.name)))
            self._fail(instance)

    def _fail(self, instance: _Instance) -> None:
        message = "; ".join(instance.errors) or "the workflow cannot go on: an input of a step never came"
        outputs: CwlObject = dict.fromkeys(self._fragment.outputs)
        instance.result = InstanceResult(outputs, "permanentFail", message)

    def _register(self, job: PendingJob, instance: _Instance) -> None:
        strange = self._known.strange(job.files())
        if strange:
            raise made_up(strange, job.label)
        job.index, job.run = self._jobs, self
        self._jobs += 1
        instance.outstanding += 1
        # what an earlier try left is taken up by this name: only what was made from the same document and inputs
        made_from = json.dumps(job.inputs, sort_keys=True, default=repr)
        content = hashlib.sha256(f"{self._fragment.owner}{made_from}".encode()).hexdigest()[:10]
        if self._fragment.single:
            job.key = f"{job.index:05d}-{content}"
            return
        digest = hashlib.sha256(f"{instance.number}{job.scope} {content}".encode()).hexdigest()[:16]
        job.key = digest
        number = 1
        while job.key in self._keys:
            number += 1
            job.key = f"{digest}-{number}"
        self._keys.add(job.key)

    def completed(self, job: PendingJob, message: str, outputs: CwlObject | None) -> None:
        """Called by :meth:`PendingJob.complete`."""
        self._known.add(outputs)
        instance = self._instances[job.instance]
        instance.outstanding -= 1
        if message:
            _note(instance, message)

    def results(self) -> list[InstanceResult]:
        """One result per instance, in their order.

        :raises RuntimeError: not :attr:`finished`.
        """
        found = [instance.result for instance in self._instances if instance.result is not None]
        if len(found) != len(self._instances):
            raise RuntimeError("the fragment has not finished")
        return found


def _not_json(outputs: CwlObject) -> str | None:
    try:
        check_json(outputs)
    except CwlError as error:
        return str(error)
    return None


def _readable(scope: str) -> str:
    """A scope with iterations counted from 1, as people do: ``/outer#2/count``."""
    return re.sub(r"#(\d+)", lambda found: f"#{int(found[1]) + 1}", scope)


def _note(instance: _Instance, message: str) -> None:
    if message and message not in instance.errors:
        instance.errors.append(message)
