# Licensed under the Apache License, Version 2.0; see the LICENSE file.
"""One job of a fragment: its files and resources, then its command line, then its outputs."""

from __future__ import annotations

import contextlib
import math
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any, cast

from cwl_utils import expression
from cwltool.errors import WorkflowException
from cwltool.mpi import MpiConfig
from cwltool.process import shortname
from cwltool.update import ORIGINAL_CWLVERSION
from cwltool.utils import normalizeFilesDirs
from schema_salad.exceptions import ValidationException

from airflow_hybrid.cwl import messages
from airflow_hybrid.cwl.documents.default_files import check_used
from airflow_hybrid.cwl.javascript import node as javascript
from airflow_hybrid.cwl.jobs.context import HybridBuilder, HybridContext
from airflow_hybrid.cwl.jobs.job_command import BuiltJob, script_of
from airflow_hybrid.cwl.jobs.job_resources import Wishes
from airflow_hybrid.cwl.jobs.outputs import check_json, publish
from airflow_hybrid.cwl.jobs.runtime import HybridJob, HybridTool
from airflow_hybrid.cwl.jobs.settled_inputs import SettledInputs
from airflow_hybrid.cwl.locations.clear_errors import clear_errors
from airflow_hybrid.cwl.locations.location import JobLocation
from airflow_hybrid.cwl.locations.paths import Inside, JobFiles
from airflow_hybrid.cwl.values.file_values import placed_files
from airflow_hybrid.errors import CwlError
from airflow_hybrid.model import (
    AskedResources,
    CwlObject,
    FactsNeeded,
    JobScript,
    Resources,
    SiteFacts,
    percent_decoded,
)
from airflow_hybrid.model.containers import ImageSource, ReadyImage
from airflow_hybrid.model.records import job_name


@dataclass(frozen=True)
class Grant:
    """The resources that a job gets where it runs.

    :ivar cores: for ``$(runtime.cores)``; None: as requested. ``ram_mib`` likewise.
    :ivar mpi: how MPI programs are started there: cwltool's MPI configuration.
    :ivar image: of the job's container; None: it runs without one.
    """

    cores: float | None = None
    ram_mib: int | None = None
    mpi: Mapping[str, Any] | None = None
    image: ReadyImage | None = None

    def or_asked(self, asked: AskedResources) -> Grant:
        """With what the job asks for in place of what its document says, where the place grants nothing else."""
        cores = asked.cores if self.cores is None else self.cores
        if cores is not None and cores == int(cores):
            cores = int(cores)  # an expression shows 2, as for a document with `coresMin: 2`
        return replace(self, cores=cores, ram_mib=asked.ram_mib if self.ram_mib is None else self.ram_mib)

    def of(self, request: Mapping[str, Any]) -> dict[str, Any]:
        """The answer to cwltool's request for resources."""
        granted = {
            "cores": self.cores or request["coresMin"],
            "ram": self.ram_mib or math.ceil(request["ramMin"]),
            "tmpdirSize": math.ceil(request["tmpdirMin"]),
            "outdirSize": math.ceil(request["outdirMin"]),
        }
        if "cudaDeviceCountMin" in request:
            granted["cudaDeviceCount"] = request["cudaDeviceCountMin"]
        return granted


NOTHING_GRANTED = Grant()


