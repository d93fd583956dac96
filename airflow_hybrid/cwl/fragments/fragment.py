# Licensed under the Apache License, Version 2.0; see the LICENSE file.
"""The piece of a workflow that one task runs: a compiled step, loaded once and run any number of times."""

from __future__ import annotations

import hashlib
import json
from collections import OrderedDict
from collections.abc import Callable, Mapping, Sequence
from typing import Any, cast

from cwltool.errors import WorkflowException
from cwltool.process import shortname

from airflow_hybrid.cwl import messages
from airflow_hybrid.cwl.documents.trust.roots import KnownFiles, located, made_up
from airflow_hybrid.cwl.fragments.compiled_step import CompiledStep
from airflow_hybrid.cwl.fragments.fragment_run import WHOLE, FragmentRun, Part
from airflow_hybrid.cwl.fragments.step_files import NO_ACCESS, FileAccess, StepFs
from airflow_hybrid.cwl.javascript import node as javascript
from airflow_hybrid.cwl.jobs.context import HybridContext
from airflow_hybrid.cwl.jobs.job import PendingJob
from airflow_hybrid.cwl.jobs.runtime import HybridWorkflow
from airflow_hybrid.cwl.values.file_values import clean
from airflow_hybrid.errors import CwlError
from airflow_hybrid.model import Binding, CwlObject, Port

_CACHED = 64


class Fragment(CompiledStep):
    """A compiled step that can be run any number of times."""

    @classmethod
    def load(cls, document: Mapping[str, Any], *, chunked: bool = False) -> Fragment:
        """A fragment of a stored document (:func:`airflow_hybrid.cwl.documents.cache.read_document`), cached by
        content.

        :param chunked: the scatter arrays of an instance are a slice from ``inputs.slice_scatter``: the scatter method
            is then always dotproduct.
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
        access: FileAccess = NO_ACCESS,
        binding: Callable[[str], Binding] | None = None,
        part: Part = WHOLE,
    ) -> FragmentRun:
        """Start each of ``instances``, complete sets of the step's input ports.

        :param name: for messages.
        :param access: how Files are read for ``loadContents`` of step inputs and for ExpressionTools, and Directories
            listed (blocking).
        :param binding: that of a step, by its path: the limit of its iterations, and what its jobs ask for. Without
            it, there is no limit, and the document says what they ask for.
        :param part: which part of the step's jobs it has.
        """
        context = self._context(access)
        context.binding = binding
        context.first, context.outer_indexes = part.first, part.outer_indexes
        context.several = self.several
        with javascript.process_of(self.owner):
            return FragmentRun(self, instances, name, context, part)

    def expand(self, inputs: CwlObject, access: FileAccess = NO_ACCESS) -> list[CwlObject | None]:
        """The inputs that the step's process would get, one per scattered index (flat order), without running it.

        ``valueFrom`` and ``when`` are evaluated; None means that ``when`` skips the index.

        :raises CwlError: an expression fails.
        :raises SiteError: a file that an expression reads cannot be read (retryable).
        """
        context = self._context(access)
        orders = self._orders(inputs, context)
        if not orders and not self.scattered_ports:
            orders = [None]
        return [self._loaded(self._short(order), context) for order in orders]

    def _orders(self, inputs: CwlObject, context: HybridContext) -> list[Any]:
        """The inputs that cwltool would pass to the step's process.

        :raises CwlError: an expression fails; SiteError: see :meth:`expand`.
        """
        orders: list[Any] = []
        statuses: list[str] = []
        context.expanded = orders
        with messages.caught() as log, javascript.process_of(self.owner):
            try:
                next(self.workflow_of(inputs, lambda outputs, status: statuses.append(status), context), None)
            except WorkflowException as error:
                if not context.raised:
                    raise CwlError(messages.plain(str(error))[1], where=self.name) from error
            text = log.take()
        if context.raised:
            raise context.raised[0]
        strange = KnownFiles(inputs, list(located(self.document))).strange(orders)
        if strange:
            raise made_up(strange, self.name)
        if "success" not in statuses:
            raise CwlError(text or "the step's inputs could not be evaluated", where=self.name)
        return orders

    def _context(self, access: FileAccess) -> HybridContext:
        fs = StepFs(access, self.document)
        context = HybridContext()
        context.make_fs_access = cast(Any, lambda basedir: fs)
        context.raised = fs.raised
        context.make_job = PendingJob
        context.owner = self.owner
        return context

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
            except Exception as error:  # cwltool raises bare errors if a file cannot be read
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


_loaded: OrderedDict[tuple[str, bool], Fragment] = OrderedDict()
