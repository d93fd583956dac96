# Licensed under the Apache License, Version 2.0; see the LICENSE file.
"""Adapted processes of cwltool: jobs are handed out before they are built, and nothing touches this machine.

cwltool keeps the semantics (scatter, ``when``, ``valueFrom``, linking, loops, command lines, output binding).
All differences are here; cwltool is pinned to the release for which this was written.
"""

from __future__ import annotations

import copy
import functools
import json
import re
import sys
from collections.abc import Callable, Mapping, MutableMapping
from typing import Any, cast

import cwltool.command_line_tool
import cwltool.process
import cwltool.workflow
import cwltool.workflow_job
from cwltool.builder import Builder
from cwltool.command_line_tool import CommandLineTool, ExpressionTool
from cwltool.context import LoadingContext, RuntimeContext
from cwltool.job import JobBase
from cwltool.process import Process, shortname
from cwltool.update import INTERNAL_VERSION, ORIGINAL_CWLVERSION
from cwltool.workflow import Workflow, WorkflowStep
from cwltool.workflow_job import ReceiveScatterOutput, WorkflowJob, WorkflowJobLoopStep
from rdflib import Graph, URIRef
from schema_salad.sourceline import cmap

from airflow_hybrid.cwl import messages
from airflow_hybrid.cwl.adapt import cwltool_log, list_where_possible, prepare
from airflow_hybrid.cwl.jobs.context import HybridBuilder, HybridContext
from airflow_hybrid.cwl.locations.path_mapper import LocationPathMapper
from airflow_hybrid.cwl.names import CWL_VERSION, FORMATS, STEP_PATH, VALUE_FROM
from airflow_hybrid.cwl.values.file_values import as_changed, members_of
from airflow_hybrid.cwl.values.output_types import wrong_outputs
from airflow_hybrid.cwl.values.several_names import told_apart
from airflow_hybrid.errors import CwlError, UnsupportedError
from airflow_hybrid.model import CwlObject


def _ignore(outputs: Any, status: str) -> None:
    pass


class HybridJob(JobBase):
    """cwltool's description of a job; it is never run here."""

    def run(self, context: RuntimeContext, tmpdir_lock: Any = None) -> None:
        raise NotImplementedError("jobs run at their location")

    def prepare_environment(self, context: RuntimeContext, required: Mapping[str, str]) -> None:
        self.environment = dict(required)

    def _required_env(self) -> dict[str, str]:
        return {}


