# Licensed under the Apache License, Version 2.0; see the LICENSE file.
"""A job built by cwltool -> the command at the location, and the contents of the job's directory."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from cwltool.job import JobBase
from cwltool.mpi import MpiConfig

from airflow_hybrid.cwl.jobs.runtime import HybridTool
from airflow_hybrid.cwl.locations.location import JobLocation
from airflow_hybrid.cwl.locations.staging import Box, keep_literals, refuse_streams_into_inputs, stage_entries
from airflow_hybrid.errors import CwlError
from airflow_hybrid.model import JobScript, image_names
from airflow_hybrid.model.containers import Container, ReadyImage

_SHM_SIZE = "http://commonwl.org/cwltool#ShmSize"


@dataclass(frozen=True)
class BuiltJob:
    """A job of cwltool, built with paths of one location.

    :ivar mpi: how MPI programs are started there; ``image``: of its container, None: it has none.
    """

    tool: HybridTool
    job: JobBase
    site: JobLocation
    mpi: MpiConfig
    image: ReadyImage | None


@dataclass(frozen=True)
class _ToolCommand:
    """:ivar launcher: an MPI program and its options that start the command.
    :ivar environment: variables of the tool, and of the launcher.
    """

    arguments: tuple[str, ...]
    launcher: tuple[str, ...]
    environment: dict[str, str]
    is_shell: bool


def script_of(built: BuiltJob) -> JobScript:
    """:raises CwlError: there is nothing to run, or something cannot be staged at its target."""
    job, site = built.job, built.site
    command = _command_of(built)
    box = None if built.image is None else Box(site)
    stage = tuple(stage_entries(job, site, box))
    refuse_streams_into_inputs({"stdout": job.stdout, "stderr": job.stderr}, stage, site)
    stdin = _stdin(job, site, box)
    keep_literals(job, site)
    container = _container(built, box, command.launcher)
    arguments = command.arguments if container else (*command.launcher, *command.arguments)
    return JobScript(
        command=arguments,
        outdir=site.outdir,
        tmpdir=site.tmpdir,
        environment={"HOME": site.tool_paths.outdir, "TMPDIR": site.tool_paths.tmpdir, **command.environment},
        stdin=stdin,
        stdout=job.stdout,
        stderr=job.stderr,
        shell=command.is_shell,
        stage=stage,
        walltime_s=job.timelimit or None,
        container=container,
    )


def _command_of(built: BuiltJob) -> _ToolCommand:
    """:raises CwlError: it is empty."""
    job, mpi = built.job, built.mpi
    arguments = tuple(str(argument) for argument in job.command_line)
    is_shell = built.tool.get_requirement("ShellCommandRequirement")[0] is not None
    environment = dict(job.environment)
    launcher: tuple[str, ...] = ()
    if job.mpi_procs:  # for a shell command, every process is a shell
        launcher = (mpi.runner, mpi.nproc_flag, str(job.mpi_procs), *mpi.extra_flags)
        if built.image is not None and mpi.env_set:
            launcher = ("env", *(f"{key}={value}" for key, value in mpi.env_set.items()), *launcher)
        environment.update(mpi.env_set)
        is_shell = False
    elif is_shell:
        arguments = arguments[2:]
    if not arguments or not arguments[0]:
        raise CwlError("the command line is empty: baseCommand, arguments or an inputBinding is missing")
    return _ToolCommand(arguments, launcher, environment, is_shell)


def _container(built: BuiltJob, box: Box | None, launcher: tuple[str, ...]) -> Container | None:
    """:raises CwlError: the size of the requested shared memory is invalid, even without a container."""
    shm_size = _shm_size(built.tool)
    if box is None or built.image is None:
        return None
    return Container(
        built.image,
        tuple(box.mounts),
        built.site.tool_paths.outdir,
        network=bool(built.job.networkaccess) or built.image.network,
        launcher=launcher,
        gpus=int(built.job.builder.resources.get("cudaDeviceCount") or 0),
        shm_size=shm_size,
    )


def _shm_size(tool: HybridTool) -> str | None:
    requirement: Any = tool.get_requirement(_SHM_SIZE)[0]
    if not requirement:
        return None
    size = str(requirement["shmSize"])
    if problem := image_names.size_problem(size):
        raise CwlError(problem)
    return size


def _stdin(job: JobBase, site: JobLocation, box: Box | None) -> str | None:
    """The path, outside the container, of the file that the tool reads as its standard input."""
    if job.stdin is None:
        return None
    entry = job.pathmapper.reversemap(job.stdin)
    if entry is None:
        raise CwlError(f"stdin is {job.stdin!r}, which is not one of the job's input files")
    if box is None:
        return str(job.stdin)
    location = entry[0]
    return box.hosts[job.stdin] if location.startswith("_:") else site.need_path(location)
