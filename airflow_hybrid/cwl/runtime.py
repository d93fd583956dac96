# Licensed under the Apache License, Version 2.0; see the LICENSE file.
"""cwltool's processes, adapted: jobs are handed out before they are built, and nothing touches this machine.

cwltool keeps the semantics (scatter, ``when``, ``valueFrom``, linking, loops, command lines, output binding).
What differs is replaced here and nowhere else; cwltool is pinned to the release that this was written for.
"""

from __future__ import annotations

import copy
import functools
import itertools
import json
import logging
import re
from collections.abc import Callable, Iterator, Mapping, MutableMapping
from decimal import Decimal
from typing import TYPE_CHECKING, Any, cast

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
from cwltool.utils import get_listing
from cwltool.workflow import Workflow, WorkflowStep
from cwltool.workflow_job import ReceiveScatterOutput, WorkflowJob, WorkflowJobLoopStep
from rdflib import Graph, URIRef
from schema_salad.sourceline import cmap

from airflow_hybrid.cwl import corrections, javascript, messages
from airflow_hybrid.cwl.file_values import as_changed, members_of
from airflow_hybrid.cwl.output_types import wrong_outputs
from airflow_hybrid.cwl.several_names import told_apart
from airflow_hybrid.cwl.site import JobSite, SitePathMapper
from airflow_hybrid.errors import CwlError, UnsupportedError

if TYPE_CHECKING:
    from airflow_hybrid.cwl.job import PendingJob

STEP_PATH = "airflow_hybrid:path"
"""Key of a process in a stored document: path of the step that runs it."""
CWL_VERSION = "airflow_hybrid:cwlVersion"
"""Key of a process in a stored document: the version that it was written in."""
FORMATS = "airflow_hybrid:formats"
"""Key of a stored document: [subject, predicate, object] triples of the file formats' ontology."""
VALUE_FROM = "StepInputExpressionRequirement"
NOWHERE = "/nonexistent"
EVAL_TIMEOUT_S = 30.0
"""An expression that takes longer is ended: it holds up all the work of its process."""

_log = logging.getLogger("cwltool")
_serial = itertools.count()


def _ignore(outputs: Any, status: str) -> None:
    pass


def _list_where_possible(fs: Any, value: Any, recursive: bool = True) -> None:
    """Directory listings for ``valueFrom``; left out where nobody can list (cwltool would show empty directories)."""
    if getattr(fs, "lists", True):
        get_listing(fs, value, recursive)


def _serial_name(stem: str, names: set[str] | None = None) -> str:
    return f"{stem} {next(_serial)}"


def _drain_in_turn(steps: list[Any], scatter: ReceiveScatterOutput, context: RuntimeContext) -> Iterator[Any]:
    """``parallel_steps`` in linear time: cwltool's begins again at the first job after each one that it yields.

    Jobs do not stop each other: a retry then has only those to repeat that failed.
    """
    active = list(enumerate(steps))
    while scatter.completed < scatter.total:
        progress, waiting = False, []
        before = scatter.completed
        for index, step in active:
            if step is None:
                continue
            ended = True
            try:
                for item in step:
                    if item is None:
                        ended = False
                        break
                    progress = True
                    yield item
            except cwltool.errors.WorkflowException as error:
                _log.error("Cannot make scatter job: %s", error)
                scatter.receive_scatter_output(index, {}, "permanentFail")
            if not ended:
                waiting.append((index, step))
        active = waiting
        if not progress and scatter.completed == before and scatter.completed < scatter.total:
            yield None


@functools.cache
def prepare() -> None:
    """Adapt cwltool's modules, once per process: unique names in constant time and memory, linear scatter."""
    messages.quiet()
    javascript.install()
    for module in (cwltool.command_line_tool, cwltool.workflow_job):
        setattr(module, "uniquename", _serial_name)  # noqa: B010 - names of other modules' attributes
    setattr(cwltool.workflow_job, "parallel_steps", _drain_in_turn)  # noqa: B010
    setattr(cwltool.workflow_job, "get_listing", _list_where_possible)  # noqa: B010
    corrections.install()


class HybridContext(RuntimeContext):
    """A runtime context that makes no directories, knows its place in the fragment and, in a build, its site.

    :ivar scope: names and indexes of the steps around, ``/variant[3]/count#2/train`` (``#``: iteration of a loop,
        from 0): the same in every attempt.
    :ivar first: index of the first job in the whole scatter, where this is a chunk of one.
    :ivar owner: whose JavaScript process this is (:func:`airflow_hybrid.cwl.javascript.process_of`).
    :ivar max_iterations: bound of a loop, by the path of its step.
    :ivar raised: errors that are not the document's, which cwltool would take for its failure.
    :ivar iterations: how often each loop went round, by the scope of its step.
    """

    site: JobSite | None = None
    scope: str = ""
    instance: int = 0
    expanded: list[Any] | None = None
    ran: list[str] | None = None
    max_iterations: Callable[[str], int] | None = None
    first: int = 0
    owner: str = ""

    def __init__(self) -> None:
        super().__init__()
        self.raised: list[Exception] = []
        self.iterations: dict[str, int] = {}
        self.use_container = False
        self.compute_checksum = False
        self.eval_timeout = EVAL_TIMEOUT_S
        self.basedir = NOWHERE
        self.on_error = "continue"
        self.move_outputs = "leave"

    def get_outdir(self) -> str:
        return self.outdir or NOWHERE

    def get_tmpdir(self) -> str:
        return self.tmpdir or NOWHERE

    def get_stagedir(self) -> str:
        return self.stagedir or NOWHERE

    @property
    def postScatterEval(self) -> Callable[[Any], Any] | None:  # noqa: N802 - cwltool's name
        return self.__dict__.get("_post_scatter")

    @postScatterEval.setter
    def postScatterEval(self, function: Callable[[Any], Any] | None) -> None:  # noqa: N802
        if function is not None and self.expanded is not None:
            into, inner = self.expanded, function

            def function(order: Any) -> Any:
                result = inner(order)
                into.append(result)
                return result

        self.__dict__["_post_scatter"] = function


