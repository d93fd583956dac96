# Licensed under the Apache License, Version 2.0; see the LICENSE file.
"""A running fragment: cwltool's generators, advanced as the results of jobs arrive."""

from __future__ import annotations

import hashlib
import json
import re
import time
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from cwltool.process import shortname

from airflow_hybrid.cwl import messages
from airflow_hybrid.cwl.documents.trust.roots import KnownFiles, located, made_up
from airflow_hybrid.cwl.fragments.compiled_step import CompiledStep
from airflow_hybrid.cwl.javascript import node as javascript
from airflow_hybrid.cwl.jobs.context import HybridContext
from airflow_hybrid.cwl.jobs.job import PendingJob
from airflow_hybrid.cwl.jobs.outputs import check_json
from airflow_hybrid.cwl.values.file_values import clean
from airflow_hybrid.errors import CwlError
from airflow_hybrid.model import CwlObject
from airflow_hybrid.model.walking import map_files

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


class _Instance:
    """One running instance.

    :ivar outstanding: number of its jobs that were handed out and have not ended.
    """

    def __init__(self, fragment: CompiledStep, inputs: CwlObject, context: HybridContext) -> None:
        self.number = context.instance
        self.empty = any(not inputs.get(port) for port in fragment.scattered_ports)
        self.context = context
        self.outstanding = 0
        self.result: InstanceResult | None = None
        self.errors: list[str] = []
        self.several = fragment.several
        self.generator = fragment.workflow_of(inputs, self.done, context)

    def done(self, outputs: Any, status: str) -> None:
        outputs = {shortname(key): clean(value) for key, value in (outputs or {}).items()}
        # one of several steps may have scattered over nothing
        empty = self.empty or (self.several and any(value is not None for value in outputs.values()))
        if status == "success" and not self.context.ran and not empty:
            status = "skipped"
        self.result = InstanceResult(outputs, status, "; ".join(self.errors) if "Fail" in status else "")


@dataclass(frozen=True)
class Part:
    """A part of a step's jobs.

    :ivar first: for messages: index, in the whole scatter, of a chunk's first job.
    :ivar only: indexes of the instances that are run, the others count as skipped; None: all are run.
    :ivar originals: by the location of a file that was made again, that of the first one: a job has the same name with
        either. It may get new entries while the fragment runs.
    :ivar outer_indexes: for messages: index of each instance in the scatter of a sub-workflow around the step.
    """

    first: int = 0
    only: Collection[int] | None = None
    originals: Mapping[str, str] = field(default_factory=dict)
    outer_indexes: Sequence[int] = ()


WHOLE = Part()


