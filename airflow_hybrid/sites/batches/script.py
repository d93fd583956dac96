# Licensed under the Apache License, Version 2.0; see the LICENSE file.
"""The shell text that runs jobs at a location: one function per job, and the runner that pulls them.

Pure builders. The text is POSIX ``sh`` (tried in dash and bash) and forks nothing per job but the tool itself. Its own
names begin with ``ah_`` and are never exported.

Every job is *claimed* by creating ``c/<index>`` exclusively, so any number of runners may pull from one batch and
each job runs once. The evidence that it ended is ``ec/<index>``: ``<exit code> <hundredths of a second> <node>``, or
``- <reason>`` if the command could not be started. It is written with one write, so an empty file is no evidence.
Words that make an exit code doubtful may follow: ``TERM`` (the runner was signalled while the job was running) and
``oom=2`` (the kernel killed two processes of the element for lack of memory).

If the file system is full, the same words are appended to the claim, whose block exists already, and ``disk``, which
came with the batch and is overwritten in place, says so.
"""

from __future__ import annotations

import hashlib
import posixpath
import re
import shlex
from collections.abc import Mapping, Sequence
from dataclasses import replace

from airflow_hybrid import shell_text
from airflow_hybrid.containers import RUNTIMES
from airflow_hybrid.errors import CwlError
from airflow_hybrid.model import JobScript, StageEntry
from airflow_hybrid.model.containers import STAGED, Container, Mount
from airflow_hybrid.sites.hosts.job_folders import job_directory_of

SHARD = 64
"""functions in one ``jobs.<k>.sh``: a runner reads only the files of the jobs that it takes"""
KILL_AFTER_S = 10
_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*\Z")


def shell_word(text: str) -> str:
    """Quote one word for ``sh``, once.

    :raises CwlError: it contains a NUL, which a command line cannot contain.
    """
    if "\0" in text:
        raise CwlError(f"a command line, path or environment value contains a NUL character: {text[:80]!r}")
    return shlex.quote(text)


def job_function(index: int, job: JobScript, late: Sequence[StageEntry] = (), literals: Sequence[str] = ()) -> str:
    """The function ``ah_j<index>`` that becomes the tool of one job (it runs in a subshell and ends with ``exec``).

    :param late: entries that can only be made at the location when the job starts (copies, and what is in them).
    :param literals: for each ``file`` among ``late``, in order, the path of its text.
    """
    lines = [f"ah_j{index}() {{", f"cd {shell_word(job.outdir)} || ah_bad 'its output directory cannot be entered'"]
    texts = iter(literals)
    lines += [_make(entry, texts) for entry in late]
    if job.container is not None:
        return "\n".join([*lines, *_boxed(job, job.container)]) + "\n}\n"
    environment = {"HOME": job.outdir, "TMPDIR": job.tmpdir, **job.environment}
    words = [f"{key}={shell_word(value)}" for key, value in environment.items() if _NAME.match(key)]
    lines.append("export " + " ".join(words))
    lines += _straight(job)
    lines += _open(job)
    if not job.shell:
        lines.append(f"ah_there {shell_word(job.command[0])}")
    lines.append("ah_exec " + " ".join(map(shell_word, _argv(job, environment))))
    return "\n".join(lines) + "\n}\n"


def container_name(outdir: str) -> str:
    """The name of a job's container: a function of its directory, so that any process can end it."""
    return f"airflow-hybrid-{hashlib.sha256(outdir.encode(errors='surrogateescape')).hexdigest()[:20]}"


def _boxed(job: JobScript, container: Container) -> list[str]:
    """The lines that run a job in its container; environment and command are those inside the container."""
    runtime = RUNTIMES[container.image.runtime]
    for key in job.environment:
        if not key or "=" in key:
            raise CwlError(f"not the name of an environment variable: {key!r}")
    command = ["/bin/sh", "-c", job.command[0]] if job.shell else list(job.command)
    name = container_name(job.outdir)
    lines = _straight(job)
    lines += _open(job)
    if container.image.archive:
        load = f"{runtime.load(container.image.archive)} >&2"
        is_present = runtime.present(container.image.reference)
        lines.append(
            f"ah_image {shell_word(is_present)} {shell_word(load)} || ah_bad 'its image cannot be loaded here'"
        )
    if not runtime.makes_mountpoints:
        points = Mount(posixpath.join(posixpath.dirname(job.outdir), "points"), STAGED)
        lines.append(f"mkdir -p {shell_word(points.source)}")
        container = replace(container, mounts=(points, *container.mounts))
        for mount in container.mounts:
            within = mount.target.startswith(f"{STAGED}/")
            point = points.source + mount.target[len(STAGED) :] if within else container.image.reference + mount.target
            lines.append(f"ah_point {shell_word(mount.source)} {shell_word(point)}")
    argv = runtime.argv(container, name, job.environment, command)
    if job.walltime_s is not None:
        argv = ["timeout", "-k", str(KILL_AFTER_S), "--", str(job.walltime_s), *argv]
    # longest first: a mount may be inside another one
    mounts = sorted(container.mounts, key=lambda mount: -len(mount.target))
    pairs = " ".join(f"{shell_word(mount.target)} {shell_word(mount.source)}" for mount in mounts)
    lines.append(f"ah_links() {{ ah_relink {pairs}; }}")
    client = runtime.client if runtime.removes and not container.launcher else "-"
    lines.append(f"ah_box {client} {name} " + " ".join(map(shell_word, argv)))
    return lines