def plain_data(value: Any) -> Any:
    """Dicts and lists without ruamel's comments: they are copied per job, and plain ones are faster to copy."""
    if isinstance(value, Mapping):
        return {key: plain_data(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [plain_data(item) for item in value]
    return value


class _Reusable:
    """Makes a process cheap and safe to use for many jobs."""

    step_path: str
    pristine: Any

    def _settle(self) -> None:
        process = cast(Any, self)
        process.step_path = process.tool.get(STEP_PATH, "")
        process.inputs_record_schema = plain_data(process.inputs_record_schema)
        # bind_input writes the actual type into a schema of type Any: such a schema is used only once
        text = json.dumps(process.inputs_record_schema)
        process.pristine = process.inputs_record_schema if "Any" in text else None
        for key in ("inputs", "outputs"):
            process.tool[key] = plain_data(process.tool[key])

    def _init_job(self, joborder: Any, runtime_context: RuntimeContext) -> Builder:
        process = cast(Any, self)
        if process.pristine is not None:
            process.inputs_record_schema = copy.deepcopy(process.pristine)
        builder: Builder = super()._init_job(joborder, runtime_context)  # type: ignore[misc]
        builder.__class__ = HybridBuilder
        return builder


class HybridTool(_Reusable, CommandLineTool):
    """A CommandLineTool whose jobs come from the context's ``make_job``: placed and staged first, built later."""

    def __init__(self, tool: Any, loading: LoadingContext) -> None:
        super().__init__(tool, loading)
        self._settle()
        self.notes: dict[str, Any] = {}
        self.asks_size = bool(
            re.search(r"\bsize\b", json.dumps(plain_data([self.tool, self.requirements]), default=str))
        )

    def make_job_runner(self, context: RuntimeContext) -> type[JobBase]:
        return HybridJob

    def make_path_mapper(
        self, files: Any, stagedir: str, context: RuntimeContext, separate: bool
    ) -> LocationPathMapper:
        site = cast(HybridContext, context).site
        assert site is not None
        return LocationPathMapper(files, site, stagedir, separate)

    def _initialworkdir(self, j: JobBase | None, builder: Builder) -> None:
        """Copy the input of each entry: otherwise cwltool gives the last entry's name to all of them."""
        copying = cast(HybridBuilder, builder)
        copying.copies = True
        copying.unnamed = self._unnamed_entries()
        try:
            super()._initialworkdir(j, builder)
        finally:
            copying.copies = False
            copying.unnamed = frozenset()

    def _unnamed_entries(self) -> frozenset[str]:
        requirement, _ = self.get_requirement("InitialWorkDirRequirement")
        listing = cast(Any, requirement["listing"] if requirement is not None else [])
        dirents = [item for item in listing if isinstance(item, Mapping) and isinstance(item.get("entry"), str)]
        named = {item["entry"] for item in dirents if item.get("entryname")}
        return frozenset(item["entry"] for item in dirents) - named

    def job(self, order: Any, callback: Any, context: RuntimeContext) -> Any:
        hybrid = cast(HybridContext, context)
        if hybrid.make_job is None:
            raise RuntimeError("the context of a fragment makes no jobs")
        yield hybrid.make_job(self, order, callback, hybrid)

    def build(self, inputs: CwlObject, context: HybridContext) -> HybridJob:
        """The cwltool job with these inputs, at the site of the context."""
        return cast(HybridJob, next(iter(super().job(told_apart(inputs), _ignore, context))))


class HybridExpressionTool(_Reusable, ExpressionTool):
    """An ExpressionTool: evaluated when the fragment advances; its value is checked against its outputs."""

    def __init__(self, tool: Any, loading: LoadingContext) -> None:
        super().__init__(tool, loading)
        self._settle()

    def job(self, order: Any, callback: Any, context: RuntimeContext) -> Any:
        for job in super().job(order, None, context):
            members = members_of(job.builder.job)
            # the engine names the fragment's step itself
            hybrid = cast(HybridContext, context)
            inner = f"{self.step_path}: " if hybrid.several or hybrid.scope.count("/") > 1 else ""
            job.output_callback = functools.partial(self._ended, callback, members, inner)
            yield job

    def _ended(
        self, callback: Any, members: Mapping[str, frozenset[str]], inner: str, outputs: Any, status: str
    ) -> None:
        problem = wrong_outputs(self, outputs) if status == "success" else None
        if problem:
            cwltool_log.error("%s%s", inner, problem)
            status = "permanentFail"
        elif status != "success" and inner and (error := sys.exc_info()[1]) is not None:
            # cwltool calls this while it handles the error, and its own message does not name the step
            cwltool_log.error("%s%s", inner, messages.plain(str(error))[1])
        if status != "success":
            callback({shortname(port["id"]): None for port in self.tool["outputs"]}, status)
            return
        callback(as_changed(outputs, members), status)


class HybridStep(WorkflowStep):
    """A step that tells its process its position, by names and indexes."""

    def __init__(self, step: Any, pos: int, loading: LoadingContext, provenance: Any = None) -> None:
        super().__init__(step, pos, loading, provenance)
        # cwltool reads contents for the tool at the step; the tool's job reads them where it runs
        own = {entry["id"] for entry in step["in"] if entry.get("loadContents")}
        for port in self.tool["inputs"]:
            if port["id"] not in own:
                port.pop("loadContents", None)
        if step.get("loop") and step.get("outputMethod") == "all_iterations":
            for port in self.tool["outputs"]:  # reported by cwltool's static check when compiling
                port["type"] = {"type": "array", "items": port["type"]}

    def job(self, order: Any, callback: Any, runtime_context: RuntimeContext) -> Any:
        context = cast(HybridContext, runtime_context)
        if context.expanded is not None:
            if "scatter" not in self.tool:
                context.expanded.append(order)
            callback({port["id"]: None for port in self.tool["outputs"]}, "success")
            return
        if context.ran is not None and not context.scope:
            context.ran.append(self.id)
        outer = context.scope
        context = cast(HybridContext, context.copy())
        context.scope = f"{outer}/{shortname(self.id)}{_indexes(callback)}"
        loop = _loop_of(callback)
        if loop is not None:
            self._count(f"{outer}/{shortname(self.id)}", loop.iteration + 1, context)
        yield from super().job(order, callback, context)

    def _count(self, scope: str, iteration: int, context: HybridContext) -> None:
        """:raises WorkflowException: the loop has had too many iterations."""
        path = str(getattr(self.embedded_tool, "step_path", "")) or scope
        context.iterations[scope] = iteration
        bound = context.binding(path).max_iterations if context.binding else iteration
        if iteration <= bound:
            return
        error = CwlError(
            f"the loop has had {bound} iterations and its `when` is still true",
            where=path,
            hint=f"to let it go on, set a greater `max_iterations` in its binding; otherwise check what `when` of "
            f"{path} reads: an input that no `loop` entry changes stays the same",
        )
        context.raised.append(error)
        raise cwltool.errors.WorkflowException(str(error))


def _loop_of(callback: Any) -> WorkflowJobLoopStep | None:
    """The loop whose iteration a job is."""
    owner = getattr(callback.func, "__self__", None) if isinstance(callback, functools.partial) else None
    return owner if isinstance(owner, WorkflowJobLoopStep) else None


def _indexes(callback: Any) -> str:
    """``[2][0]``: scatter indexes (``#3``: loop iteration) from the chain of output callbacks."""
    indexes: list[str] = []
    while isinstance(callback, functools.partial):
        owner = getattr(callback.func, "__self__", None)
        if isinstance(owner, ReceiveScatterOutput):
            indexes.append(f"[{callback.args[0]}]")
            callback = owner.output_callback
        elif isinstance(owner, WorkflowJobLoopStep):
            indexes.append(f"#{owner.iteration}")
            break
        else:
            break
    return "".join(reversed(indexes))


class HybridWorkflow(_Reusable, Workflow):
    """A Workflow with its steps in the document's order (cwltool shuffles them).

    :ivar looks_into_folders: an expression of a step itself, not of its process, asks for listings.
    """

    looks_into_folders = False

    def __init__(self, tool: Any, loading: LoadingContext) -> None:
        super().__init__(tool, loading)
        order = {step["id"]: number for number, step in enumerate(self.tool["steps"])}
        self.steps.sort(key=lambda step: order.get(step.id, 0))
        self._settle()
        own = [
            [step.get("when"), step.get("loop"), [port.get("valueFrom") for port in step["in"]]]
            for step in self.tool["steps"]
        ]
        library = (self.get_requirement("InlineJavascriptRequirement")[0] or {}).get("expressionLib")
        self.looks_into_folders = "listing" in json.dumps(plain_data([own, library]), default=str)

    def make_workflow_step(self, step: Any, pos: int, loading: LoadingContext, provenance: Any = None) -> Any:
        return HybridStep(step, pos, loading, provenance)

    def get_requirement(self, feature: str) -> tuple[Any, bool | None]:
        if feature == "LoadListingRequirement" and not self.looks_into_folders:  # its tools do, where they run
            return None, None
        if feature == VALUE_FROM:  # the warning was given when the document was compiled
            return {"class": feature}, True
        return cast("tuple[Any, bool | None]", super().get_requirement(feature))

    def start(self, inputs: MutableMapping[str, Any], done: Callable[[Any, str], None], context: HybridContext) -> Any:
        """Run with inputs that were checked before, without copying and validating ``job``."""
        requirement, _ = self.get_requirement("LoadListingRequirement")
        depth = (requirement or {}).get("loadListing", "no_listing")
        if depth != "no_listing":
            make_fs_access = cast(Any, context.make_fs_access)
            list_where_possible(make_fs_access(""), inputs, depth == "deep_listing")
        yield from WorkflowJob(self, context).job(inputs, done, context)


_CLASSES: dict[str, Callable[..., Process]] = {
    "CommandLineTool": HybridTool,
    "ExpressionTool": HybridExpressionTool,
    "Workflow": HybridWorkflow,
}


def load_process(document: Mapping[str, Any]) -> HybridWorkflow:
    """Make cwltool's objects from a stored document, without resolving or validating it again."""
    prepare()
    formats = None
    if document.get(FORMATS):
        formats = Graph()
        for triple in document[FORMATS]:
            formats.add(cast(Any, tuple(URIRef(term) for term in triple)))

    def make(tool: Any, loading: LoadingContext) -> Process:
        maker = _CLASSES.get(tool["class"])
        if maker is None:
            raise UnsupportedError(f"a process of class {tool['class']} cannot be run")
        loading = loading.copy()
        loading.metadata = {"cwlVersion": INTERNAL_VERSION, ORIGINAL_CWLVERSION: tool.get(CWL_VERSION, "v1.2")}
        process = maker(tool, loading)
        process.formatgraph = formats
        return process

    loading = LoadingContext()
    loading.construct_tool_object = cast(Any, make)
    loading.disable_js_validation = True
    loading.do_validate = False
    loading.relax_path_checks = True
    return cast(HybridWorkflow, make(cmap(cast(Any, document), fn=document.get("label") or "workflow"), loading))