class FragmentRun:
    """A running fragment. Confined to one thread; no I/O except by the given reader and lister.

    :ivar paused: the last call of :meth:`pump` stopped early: call it again.
    """

    def __init__(
        self,
        fragment: CompiledStep,
        instances: Sequence[CwlObject],
        name: str,
        context: HybridContext,
        part: Part = WHOLE,
    ) -> None:
        """:param context: of all instances; each gets a copy of its own.
        :param part: which instances are run.
        """
        self._fragment = fragment
        self._raised = context.raised
        self._originals = part.originals
        self.name = name
        self.paused = False
        self._jobs = 0
        self._keys: set[str] = set()
        self._instances = [
            _Instance(fragment, inputs, context.of_instance(number)) for number, inputs in enumerate(instances)
        ]
        for instance in self._instances:
            if part.only is not None and instance.number not in part.only:
                instance.result = InstanceResult(dict.fromkeys(fragment.outputs), "skipped")
        self._active = [instance for instance in self._instances if instance.result is None]
        self._known = KnownFiles(instances, list(located(fragment.document)))

    @property
    def finished(self) -> bool:
        """True when every instance has ended; call :meth:`pump` first."""
        return all(instance.result is not None for instance in self._instances)

    @property
    def iterations(self) -> dict[str, int]:
        """Iterations of each loop so far, by names and indexes of the enclosing steps (``/spread[2]/count``)."""
        counts: dict[str, int] = {}
        for instance in self._instances:
            of_instance = f" of instance {instance.number}" if len(self._instances) > 1 else ""
            for scope, count in instance.context.iterations.items():
                counts[_readable(scope) + of_instance] = count
        return counts

    def pump(self) -> list[PendingJob]:
        """Go on as far as results allow: returns the newly ready command-line jobs, in a reproducible order.

        :raises SiteError: a file that an expression reads cannot be read; this is not an error of the document, and
            running the fragment again may help.
        :raises CwlError: a loop has had too many iterations.
        """
        fresh: list[PendingJob] = []
        self.paused = False
        until = time.monotonic() + SLICE_S
        with messages.caught() as log, javascript.process_of(self._fragment.owner):
            for instance in self._active:
                self._advance(instance, fresh, log, until)
                if self._raised:
                    raise self._raised[0]
        self._active = [instance for instance in self._active if instance.result is None]
        return fresh

    def _advance(self, instance: _Instance, fresh: list[PendingJob], log: messages.Caught, until: float) -> None:
        try:
            if not self._draw(instance, fresh, until):
                self.paused = True
                _note(instance, log.take(warns=not instance.errors))
                return
        except Exception as error:
            text = messages.plain(str(error))[1] or type(error).__name__
            if isinstance(error, RecursionError):
                text = messages.TOO_DEEP
            _note(instance, log.take() or text)
            self._fail(instance)
            return
        # a job's own error says more than cwltool's warning about its step
        _note(instance, log.take(warns=not instance.errors))
        if instance.result is not None:
            self._judge(instance, instance.result)
        elif not instance.outstanding:
            self._fail(instance)

    def _draw(self, instance: _Instance, fresh: list[PendingJob], until: float) -> bool:
        """Take from cwltool's generator everything that it can yield before a job ends.

        :param until: when to pause, by the monotonic clock.
        :returns: False: it was time to pause, and there may be more.
        """
        pauses = 0
        for drawn in instance.generator:
            if drawn is None:
                pauses += 1
                # once more: steps passed already may have become ready since
                if instance.result is not None or instance.outstanding or pauses > 1:
                    return True
                continue
            pauses = 0
            if isinstance(drawn, PendingJob):
                self._register(drawn, instance)
                fresh.append(drawn)
                continue
            drawn.run(instance.context)
            if time.monotonic() > until and instance.result is None:
                return False
        return True

    def _judge(self, instance: _Instance, result: InstanceResult) -> None:
        """An ended instance still fails if its outputs cannot be passed on."""
        if "Fail" in result.status and instance.errors:
            instance.result = InstanceResult(result.outputs, result.status, "; ".join(instance.errors))
            return
        problem = _not_json(result.outputs)
        strange = None if problem else self._known.strange([result.outputs])
        if problem:
            _note(instance, f"{self.name}: {problem}")
            self._fail(instance)
        elif strange:
            _note(instance, str(made_up(strange, self._fragment.name)))
            self._fail(instance)

    def _fail(self, instance: _Instance) -> None:
        message = "; ".join(instance.errors) or "the workflow cannot go on: an input of a step never arrived"
        outputs: CwlObject = dict.fromkeys(self._fragment.outputs)
        instance.result = InstanceResult(outputs, "permanentFail", message)

    def _register(self, job: PendingJob, instance: _Instance) -> None:
        strange = self._known.strange(job.files())
        if strange:
            raise made_up(strange, job.label)
        job.index, job.run = self._jobs, self
        self._jobs += 1
        instance.outstanding += 1
        # an earlier try's job is taken over by this name: it must be made from the same document and inputs
        inputs = map_files(self._original, job.inputs) if self._originals else job.inputs
        made_from = json.dumps(inputs, sort_keys=True, default=repr)
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

    def _original(self, file: dict[str, Any]) -> dict[str, Any]:
        location = str(file.get("location"))
        return {**file, "location": self._originals[location]} if location in self._originals else file

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
        results = [instance.result for instance in self._instances if instance.result is not None]
        if len(results) != len(self._instances):
            raise RuntimeError("the fragment has not finished")
        return results


def _not_json(outputs: CwlObject) -> str | None:
    try:
        check_json(outputs)
    except CwlError as error:
        return str(error)
    return None


def _readable(scope: str) -> str:
    """A scope with iterations counted from 1, as people do: ``/outer#2/count``."""
    return re.sub(r"#(\d+)", lambda match: f"#{int(match[1]) + 1}", scope)


def _note(instance: _Instance, message: str) -> None:
    if message and message not in instance.errors:
        instance.errors.append(message)
