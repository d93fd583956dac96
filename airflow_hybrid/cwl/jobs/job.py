# Licensed under the Apache License, Version 2.0; see the LICENSE file.
"""One job of a fragment: its files and resources, then its command line, then its outputs."""

from __future__ import annotations

import hashlib
import json
import math
import posixpath
import re
from collections.abc import Callable, Mapping
from typing import Any, cast

from cwl_utils import expression
from cwltool.errors import WorkflowException
from cwltool.job import JobBase
from cwltool.mpi import MpiConfig
from cwltool.process import shortname
from cwltool.update import ORIGINAL_CWLVERSION
from cwltool.utils import normalizeFilesDirs
from schema_salad.exceptions import ValidationException

from airflow_hybrid.cwl import messages
from airflow_hybrid.cwl.documents.default_files import NULL_DEVICE, check_used, is_null_device
from airflow_hybrid.cwl.javascript import node as javascript
from airflow_hybrid.cwl.jobs.context import HybridBuilder, HybridContext
from airflow_hybrid.cwl.jobs.outputs import check_json, publish
from airflow_hybrid.cwl.jobs.runtime import HybridJob, HybridTool
from airflow_hybrid.cwl.jobs.site import OUTPUT_DOCUMENT, Inside, JobSite
from airflow_hybrid.cwl.jobs.staging import Box, keep_literals, refuse_streams_into_inputs, stage_entries
from airflow_hybrid.cwl.values.file_values import with_lists, with_size, without_changed_place
from airflow_hybrid.errors import CwlError
from airflow_hybrid.model import (
    CwlObject,
    FactsNeeded,
    JobScript,
    Resources,
    SiteFacts,
    image_names,
    percent_decoded,
)
from airflow_hybrid.model.containers import Container, ImageSource, ReadyImage
from airflow_hybrid.model.locations import Location, normal

_RUNTIME_FIELDS = ("path", "dirname")
_MPI, _CUDA = "http://commonwl.org/cwltool#MPIRequirement", "http://commonwl.org/cwltool#CUDARequirement"
_SHM_SIZE = "http://commonwl.org/cwltool#ShmSize"
_RESOURCES = {"cores": "cores", "ram": "ram_mib", "tmpdir": "tmpdir_mib", "outdir": "outdir_mib"}