def _argv(job: JobScript, environment: Mapping[str, str]) -> list[str]:
    argv = ["/bin/sh", "-c", job.command[0]] if job.shell else list(job.command)
    odd = [f"{key}={value}" for key, value in environment.items() if not _NAME.match(key)]
    for key in environment:
        if not key or "=" in key:
            raise CwlError(f"not the name of an environment variable: {key!r}")
    if job.walltime_s is not None:
        argv = ["timeout", "-k", str(KILL_AFTER_S), "--", str(job.walltime_s), *argv]
    if odd or argv[0].startswith("-"):  # names that `export` refuses; a command that `exec` takes for an option
        argv = ["env", *odd, "--", *argv] if not odd else ["env", "--", *odd, *argv]
    return argv


def _straight(job: JobScript) -> list[str]:
    """The lines that refuse to open output files through symbolic links, which may lead to an input."""
    paths = [path for path in (job.stdout, job.stderr) if path is not None and not path.startswith("/")]
    why = "its output file is, or lies in, an input: that would be overwritten"
    return [f"ah_straight {shell_word('./' + path)} || ah_bad {shell_word(why)}" for path in dict.fromkeys(paths)]


def _open(job: JobScript) -> list[str]:
    """The lines that open a job's streams; stderr first and alone, since zsh reports errors where the line began."""
    stdout, stderr = out_path(job.stdout, "stdout"), out_path(job.stderr, "stderr")
    output = ">&2" if stdout == stderr else f">|{shell_word(stdout)}"
    source = f"<{shell_word(job.stdin or '/dev/null')}"
    failed = "|| ah_bad 'its input or output files cannot be opened'"
    return [f"command exec 2>|{shell_word(stderr)} {failed}", f"command exec {output} {source} {failed}"]


def out_path(path: str | None, log: str) -> str:
    """The file of a stream, relative to the output directory."""
    return f"../{log}" if path is None else f"./{path}" if not path.startswith("/") else path


def _copy(source: str, target: str, follows: bool) -> str:
    """Copy a file or folder so that the job may write to the copy; both paths are quoted words.

    Symbolic links are replaced by copies of their targets, so that the job cannot write to its inputs through them.
    Dangling links stay links. So does every link in a job's output: what is published has none, so it was added later.
    """
    if not follows:
        return f"cp -R -P -- {source} {target}"
    follow = f"sh -c {shell_word(shell_text.load(__package__, 'follow.sh'))} sh {source} {target}"
    return f"cp -R -H -- {source} {target} && find {target} -type l -exec {follow} {{}} +"


def _make(entry: StageEntry, literals: object) -> str:
    target = shell_word(entry.target)
    parent = f"mkdir -p -- {shell_word(posixpath.dirname(entry.target))}"
    if entry.kind == "mkdir":
        command = f"mkdir -p -- {target}"
    elif entry.kind == "link":
        command = f"{parent} && ln -s -- {shell_word(entry.source or '')} {target}"
    elif entry.kind == "copy":
        source = entry.source or ""
        copy = _copy(shell_word(source), target, follows=job_directory_of(source) is None)
        command = f"{parent} && {copy} && chmod -R u+w -- {target}"
    else:
        command = f"{parent} && cp -- {shell_word(next(literals))} {target}"  # type: ignore[call-overload]
        if entry.executable:
            command += f" && chmod u+x -- {target}"
    return f"{{ {command}; }} 2>>../stderr || ah_bad 'its working directory cannot be prepared'"


def common_exports(jobs: Sequence[JobScript]) -> str:
    """``export A=1 B=2`` for the variables that all jobs share, or ``:``."""
    first, *others = [{**job.environment} for job in jobs]
    if any(job.container is not None for job in jobs):
        return ":"  # variables for a container must not reach the client that starts it
    common = {k: v for k, v in first.items() if _NAME.match(k) and all(o.get(k) == v for o in others)}
    return "export " + " ".join(f"{k}={shell_word(v)}" for k, v in common.items()) if common else ":"