class HybridBuilder(Builder):
    """A builder that writes floats without an exponent, as cwltool does for those that it read from YAML, and shows
    expressions the checksums of outputs, which the site computed.

    :ivar copies: an expression's value is a copy of the input that it gives, a folder that it changed a literal.
    :ivar name_literals: gives the literals in the value of an expression about outputs the locations that cwltool asks
        for; None: there are no outputs yet.
    :ivar unnamed: the texts of InitialWorkDirRequirement's entries that have no ``entryname``.
    """

    copies = False
    name_literals: Callable[[Any], None] | None = None
    unnamed: frozenset[str] = frozenset()

    def do_eval(self, ex: Any, context: Any = None, recursive: bool = False, strip_whitespace: bool = True) -> Any:
        if isinstance(context, list | Mapping):
            self._add_checksums(context)
        members = members_of(context) if self.copies else {}
        found = self._meant(ex, context, recursive) if not strip_whitespace else None
        if found is None:
            found = super().do_eval(ex, context=context, recursive=recursive, strip_whitespace=strip_whitespace)
        if not self.copies:
            return found
        changed = as_changed(copy.deepcopy(found), members)
        if self.name_literals is not None:
            self.name_literals(changed)
        return changed

    def _meant(self, ex: Any, context: Any, recursive: bool) -> Any:
        """The Files or Directories of an expression with white space around it (``entry: |`` ends in a line break).

        CWL makes a text of it, the value as JSON, which becomes a file of the entry's name. An entry without a name
        has no such file: there the author can only have meant the Files or Directories. None for all else.
        """
        if ex not in self.unnamed or ex == ex.strip():
            return None
        found = super().do_eval(ex, context=context, recursive=recursive)
        return found if _are_files(found) else None

    def _add_checksums(self, context: Any) -> None:
        facts = getattr(self.fs_access, "facts", None)
        if not facts:
            return
        for item in context if isinstance(context, list) else [context]:
            if isinstance(item, MutableMapping) and item.get("class") == "File" and "checksum" not in item:
                fact = facts.get(item.get("path"))
                if fact is not None and fact.checksum:
                    item["checksum"] = fact.checksum

    def tostr(self, value: Any) -> str:
        if isinstance(value, float):
            text = repr(value)
            return format(Decimal(text), "f") if "e" in text or "E" in text else text
        return str(super().tostr(value))


def _are_files(value: Any) -> bool:
    """Whether a value is a File or Directory, or a list of nothing but these."""
    items = value if isinstance(value, list) else [value]
    return bool(items) and all(
        isinstance(item, Mapping) and item.get("class") in ("File", "Directory") for item in items
    )


class HybridJob(JobBase):
    """cwltool's description of a job; it is never run here."""

    def run(self, context: RuntimeContext, tmpdir_lock: Any = None) -> None:
        raise NotImplementedError("jobs run at their location")

    def prepare_environment(self, context: RuntimeContext, required: Mapping[str, str]) -> None:
        self.environment = dict(required)

    def _required_env(self) -> dict[str, str]:
        return {}


def plain_data(value: Any) -> Any:
    """Dicts and lists without ruamel's comments: they are copied per job, and plain ones are copied fast."""
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
        # bind_input writes the type it met into a schema of type Any: such a schema is used only once
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
    """A CommandLineTool whose jobs are :class:`PendingJob`: placed and staged first, built later."""

    def __init__(self, tool: Any, loading: LoadingContext) -> None:
        super().__init__(tool, loading)
        self._settle()
        self.notes: dict[str, Any] = {}
        self.asks_size = bool(
            re.search(r"\bsize\b", json.dumps(plain_data([self.tool, self.requirements]), default=str))
        )

    def make_job_runner(self, context: RuntimeContext) -> type[JobBase]:
        return HybridJob

    def make_path_mapper(self, files: Any, stagedir: str, context: RuntimeContext, separate: bool) -> SitePathMapper:
        site = cast(HybridContext, context).site
        assert site is not None
        return SitePathMapper(files, site, stagedir, separate)

    def _initialworkdir(self, j: JobBase | None, builder: Builder) -> None:
        """Each entry has a copy of the input that it names: cwltool gives the last one's name to all of them."""
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
        from airflow_hybrid.cwl.job import PendingJob

        yield PendingJob(self, order, callback, hybrid)

    def build(self, job: PendingJob, context: HybridContext) -> HybridJob:
        """The job of cwltool for a PendingJob that has been placed."""
        return cast(HybridJob, next(iter(super().job(told_apart(job.inputs), _ignore, context))))