class PendingJob:
    """A command-line job that is ready to run, not yet placed.

    Life: :meth:`files` and :attr:`resources` -> place -> :meth:`build` -> run -> :meth:`collect` -> :meth:`complete`.
    All calls from the fragment's thread.

    :ivar key: unique in the fragment's run, and the same in every attempt with this document and these inputs; a valid
        file name.
    :ivar step_path: path of the leaf step; ``index``: number of the job in the order of creation.
    :ivar inputs: the job order, with the tool's defaults filled in.
    :ivar left_out: what is in its outputs' folders and is neither file nor directory, in words.
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
        self._literals: dict[str, str] = {}
        self.inputs = {name: with_size(self._settle(value)) for name, value in order.items()}
        for port in tool.tool["inputs"]:
            name = shortname(port["id"])
            if self.inputs.get(name) is None and "default" in port:
                self.inputs[name] = with_size(self._settle(port["default"]))
        self._job: HybridJob | None = None
        self._site: JobSite | None = None
        self.left_out: tuple[str, ...] = ()

    @property
    def label(self) -> str:
        """For messages: ``/variant/train [3][0]``, ``/count: iteration 3``."""
        indexes = "".join(f" [{part.split('[', 1)[1].split('#')[0]}" for part in self.scope.split("/") if "[" in part)
        if self._context.first and (found := re.match(r" \[(\d+)\]", indexes)):
            indexes = f" [{int(found[1]) + self._context.first}]{indexes[found.end() :]}"
        loops = f": iteration {self.iteration}" if self.iteration else ""
        return f"{self.step_path}{indexes}{loops}" or self.key

    @property
    def iteration(self) -> str:
        """Which iteration of a loop this is, from 1: ``3``, in loops of loops ``2.3`` (the outer one first)."""
        return ".".join(str(int(part.rpartition("#")[2]) + 1) for part in self.scope.split("/") if "#" in part)

    def _settle(self, value: Any) -> Any:
        """Copy a value with every File and Directory normal: a location, a basename, no path of another site."""
        if isinstance(value, list):
            return [self._settle(item) for item in value]
        if not isinstance(value, Mapping):
            return value
        item = without_changed_place({key: self._settle(entry) for key, entry in value.items()})
        kind = value.get("class")
        if kind not in ("File", "Directory"):
            return item
        item = with_lists(item)
        if is_null_device(item):
            item = {"class": "File", "basename": posixpath.basename(NULL_DEVICE), "contents": ""}
        if "location" not in item and "path" in item:
            item["location"] = item["path"]
        for field in _RUNTIME_FIELDS:
            item.pop(field, None)
        location = item.get("location")
        if location is None or location.startswith("_:"):
            item["location"] = location = f"_:literal-{len(self._literals)}"
            item.setdefault("basename", hashlib.sha1(item.get("contents", "").encode()).hexdigest())
            self._literals[location] = item.get("contents", "")
        else:
            item["location"] = location = self._normal(location)
        if not item.get("basename"):
            item["basename"] = posixpath.basename(Location.parse(location).path)
        if "/" in item["basename"] or item["basename"] in (".", ".."):
            raise CwlError(f"{item['basename']!r} is not the name of a {kind}", where=self.step_path)
        if kind == "File":
            item["nameroot"], item["nameext"] = posixpath.splitext(item["basename"])
        return item

    def _normal(self, location: str) -> str:
        try:
            return normal(location)
        except ValueError as error:
            raise CwlError(f"a file cannot be used: {error}", where=self.step_path) from None

    # --- before it is placed ----------------------------------------------------------------------------------

    @property
    def resources(self) -> Resources:
        """What the job asks for, evaluated: ResourceRequirement and ToolTimeLimit (CWL v1.2 CommandLineTool 5.10 and
        5.11), and cwltool's extensions MPIRequirement and CUDARequirement.

        :raises CwlError: an expression in them fails.
        """
        known = self.tool.notes.get("resources")
        if known is not None:
            return cast(Resources, known)
        requirement, _ = self.tool.get_requirement("ResourceRequirement")
        limit, _ = self.tool.get_requirement("ToolTimeLimit")
        values: dict[str, Any] = {} if self._version != "v1.0" else {"ram_mib": 1024}
        explicit: set[str] = set()
        constant = True
        for name, field in _RESOURCES.items():
            for bound in (f"{name}Min", f"{name}Max"):
                given = (requirement or {}).get(bound)
                if not given:
                    continue
                constant = constant and not expression.needs_parsing(given)
                number = self._number(given, bound)
                if number is not None:
                    values[field] = number if field == "cores" else math.ceil(number)
                    explicit.add(field)
                    break
        seconds = (limit or {}).get("timelimit")
        if seconds:
            constant = constant and not expression.needs_parsing(seconds)
            values["walltime_s"] = int(self._number(seconds, "timelimit") or 0) or None
            explicit.add("walltime_s")
        mpi, cuda = self.tool.get_requirement(_MPI)[0], self.tool.get_requirement(_CUDA)[0]
        for wish, names, field in (
            (mpi, ("processes",), "processes"),
            (cuda, ("cudaDeviceCountMin", "cudaDeviceCountMax", "cudaDeviceCount"), "gpus"),
        ):
            if wish is not None:
                name, asked = next(((name, wish[name]) for name in names if wish.get(name)), (names[0], 1))
                constant = constant and not expression.needs_parsing(asked)
                values[field] = math.ceil(self._number(asked, name) or 0)
                explicit.add(field)
        found = Resources(**values, explicit=frozenset(explicit))
        if constant:
            self.tool.notes["resources"] = found
        return found

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
        """An expression of a requirement, over the job's inputs.

        :raises CwlError: it fails; ``name`` says which it is.
        """
        with self._clear_errors(f"{name}: "):
            return expression.do_eval(
                value, self.inputs, self.tool.requirements, None, None, {}, cwlVersion=self._version
            )

    @property
    def output_ports(self) -> list[str]:
        return [shortname(port["id"]) for port in self.tool.tool["outputs"]]

    def files(self) -> list[CwlObject]:
        """The Files and Directories that must be at the location: those in the inputs (secondary files too) and
        those that an InitialWorkDirRequirement names outright. Each location once; literals are not among them.
        """
        found: dict[str, CwlObject] = {}
        _gather(self.inputs, found)
        literal = self.tool.notes.get("workdir")
        if literal is None:
            requirement, _ = self.tool.get_requirement("InitialWorkDirRequirement")
            literal = [] if requirement is None else [requirement.get("listing")]
            self.tool.notes["workdir"] = literal
        _gather(literal, found)
        check_used(list(found.values()))
        return list(found.values())

    # --- once it is placed ------------------------------------------------------------------------------------

    def build(
        self,
        jobdir: str,
        paths: Mapping[str, str],
        facts: SiteFacts,
        cores: float | None = None,
        ram_mib: int | None = None,
        mpi: Mapping[str, Any] | None = None,
        image: ReadyImage | None = None,
    ) -> JobScript:
        """Make the command line over paths of the location.

        :param jobdir: the job's directory there (absolute).
        :param paths: location URI -> absolute path there, for each of :meth:`files`.
        :param facts: what is known of the location's files; may grow between calls.
        :param mpi: how MPI programs are started there: cwltool's MPI configuration.
        :param cores: granted, for ``$(runtime.cores)``; by default what was asked for. ``ram_mib`` likewise.
        :param image: what the job's container is made of; None: it runs without one.
        :raises FactsNeeded: sizes, contents or listings that ``facts`` lacks; probe them and call again.
        :raises CwlError: the job order does not fit the tool, or an expression fails.
        """
        inputs = {item["location"]: item for item in self.files()}
        missing = [location for location in inputs if location not in paths]
        if missing:
            raise CwlError(f"no path was given for the input {percent_decoded(missing[0])}", where=self.label)
        own = {location: paths[location] for location in inputs}
        site = JobSite(jobdir, own, facts, self._literals, inputs, None if image is None else Inside(image.outdir))
        site.sizes = self.tool.asks_size
        context = cast(HybridContext, self._context.copy())
        context.site = site
        context.name = self.key
        context.outdir, context.tmpdir, context.stagedir = site.seen.outdir, site.seen.tmpdir, site.seen.stagedir
        context.make_fs_access = cast(Any, lambda basedir: site.fs)
        context.toplevel = False
        if mpi is not None:
            context.mpi_config = MpiConfig(**mpi)
        context.select_resources = lambda request, _: _granted(request, cores, ram_mib)
        try:
            with self._clear_errors(""):
                job = self.tool.build(self.inputs, context)
                script = self._script(job, site, context.mpi_config, image)
        finally:
            if site.fs.needed:
                raise FactsNeeded(list(site.fs.needed)) from None
        self._job, self._site = job, site
        return script

    def _script(self, job: JobBase, site: JobSite, mpi: MpiConfig, image: ReadyImage | None) -> JobScript:
        command = [str(argument) for argument in job.command_line]
        shell = self.tool.get_requirement("ShellCommandRequirement")[0] is not None
        environment = dict(job.environment)
        launcher: list[str] = []
        if job.mpi_procs:  # of a shell command, every process is a shell
            launcher = [mpi.runner, mpi.nproc_flag, str(job.mpi_procs), *mpi.extra_flags]
            if image is not None and mpi.env_set:
                launcher = ["env", *(f"{key}={value}" for key, value in mpi.env_set.items()), *launcher]
            environment.update(mpi.env_set)
            shell = False
        elif shell:
            command = command[2:]
        if not command or not command[0]:
            raise CwlError("the command line is empty: baseCommand, arguments or an inputBinding is missing")
        box = None if image is None else Box(site)
        stage = tuple(stage_entries(job, site, box))
        refuse_streams_into_inputs({"stdout": job.stdout, "stderr": job.stderr}, stage, site)
        stdin = self._stdin(job, site, box)
        keep_literals(job, site)
        container = None
        shm, _ = self.tool.get_requirement(_SHM_SIZE)
        if shm and (problem := image_names.size_problem(str(shm["shmSize"]))):
            raise CwlError(problem)
        if box is not None and image is not None:
            container = Container(
                image,
                tuple(box.mounts),
                site.seen.outdir,
                network=bool(job.networkaccess) or image.network,
                launcher=tuple(launcher),
                gpus=int(job.builder.resources.get("cudaDeviceCount") or 0),
                shm_size=str(shm["shmSize"]) if shm else None,
            )
        return JobScript(
            command=tuple(command if container else [*launcher, *command]),
            outdir=site.outdir,
            tmpdir=site.tmpdir,
            environment={"HOME": site.seen.outdir, "TMPDIR": site.seen.tmpdir, **environment},
            stdin=stdin,
            stdout=job.stdout,
            stderr=job.stderr,
            shell=shell,
            stage=stage,
            walltime_s=job.timelimit or None,
            container=container,
        )

    @staticmethod
    def _stdin(job: JobBase, site: JobSite, box: Box | None) -> str | None:
        """Where, outside of a container, the file is that the tool reads from its standard input."""
        if job.stdin is None:
            return None
        found = job.pathmapper.reversemap(job.stdin)
        if found is None:
            raise CwlError(f"stdin is {job.stdin!r}, which is not one of the job's input files")
        if box is None:
            return str(job.stdin)
        return box.hosts[job.stdin] if found[0].startswith("_:") else site.need_path(found[0])

    @property
    def _built(self) -> tuple[JobBase, JobSite]:
        if self._job is None or self._site is None:
            raise RuntimeError("the job was not built")
        return self._job, self._site

    @property
    def directory(self) -> str:
        """Where the built job is at the location."""
        return self._built[1].jobdir

    @property
    def granted(self) -> dict[str, Any]:
        """What the built job's expressions see of its resources."""
        return dict(self._built[0].builder.resources)

    def paths_at_location(self) -> Mapping[str, str]:
        """Where the built job's files are: location -> absolute path."""
        return self._built[1].paths

    # --- when it has ended ------------------------------------------------------------------------------------

    def status(self, exit_code: int) -> str:
        """``success``, ``temporaryFail`` or ``permanentFail`` by the tool's exit codes (CWL v1.2 section 5)."""
        for status, field in (
            ("success", "successCodes"),
            ("temporaryFail", "temporaryFailCodes"),
            ("permanentFail", "permanentFailCodes"),
        ):
            if exit_code in self.tool.tool.get(field, ()):
                return status
        return "success" if exit_code == 0 else "permanentFail"

    def collect(self, exit_code: int, jobdir: str, facts: SiteFacts, to_uri: Callable[[str], str]) -> CwlObject:
        """Bind the outputs; needs :meth:`build` to have been called.

        :param facts: stat, checksum and listing of everything below ``<jobdir>/out``.
        :param to_uri: absolute path there -> location URI.
        :raises FactsNeeded: contents that an output binding reads; probe them and call again.
        :raises CwlError: an output is missing or of the wrong type, or lies outside the output directory.
        """
        job, site = self._job, self._site
        if job is None or site is None or site.jobdir != jobdir:
            raise RuntimeError("build() must come before collect()")
        site.facts, site.sizes = facts, True
        site.left_out.clear()
        site.linked.clear()
        site.fs.needed.clear()
        # cwltool writes into what it binds: each call has to find the inputs as they were
        builder = cast(HybridBuilder, job.builder)
        builder.copies, builder.name_literals = True, site.name_literals
        try:
            with self._clear_errors("", reads_document=True):
                outputs = job.collect_outputs(site.outdir, exit_code)
                normalizeFilesDirs(cast(Any, outputs))
                collected = {name: publish(value, site, to_uri) for name, value in outputs.items()}
                for port in self.tool.tool["outputs"]:  # cwl.output.json may leave optional ones out
                    collected.setdefault(shortname(port["id"]), None)
                check_json(collected)
        finally:
            if site.fs.needed:
                raise FactsNeeded(list(site.fs.needed)) from None
        self.left_out = tuple(dict.fromkeys(site.left_out))
        return collected

    def complete(self, outputs: CwlObject | None, status: str = "success", message: str = "") -> None:
        """Hand the outputs (None: the job failed) to the workflow; then :meth:`FragmentRun.pump` goes on.

        :param status: ``success``, ``temporaryFail`` or ``permanentFail``.
        :raises CwlError: a loop cannot make the inputs of its next iteration of the outputs.
        """
        if self.run is not None:
            self.run.completed(self, message, outputs)
        if outputs is None:
            outputs = {shortname(port["id"]): None for port in self.tool.tool["outputs"]}
        self._job = self._site = None
        with messages.caught(), javascript.process_of(self._context.owner):
            try:
                self._callback(outputs, status)
            except (WorkflowException, ValidationException) as error:  # of what makes the next iteration's inputs
                raise CwlError(messages.plain(str(error))[1], where=self.label) from error

    def _clear_errors(self, prefix: str, *, reads_document: bool = False) -> _ClearErrors:
        return _ClearErrors(self.label, prefix, self._context.owner, reads_document)