class PendingJob:
    """A command-line job that is ready to run, but not yet placed.

    Life: :meth:`files` and :attr:`resources` -> place -> :meth:`build` -> run -> :meth:`collect` -> :meth:`complete`.
    All calls from the fragment's thread.

    :ivar key: unique in the fragment's run, and the same in every attempt with this document and these inputs; a valid
        file name.
    :ivar step_path: path of the leaf step; ``index``: number of the job in the order of creation.
    :ivar inputs: the job order, with the tool's defaults filled in.
    :ivar asked_again: what it asks for in place of what document and binding say, since it failed before.
    :ivar left_out: entries in its outputs' folders that are neither files nor directories, in words.
    """

    def __init__(self, tool: HybridTool, order: CwlObject, callback: Any, context: HybridContext) -> None:
        self.tool = tool
        self.step_path = tool.step_path
        self.scope = context.scope
        self.instance = context.instance
        self.index = 0
        self.key = ""
        self.run: Any = None
        self._callback = callback
        self._context = context
        settled = SettledInputs(tool.step_path)
        self.inputs = {name: settled.settle(value) for name, value in order.items()}
        for port in tool.tool["inputs"]:
            name = shortname(port["id"])
            if self.inputs.get(name) is None and "default" in port:
                self.inputs[name] = settled.settle(port["default"])
        self._literals = settled.literals
        self._job: HybridJob | None = None
        self._site: JobLocation | None = None
        self.asked_again = AskedResources()
        self.left_out: tuple[str, ...] = ()

    @property
    def label(self) -> str:
        """For messages: ``/variant/train[3][0]``, ``/count: iteration 3``; the same as in its record."""
        return job_name(self.step_path, self.suffix) or self.key

    @property
    def suffix(self) -> str:
        """Which of its step's jobs it is in the run: ``[3][0]``, ``: iteration 3``; ``""``: the only one."""
        indexes = "".join(f"[{part.split('[', 1)[1].split('#')[0]}" for part in self.scope.split("/") if "[" in part)
        if self._context.first and (first := re.match(r"\[(\d+)\]", indexes)):
            indexes = f"[{int(first[1]) + self._context.first}]{indexes[first.end() :]}"
        outer = self._context.outer_indexes
        instance = f"[{outer[self.instance]}]" if outer else ""
        loops = f": iteration {self.iteration}" if self.iteration else ""
        return f"{instance}{indexes}{loops}"

    @property
    def iteration(self) -> str:
        """The iteration of a loop, from 1: ``3``; in nested loops ``2.3`` (the outer one first)."""
        return ".".join(str(int(part.rpartition("#")[2]) + 1) for part in self.scope.split("/") if "#" in part)

    # --- before it is placed ----------------------------------------------------------------------------------

    @property
    def resources(self) -> Resources:
        """The job's evaluated needs: ResourceRequirement and ToolTimeLimit (CWL v1.2 CommandLineTool 5.10 and
        5.11), and cwltool's extensions MPIRequirement and CUDARequirement; in place of some, what its binding says.

        :raises CwlError: an expression in them fails, or a maximum is less than its minimum.
        """
        return self._documented.with_asked(self._asked.values)

    @property
    def _asked(self) -> AskedResources:
        """What it asks for in place of what the document says."""
        binding = self._context.binding
        return self.asked_again.or_else(None if binding is None else binding(self.step_path).resources)

    @property
    def _documented(self) -> Resources:
        """Its needs as the document says."""
        known = self.tool.notes.get("resources")
        if known is not None:
            return cast(Resources, known)
        wishes = Wishes(self.tool, self._number)
        try:
            resources = wishes.resources(self._version)
        except CwlError as error:
            error.where = error.where or self.label
            raise
        if wishes.are_constant:
            self.tool.notes["resources"] = resources
        return resources

    @property
    def _version(self) -> str:
        return str(self.tool.metadata.get(ORIGINAL_CWLVERSION, "v1.2"))

    def _number(self, value: Any, name: str) -> float | int | None:
        if expression.needs_parsing(value):
            value = self.evaluate(value, name)
        if value is None or (isinstance(value, int | float) and not isinstance(value, bool)):
            return value
        raise CwlError(f"{name} is {value!r}, not a number", where=self.label)

    @property
    def image(self) -> ImageSource | None:
        """The image that a DockerRequirement names.

        :raises CwlError: no image can have such a name.
        """
        if "image" in self.tool.notes:
            known: ImageSource | None = self.tool.notes["image"]
            return known
        requirement, required = self.tool.get_requirement("DockerRequirement")
        try:
            source = None if requirement is None else ImageSource.of(requirement, bool(required))
        except CwlError as error:
            error.where = self.label
            raise
        self.tool.notes["image"] = source
        return source

    def evaluate(self, value: Any, name: str) -> Any:
        """Evaluate an expression of a requirement over the job's inputs.

        :raises CwlError: it fails; the message has its ``name``.
        """
        with self._clear_errors(prefix=f"{name}: "):
            return expression.do_eval(
                value, self.inputs, self.tool.requirements, None, None, {}, cwlVersion=self._version
            )

    @property
    def output_ports(self) -> list[str]:
        return [shortname(port["id"]) for port in self.tool.tool["outputs"]]

    def files(self) -> list[CwlObject]:
        """The Files and Directories that must be at the location: those in the inputs (including secondary files) and
        those that an InitialWorkDirRequirement names directly. Each location once, without literals.
        """
        literal = self.tool.notes.get("workdir")
        if literal is None:
            requirement, _ = self.tool.get_requirement("InitialWorkDirRequirement")
            literal = [] if requirement is None else [requirement.get("listing")]
            self.tool.notes["workdir"] = literal
        by_location: dict[str, CwlObject] = {}
        for item in placed_files([self.inputs, literal]):
            by_location.setdefault(item["location"], cast(CwlObject, item))
        check_used(list(by_location.values()))
        return list(by_location.values())

    # --- once it is placed ------------------------------------------------------------------------------------

    def build(
        self,
        jobdir: str,
        paths: Mapping[str, str],
        facts: SiteFacts,
        grant: Grant = NOTHING_GRANTED,
    ) -> JobScript:
        """Build the command line with paths of the location.

        :param jobdir: the job's directory there (absolute).
        :param paths: location URI -> absolute path there, for each of :meth:`files`.
        :param facts: what is known about the location's files; may grow between calls.
        :param grant: the resources that the job gets there.
        :raises FactsNeeded: sizes, contents or listings that ``facts`` lacks; probe them and call again.
        :raises CwlError: the job order does not fit the tool, or an expression fails.
        """
        inputs = {item["location"]: item for item in self.files()}
        missing = [location for location in inputs if location not in paths]
        if missing:
            raise CwlError(f"the input {percent_decoded(missing[0])} has no path", where=self.label)
        input_paths = {location: paths[location] for location in inputs}
        inside = None if grant.image is None else Inside(grant.image.outdir)
        site = JobLocation(jobdir, JobFiles(input_paths, self._literals, inputs), facts, inside)
        site.sizes = self.tool.asks_size
        asked = self._asked
        context = self._context_at(site, grant.or_asked(asked))
        try:
            with self._clear_errors():
                job = self.tool.build(self.inputs, context)
                script = script_of(BuiltJob(self.tool, job, site, context.mpi_config, grant.image))
                if asked.walltime_s is not None:
                    script = replace(script, walltime_s=asked.walltime_s)
        finally:
            if site.fs.needed:
                raise FactsNeeded(list(site.fs.needed)) from None
        self._job, self._site = job, site
        return script

    def _context_at(self, site: JobLocation, grant: Grant) -> HybridContext:
        context = cast(HybridContext, self._context.copy())
        context.site = site
        context.name = self.key
        tool_paths = site.tool_paths
        context.outdir, context.tmpdir, context.stagedir = tool_paths.outdir, tool_paths.tmpdir, tool_paths.stagedir
        context.make_fs_access = cast(Any, lambda basedir: site.fs)
        context.toplevel = False
        if grant.mpi is not None:
            context.mpi_config = MpiConfig(**grant.mpi)
        context.select_resources = lambda request, _: grant.of(request)
        return context

    @property
    def _built(self) -> tuple[HybridJob, JobLocation]:
        if self._job is None or self._site is None:
            raise RuntimeError("the job was not built")
        return self._job, self._site

    @property
    def directory(self) -> str:
        """The built job's paths at the location."""
        return self._built[1].jobdir

    @property
    def granted(self) -> dict[str, Any]:
        """The resources for the built job's expressions."""
        return dict(self._built[0].builder.resources)

    @property
    def updates_in_place(self) -> bool:
        """Whether the tool may change its writable inputs where they are (InplaceUpdateRequirement)."""
        requirement, _ = self.tool.get_requirement("InplaceUpdateRequirement")
        return bool(requirement and requirement["inplaceUpdate"])

    @property
    def updated(self) -> Mapping[str, str]:
        """Inputs that the built job may change where they are: absolute path there -> File or Directory."""
        return self._built[1].updated

    def paths_at_location(self) -> Mapping[str, str]:
        """Paths of the built job's files: location -> absolute path."""
        return self._built[1].paths

    # --- when it has ended ------------------------------------------------------------------------------------

    def status(self, exit_code: int) -> str:
        """``success``, ``temporaryFail`` or ``permanentFail`` by the tool's exit codes (CWL v1.2 section 5)."""
        return self.declared(exit_code) or ("success" if exit_code == 0 else "permanentFail")

    def declared(self, exit_code: int | None) -> str | None:
        """What the document declares about an exit code; None if it does not, or there is no exit code."""
        for status, field in (
            ("success", "successCodes"),
            ("temporaryFail", "temporaryFailCodes"),
            ("permanentFail", "permanentFailCodes"),
        ):
            if exit_code in self.tool.tool.get(field, ()):
                return status
        return None

    def collect(self, exit_code: int, jobdir: str, facts: SiteFacts, to_uri: Callable[[str], str]) -> CwlObject:
        """Bind the outputs; :meth:`build` must have been called.

        :param facts: stat, checksum and listing of everything below ``<jobdir>/out``.
        :param to_uri: absolute path there -> location URI.
        :raises FactsNeeded: contents that an output binding reads; probe them and call again.
        :raises CwlError: an output is missing or of the wrong type, or is outside the output directory.
        """
        job, site = self._job, self._site
        if job is None or site is None or site.jobdir != jobdir:
            raise RuntimeError("build() must come before collect()")
        site.facts, site.sizes = facts, True
        site.left_out.clear()
        site.linked.clear()
        site.fs.needed.clear()
        # cwltool changes what it binds: each call needs the original inputs
        builder = cast(HybridBuilder, job.builder)
        builder.copies, builder.name_literals = True, site.name_literals
        try:
            with self._clear_errors(reads_document=True):
                outputs = job.collect_outputs(site.outdir, exit_code)
                normalizeFilesDirs(cast(Any, outputs))
                collected = {name: publish(value, site, to_uri) for name, value in outputs.items()}
                for port in self.tool.tool["outputs"]:  # cwl.output.json may leave out optional outputs
                    collected.setdefault(shortname(port["id"]), None)
                check_json(collected)
        finally:
            if site.fs.needed:
                raise FactsNeeded(list(site.fs.needed)) from None
        self.left_out = tuple(dict.fromkeys(site.left_out))
        return collected

    def complete(self, outputs: CwlObject | None, status: str = "success", message: str = "") -> None:
        """Pass the outputs (None: the job failed) to the workflow; then :meth:`FragmentRun.pump` goes on.

        :param status: ``success``, ``temporaryFail`` or ``permanentFail``.
        :raises CwlError: a loop cannot make the inputs of its next iteration from the outputs.
        """
        if self.run is not None:
            self.run.completed(self, message, outputs)
        if outputs is None:
            outputs = {shortname(port["id"]): None for port in self.tool.tool["outputs"]}
        self._job = self._site = None
        with messages.caught(), javascript.process_of(self._context.owner):
            try:
                self._callback(outputs, status)
            except (
                WorkflowException,
                ValidationException,
            ) as error:  # of the code that makes the next iteration's inputs
                raise CwlError(messages.plain(str(error))[1], where=self.label) from error

    def _clear_errors(
        self, *, prefix: str = "", reads_document: bool = False
    ) -> contextlib.AbstractContextManager[None]:
        return clear_errors(self.label, self._context.owner, prefix=prefix, reads_document=reads_document)