class HybridExpressionTool(_Reusable, ExpressionTool):
    """An ExpressionTool: evaluated by whoever advances the fragment; its value has to be what it says."""

    def __init__(self, tool: Any, loading: LoadingContext) -> None:
        super().__init__(tool, loading)
        self._settle()

    def job(self, order: Any, callback: Any, context: RuntimeContext) -> Any:
        for job in super().job(order, None, context):
            members = members_of(job.builder.job)
            # the engine names the fragment's step itself
            inner = f"{self.step_path}: " if cast(HybridContext, context).scope.count("/") > 1 else ""
            job.output_callback = functools.partial(self._ended, callback, members, inner)
            yield job

    def _ended(
        self, callback: Any, members: Mapping[str, frozenset[str]], inner: str, outputs: Any, status: str
    ) -> None:
        problem = wrong_outputs(self, outputs) if status == "success" else None
        if problem:
            _log.error("%s%s", inner, problem)
            status = "permanentFail"
        if status != "success":
            callback({shortname(port["id"]): None for port in self.tool["outputs"]}, status)
            return
        callback(as_changed(outputs, members), status)


class HybridStep(WorkflowStep):
    """A step that tells its process which one it is, by names and indexes."""

    def __init__(self, step: Any, pos: int, loading: LoadingContext, provenance: Any = None) -> None:
        super().__init__(step, pos, loading, provenance)
        # cwltool reads contents at the step when the tool asks for them; the tool's job reads them where it runs
        own = {entry["id"] for entry in step["in"] if entry.get("loadContents")}
        for port in self.tool["inputs"]:
            if port["id"] not in own:
                port.pop("loadContents", None)
        if step.get("loop") and step.get("outputMethod") == "all_iterations":
            for port in self.tool["outputs"]:  # cwltool says so in its static check, which is done when compiling
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
        """:raises WorkflowException: the loop has gone round too often."""
        path = str(getattr(self.embedded_tool, "step_path", "")) or scope
        context.iterations[scope] = iteration
        bound = context.max_iterations(path) if context.max_iterations else iteration
        if iteration <= bound:
            return
        error = CwlError(
            f"the loop has gone round {bound} times and its `when` is still true",
            where=path,
            hint=f"if it is to go on, give its binding a greater `max_iterations`; otherwise see what `when` of {path} "
            "looks at: an input that no `loop` entry changes stays as it is",
        )
        context.raised.append(error)
        raise cwltool.errors.WorkflowException(str(error))


def _loop_of(callback: Any) -> WorkflowJobLoopStep | None:
    """The loop whose iteration a job is."""
    owner = getattr(callback.func, "__self__", None) if isinstance(callback, functools.partial) else None
    return owner if isinstance(owner, WorkflowJobLoopStep) else None


def _indexes(callback: Any) -> str:
    """``[2][0]``: scatter indexes (``#3``: loop iteration) as found in the chain of output callbacks."""
    found: list[str] = []
    while isinstance(callback, functools.partial):
        owner = getattr(callback.func, "__self__", None)
        if isinstance(owner, ReceiveScatterOutput):
            found.append(f"[{callback.args[0]}]")
            callback = owner.output_callback
        elif isinstance(owner, WorkflowJobLoopStep):
            found.append(f"#{owner.iteration}")
            break
        else:
            break
    return "".join(reversed(found))


class HybridWorkflow(_Reusable, Workflow):
    """A Workflow with its steps in the document's order (cwltool shuffles them).

    :ivar looks_into_folders: an expression of a step itself, not of what it runs, asks for listings.
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
        if feature == VALUE_FROM:  # the document's author was warned when it was compiled
            return {"class": feature}, True
        return cast("tuple[Any, bool | None]", super().get_requirement(feature))

    def start(self, inputs: MutableMapping[str, Any], done: Callable[[Any, str], None], context: HybridContext) -> Any:
        """Run with inputs that were checked before: without the copy and the validation of ``job``."""
        requirement, _ = self.get_requirement("LoadListingRequirement")
        depth = (requirement or {}).get("loadListing", "no_listing")
        if depth != "no_listing":
            make_fs_access = cast(Any, context.make_fs_access)
            _list_where_possible(make_fs_access(""), inputs, depth == "deep_listing")
        yield from WorkflowJob(self, context).job(inputs, done, context)


_CLASSES: dict[str, Callable[..., Process]] = {
    "CommandLineTool": HybridTool,
    "ExpressionTool": HybridExpressionTool,
    "Workflow": HybridWorkflow,
}


def load_process(document: Mapping[str, Any]) -> HybridWorkflow:
    """Make cwltool's objects of a stored document, without resolving or validating it again."""
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