class _ClearErrors:
    """Turns what cwltool raises into a CwlError that names the job."""

    def __init__(self, label: str, prefix: str, owner: str, reads_document: bool) -> None:
        self._label, self._prefix, self._reads_document = label, prefix, reads_document
        self._caught: Any = None
        self._process = javascript.process_of(owner)

    def __enter__(self) -> None:
        self._caught = messages.caught()
        self._caught.__enter__()
        self._process.__enter__()

    def __exit__(self, kind: Any, error: BaseException | None, trace: Any) -> None:
        self._process.__exit__(None, None, None)
        self._caught.__exit__(None, None, None)
        if error is None or isinstance(error, FactsNeeded) or not isinstance(error, Exception):
            return
        if isinstance(error, CwlError):
            error.where = error.where or self._label
            return
        known = isinstance(error, WorkflowException | ValidationException)
        text = messages.plain(str(error))[1] if known else f"{type(error).__name__}: {error}"
        if isinstance(error, json.JSONDecodeError) and self._reads_document:
            text = f"{OUTPUT_DOCUMENT} is not JSON: {error}"
        if isinstance(error, RecursionError):
            text = messages.TOO_DEEP
        raise CwlError(self._prefix + text, where=self._label) from error


def _granted(request: dict[str, Any], cores: float | None, ram_mib: int | None) -> dict[str, Any]:
    granted = {
        "cores": cores or request["coresMin"],
        "ram": ram_mib or math.ceil(request["ramMin"]),
        "tmpdirSize": math.ceil(request["tmpdirMin"]),
        "outdirSize": math.ceil(request["outdirMin"]),
    }
    if "cudaDeviceCountMin" in request:
        granted["cudaDeviceCount"] = request["cudaDeviceCountMin"]
    return granted


def _gather(value: Any, found: dict[str, CwlObject]) -> None:
    if isinstance(value, list):
        for item in value:
            _gather(item, found)
    elif isinstance(value, Mapping):
        located = False
        if value.get("class") in ("File", "Directory"):
            location = value.get("location", "_:")
            if not location.startswith("_:"):
                located = True
                found.setdefault(location, cast(CwlObject, value))
        for key, item in value.items():
            if not (located and key == "listing") and isinstance(item, list | Mapping):
                _gather(item, found)
