# Licensed under the Apache License, Version 2.0; see the LICENSE file.
"""The batch directory at a location, which is the truth about a batch; pure builders and parsers, no I/O.

::

    T/                      task directory: a function of dag, run, task, map index and generation
      lock  cancelled       one submit at a time; nothing is submitted any more
      <token>/              batch directory
        manifest meta.json  keys of the jobs, one a line; what a reader needs to know of them
        submitting.<part>   written before the scheduler is asked: the name to look up if the answer is lost
        jobid.<part> jobid  the scheduler's id, each written atomically
        c/<index>           claim: which element has the job
        ec/<index>          exit code: empty counts as absent
        <key>/              job directory: out, tmp, in, stdout, stderr

One remote command submits a batch. It can be repeated at any time, by anybody, after any loss of connection.
"""

from __future__ import annotations

import gzip
import hashlib
import io
import json
import posixpath
import re
import shlex
import tarfile
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from airflow_hybrid.hooks.job_script import SHARD, common_exports, job_function, out_path, runner
from airflow_hybrid.model import JobScript, Resources, StageEntry
from airflow_hybrid.schedulers.base import Scheduler, Submission

_PLAIN = re.compile(r"[A-Za-z0-9_][A-Za-z0-9._-]{0,200}\Z")
_OWN_NAMES = frozenset("c ec log said manifest meta.json jobid stage.tar runner.sh launch.sh".split())
_OWN_PREFIXES = ("jobid.", "submitting.", "batch.", "jobs.")
LOCK_WAIT_S = 90
GZIP_FROM_BYTES = 256 << 10


@dataclass(frozen=True)
class Batch:
    """The jobs of one step that run together at one location.

    :ivar directory: absolute path ``<task directory>/<token>``.
    :ivar name: for people; the scheduler's job name begins with it.
    :ivar keys: names of the job directories, plain and unique; ``jobs`` in the same order.
    :ivar options: native options of the scheduler for this batch, added to those of the service.
    :ivar known: tokens of the other batches of the task directory that the caller knows of.
    """

    directory: str
    name: str
    keys: tuple[str, ...]
    jobs: tuple[JobScript, ...]
    resources: Resources = field(default_factory=Resources)
    options: Mapping[str, Any] = field(default_factory=dict)
    known: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        check_directory(self.directory)
        if not self.jobs or len(self.keys) != len(self.jobs) or len(set(self.keys)) != len(self.keys):
            raise ValueError(f"a batch needs one unique key per job: {len(self.keys)} keys, {len(self.jobs)} jobs")
        for word in (self.token, *self.keys, *self.known):
            if not _PLAIN.match(word):
                raise ValueError(f"not a plain name: {word!r}")
        bad = [key for key in self.keys if key in _OWN_NAMES or key.startswith(_OWN_PREFIXES)]
        if bad:
            raise ValueError(f"the batch directory has a file of that name: {bad[0]!r}")

    @property
    def token(self) -> str:
        return posixpath.basename(self.directory)

    @property
    def task_directory(self) -> str:
        return posixpath.dirname(self.directory)


@dataclass(frozen=True)
class BatchReport:
    """What a batch directory says.

    :ivar results: exit codes by key, of the jobs that ended; None where a command could not be started.
    """

    token: str
    directory: str
    keys: tuple[str, ...]
    scheduler_ids: tuple[str, ...]
    results: Mapping[str, int | None] = field(default_factory=dict)


@dataclass(frozen=True)
class Ending:
    """One ``ec/<index>``: exit code (None: not started, see ``reason``) and wall time."""

    exit_code: int | None
    seconds: float | None = None
    reason: str = ""


@dataclass(frozen=True)
class Evidence:
    """What the batch directory says when its jobs are to be judged; endings and claims by job index."""

    meta: Mapping[str, Any] | None
    ids: tuple[str, ...]
    endings: Mapping[int, Ending]
    claims: Mapping[int, str]
    cancelled: bool
    present: bool


def check_directory(path: str) -> str:
    """:raises ValueError: not absolute, not normal, or with a line break."""
    if not path.startswith("/") or posixpath.normpath(path) != path or "\n" in path or "\0" in path:
        raise ValueError(f"not an absolute and normal path of one line: {path!r}")
    return path


def scheduler_name(batch: Batch) -> str:
    """The job name at the scheduler: readable, and unique to the batch directory."""
    plain = re.sub(r"[^A-Za-z0-9._-]+", "-", batch.name).strip("-.")[:40] or "batch"
    return f"{plain}-{hashlib.sha256(batch.directory.encode(errors='surrogateescape')).hexdigest()[:12]}"


def submission(batch: Batch, **more: Any) -> Submission:
    """The batch as the scheduler sees it; ``more``: the fields that the queue knows."""
    limits = [job.walltime_s for job in batch.jobs]
    return Submission(
        directory=batch.directory,
        name=scheduler_name(batch),
        jobs=len(batch.jobs),
        resources=batch.resources,
        walltime_s=None if None in limits else max(w for w in limits if w is not None),
        environment=common_exports(batch.jobs),
        **more,
    )


def meta(batch: Batch, max_array: int) -> dict[str, Any]:
    """``meta.json``: defaults are left out, so that a large batch stays small."""
    jobs = {
        key: {name: value for name, value in (("o", job.stdout), ("e", job.stderr), ("w", job.walltime_s)) if value}
        for key, job in zip(batch.keys, batch.jobs, strict=True)
        if job.stdout or job.stderr or job.walltime_s
    }
    return {"keys": list(batch.keys), "jobs": jobs, "max_array": max_array}


def archive(batch: Batch, scheduler: Scheduler, sub: Submission) -> bytes:
    """One tar stream with everything that is made at the location, relative to the batch directory.

    Copies, and what is put into them, cannot travel: the job makes them when it starts.

    :raises ValueError: a stage entry lies outside of the batch directory.
    """
    buffer = io.BytesIO()
    now = int(time.time())
    with tarfile.open(fileobj=buffer, mode="w", format=tarfile.GNU_FORMAT, errors="surrogateescape") as tar:

        def add(name: str, kind: bytes = tarfile.REGTYPE, data: bytes = b"", link: str = "", mode: int = 0o644) -> None:
            info = tarfile.TarInfo(f"./{name}")
            info.type, info.size, info.linkname, info.mode, info.mtime = kind, len(data), link, mode, now
            tar.addfile(info, io.BytesIO(data) if data else None)

        functions: list[str] = []
        for index, (key, job) in enumerate(zip(batch.keys, batch.jobs, strict=True)):
            early, late = _split(job.stage)
            for entry in early:
                name = _inside(batch, entry)
                if entry.kind == "mkdir":
                    add(name, tarfile.DIRTYPE, mode=0o755)
                elif entry.kind == "link":
                    add(name, tarfile.SYMTYPE, link=entry.source or "")
                else:
                    add(name, data=entry.text or b"", mode=0o755 if entry.executable else 0o644)
            literals = []
            for entry in late:
                _inside(batch, entry)
                if entry.kind == "file":
                    literals.append(f"{batch.directory}/{key}/literal.{len(literals)}")
                    add(f"{key}/literal.{len(literals) - 1}", data=entry.text or b"")
            for path in (job.stdout, job.stderr):
                if path and "/" in path.lstrip("/"):
                    folder = posixpath.dirname(posixpath.join(job.outdir, path))
                    add(_relative(batch, folder), tarfile.DIRTYPE, mode=0o755)
            functions.append(job_function(index, job, late, literals))
        for shard in range(0, len(functions), SHARD):
            add(f"jobs.{shard // SHARD}.sh", data=_bytes("".join(functions[shard : shard + SHARD])))
        for name, text in scheduler.scripts(sub).items():
            add(name, data=_bytes(text), mode=0o755)
        text = runner(batch.directory, len(batch.jobs), sub.pack_s, scheduler.runner_tail(sub))
        add("runner.sh", data=_bytes(text), mode=0o755)
        add("meta.json", data=json.dumps(meta(batch, sub.max_array), separators=(",", ":")).encode())
        # the last member: without it the stream was cut
        add("manifest", data="".join(f"{key}\n" for key in batch.keys).encode())
    data = buffer.getvalue()
    return gzip.compress(data, 1) if len(data) > GZIP_FROM_BYTES else data


def _split(stage: Sequence[StageEntry]) -> tuple[list[StageEntry], list[StageEntry]]:
    early: list[StageEntry] = []
    late: list[StageEntry] = []
    for entry in stage:
        inside = any(entry.target.startswith(f"{e.target}/") or entry.target == e.target for e in late)
        (late if entry.kind == "copy" or inside else early).append(entry)
    return early, late


def _relative(batch: Batch, path: str) -> str:
    path = posixpath.normpath(path)
    if not path.startswith(f"{batch.directory}/"):
        raise ValueError(f"{path!r} lies outside of the batch directory {batch.directory!r}")
    return path[len(batch.directory) + 1 :]


def _inside(batch: Batch, entry: StageEntry) -> str:
    return _relative(batch, entry.target)


def _bytes(text: str) -> bytes:
    return text.encode(errors="surrogateescape")


# --- commands ---------------------------------------------------------------------------------------------------


def submit_command(batch: Batch, scheduler: Scheduler, sub: Submission, data: bytes, keep_archive: bool = False) -> str:
    """Shell text that submits the batch unless that was done before; ``data`` is its stdin.

    Its stdout is read by :func:`parse_answer`.
    """
    names = "\n".join(
        f"    {part}) ah_name={shlex.quote(scheduler.part_name(sub, part))} ;;" for part in range(scheduler.parts(sub))
    )
    values = {
        "@T@": shlex.quote(batch.task_directory),
        "@B@": shlex.quote(batch.directory),
        "@WAIT@": str(LOCK_WAIT_S),
        "@KNOWN@": shlex.quote(f" {' '.join((batch.token, *batch.known))} "),
        "@PARTS@": str(scheduler.parts(sub)),
        "@TAR@": "tar -xzmof -" if data[:2] == b"\x1f\x8b" else "tar -xmof -",
        "@KEEP@": ("gzip -dc" if data[:2] == b"\x1f\x8b" else "cat") + " >stage.tar && tar -xmof stage.tar",
    }
    if keep_archive:
        values["@TAR@"] = values["@KEEP@"]
    text = _COMMON + scheduler.functions() + scheduler.submit_function(sub)
    text += f"ah_named() {{\n    case $1 in\n{names}\n    esac\n}}\n" + _SUBMIT
    for mark, value in values.items():
        text = text.replace(mark, value)
    return text


def cancel_command(task_directory: str, scheduler: Scheduler) -> str:
    """Shell text that cancels every batch under a task directory, and any that would still come."""
    text = _COMMON + scheduler.functions() + _CANCEL
    return text.replace("@WAIT@", str(LOCK_WAIT_S)).replace("@T@", shlex.quote(check_directory(task_directory)))


def inspect_command(task_directory: str, scheduler: Scheduler, token: str | None = None) -> str:
    """Shell text that reports every batch under a task directory (or one), lost submit replies resolved."""
    text = _COMMON + scheduler.functions() + _INSPECT
    text = text.replace("@WAIT@", str(LOCK_WAIT_S)).replace("@WHICH@", shlex.quote(token) if token else "*")
    return text.replace("@T@", shlex.quote(check_directory(task_directory)))


def evidence_command(directory: str, with_meta: bool) -> str:
    """Shell text that prints what :class:`Evidence` holds."""
    return _EVIDENCE.replace("@B@", shlex.quote(check_directory(directory))).replace(
        "@META@", "cat meta.json 2>/dev/null; echo" if with_meta else ":"
    )


def tails_command(paths: Sequence[str], size: int = 2048) -> str:
    """Shell text that prints the ends of some files, each after its length in bytes."""
    return (
        f'for ah_f in {shlex.join(paths)}; do ah_n=$(tail -c {size} -- "$ah_f" 2>/dev/null | wc -c)\n'
        f'echo "$((ah_n))"; tail -c "$((ah_n))" -- "$ah_f" 2>/dev/null; echo; done\n'
    )


# --- answers ----------------------------------------------------------------------------------------------------


def parse_answer(text: str) -> tuple[str, str, list[str]]:
    """Verdict, message and report lines of a submit, cancel or inspect command; the verdict is ``""`` if it was cut."""
    lines = text.split("\n")
    for position, line in enumerate(lines):
        if line.startswith("#ah "):
            return line[4:], "\n".join(lines[position + 1 :]).strip(), lines[:position]
    return "", text[-500:], lines


def parse_reports(lines: Sequence[str], task_directory: str) -> list[BatchReport]:
    """The reports among lines of ``B token``, ``K key``, ``I id`` and ``E index:content``."""
    reports: list[BatchReport] = []
    keys: list[str] = []
    ids: list[str] = []
    results: dict[str, int | None] = {}
    for line in [*lines, "B "]:
        kind, _, rest = line.partition(" ")
        if kind == "B":
            if reports:
                reports[-1] = BatchReport(reports[-1].token, reports[-1].directory, tuple(keys), tuple(ids), results)
            keys, ids, results = [], [], {}
            if rest:
                reports.append(BatchReport(rest, f"{task_directory}/{rest}", (), ()))
        elif kind == "K":
            keys.append(rest)
        elif kind == "I" and rest != "-":
            ids.append(rest)
        elif kind == "E":
            for index, ending in _endings([rest]):
                if index < len(keys):
                    results[keys[index]] = ending.exit_code
    return reports


def parse_evidence(text: str) -> Evidence:
    """:raises ValueError: the answer was cut off."""
    lines = text.split("\n")
    if "#end" not in lines:
        raise ValueError("the answer was cut off")
    parts: dict[str, list[str]] = {}
    for line in lines:
        if line in ("#meta", "#ids", "#ec", "#c", "#cancelled", "#absent", "#end"):
            current = parts.setdefault(line, [])
        elif parts:
            current.append(line)
    described = "".join(parts.get("#meta", ()))
    return Evidence(
        meta=json.loads(described) if described else None,
        ids=tuple(line for line in parts.get("#ids", ()) if line and line != "-"),
        endings=dict(_endings(parts.get("#ec", ()))),
        claims=dict(_numbered(parts.get("#c", ()))),
        cancelled="#cancelled" in parts,
        present="#absent" not in parts,
    )


def parse_tails(data: bytes) -> list[bytes]:
    """What :func:`tails_command` printed."""
    found = []
    while data:
        number, _, data = data.partition(b"\n")
        size = int(number)
        found.append(data[:size])
        data = data[size + 1 :]
    return found


def _numbered(lines: Sequence[str]) -> Iterator[tuple[int, str]]:
    for line in lines:
        path, colon, content = line.partition(":")
        number = path.rpartition("/")[2]
        if colon and number.isdigit():
            yield int(number), content


def _endings(lines: Sequence[str]) -> Iterator[tuple[int, Ending]]:
    for index, content in _numbered(lines):
        first, _, rest = content.partition(" ")
        if first == "-":
            yield index, Ending(None, None, rest)
        elif first.isdigit():
            yield index, Ending(int(first), int(rest) / 100 if rest.isdigit() else None)


def stream_path(directory: str, key: str, which: str, described: Mapping[str, Any]) -> str:
    """Absolute path of a job's ``stdout`` or ``stderr``."""
    path = described.get("jobs", {}).get(key, {}).get(which[3])
    return posixpath.normpath(posixpath.join(directory, key, "out", out_path(path, which)))


_COMMON = r"""ah_T=@T@
ah_end() { # verdict, message
    echo "#ah $1"
    printf '%s\n' "${2:-}"
    exit 0
}
ah_lock() {
    ah_x=$(mkdir -p -- "$ah_T" 2>&1 && chmod 700 -- "$ah_T" 2>&1) || ah_end nodir "$ah_x"
    ah_x=$(: 2>&1 >>"$ah_T/lock") || ah_end nodir "$ah_x"
    command -v flock >/dev/null 2>&1 || ah_end missing flock
    exec 9>>"$ah_T/lock"
    ah_x=$(flock -w @WAIT@ 9 2>&1) || ah_end locked "$ah_x"
}
ah_keep() { # id of part $1
    echo "$ah_id" >|"jobid.$1.new" && mv -f "jobid.$1.new" "jobid.$1"
}
ah_ran() { # whether some job of the batch was ever begun
    set -- c/* ec/*
    [ -e "$1" ] || [ -e "$2" ]
}
ah_resolve() { # ids of the parts that were begun, looked up where the reply was lost; 2: not known
    for ah_f in submitting.*; do
        ah_p=${ah_f#submitting.}
        [ -e "$ah_f" ] && [ ! -s "jobid.$ah_p" ] || continue
        read -r ah_name ah_site <"$ah_f"
        ah_find "$ah_name" "$ah_site" || return 2
        if [ -z "$ah_id" ] && ah_ran; then ah_id=-; fi
        if [ -n "$ah_id" ]; then ah_keep "$ah_p"; else rm -f "$ah_f"; fi
    done
    return 0
}
ah_report() { # the batch in the working directory
    echo "B ${PWD##*/}"
    sed 's/^/K /' manifest
    ah_p=0
    while [ -e "jobid.$ah_p" ]; do sed 's/^/I /' "jobid.$ah_p"; ah_p=$((ah_p + 1)); done
    find ec -type f -exec grep -H '' {} + | sed 's/^/E /'
}
"""

_SUBMIT = r"""ah_B=@B@
for ah_x in flock tar sed xargs find grep $(ah_need); do
    command -v $ah_x >/dev/null 2>&1 || ah_end missing "$ah_x"
done
ah_lock
[ -e "$ah_T/cancelled" ] && ah_end cancelled
if [ -s "$ah_B/jobid" ]; then
    cd "$ah_B" && ah_report && ah_end attached
fi
ah_found=
for ah_d in "$ah_T"/*/manifest; do # begun by an earlier try that the caller does not know of
    [ -e "$ah_d" ] || continue
    ah_d=${ah_d%/manifest}
    case @KNOWN@ in *" ${ah_d##*/} "*) continue ;; esac
    cd "$ah_d" || continue
    ah_resolve || ah_end unknown "$ah_said"
    set -- jobid.*
    [ -e "$1" ] || continue
    ah_report
    ah_found=1
done
[ -z "$ah_found" ] || ah_end conflict
if [ -e "$ah_B/manifest" ] && cd "$ah_B"; then
    ah_resolve || ah_end unknown "$ah_said"
    set -- submitting.*
    [ -e "$1" ] || { cd /; rm -rf "$ah_B"; } # nothing was submitted: begin anew
fi
if [ ! -e "$ah_B/manifest" ]; then
    ah_N=$ah_T/.new.${ah_B##*/}
    rm -rf "$ah_N" "$ah_B"
    if ah_x=$({ mkdir "$ah_N" && cd "$ah_N" && @TAR@ && mkdir c ec &&
        sed 's,.*,./&/out ./&/tmp,' manifest | xargs mkdir -p && [ -s manifest ]; } 2>&1) &&
        ah_x=$(mv "$ah_N" "$ah_B" 2>&1); then :; else
        rm -rf "$ah_N"
        ah_end unpack "$ah_x"
    fi
fi
cd "$ah_B" || ah_end nodir
ah_k=0
while [ $ah_k -lt @PARTS@ ]; do
    if [ ! -s "jobid.$ah_k" ]; then
        ah_named $ah_k
        echo "$ah_name" >|"submitting.$ah_k" || ah_end unpack 'the batch directory cannot be written to'
        ah_start $ah_k
        case $? in
        0) ah_keep $ah_k ;;
        2) ah_end unknown "$ah_said" ;; # the next call looks it up
        *)
            ah_why=$ah_said
            for ah_f in jobid.*; do [ ! -s "$ah_f" ] || ah_cancel $(cat "$ah_f"); done
            cd /
            rm -rf "$ah_B"
            ah_end refused "$ah_why"
            ;;
        esac
    fi
    ah_k=$((ah_k + 1))
done
ah_k=0
while [ $ah_k -lt @PARTS@ ]; do
    cat "jobid.$ah_k"
    ah_k=$((ah_k + 1))
done >|jobid.new && mv -f jobid.new jobid
ah_report
ah_end submitted
"""

_CANCEL = r"""mkdir -p -- "$ah_T" 2>/dev/null
: >>"$ah_T/cancelled" # runners look at this before each job
ah_lock
ah_bad=
for ah_d in "$ah_T"/*/manifest; do
    cd "${ah_d%/manifest}" 2>/dev/null || continue
    for ah_f in submitting.*; do
        [ -e "$ah_f" ] || continue
        read -r ah_name ah_site <"$ah_f"
        ah_id=
        [ ! -s "jobid.${ah_f#submitting.}" ] || read -r ah_id <"jobid.${ah_f#submitting.}"
        case $ah_id in
        '' | -) ah_x=$(ah_cancel_name "$ah_name" "$ah_site" 2>&1) ;;
        *) ah_x=$(ah_cancel "$ah_id" 2>&1) ;;
        esac || ah_bad="$ah_bad$ah_x "
    done
done
[ -z "$ah_bad" ] || ah_end failed "$ah_bad"
[ -e "$ah_T/cancelled" ] || ah_end failed 'the marker could not be written'
ah_end done
"""

_INSPECT = r"""[ -d "$ah_T" ] || ah_end done
ah_lock
for ah_d in "$ah_T"/@WHICH@/manifest; do
    cd "${ah_d%/manifest}" 2>/dev/null || continue
    ah_resolve || ah_end unknown "$ah_said"
    ah_report
done
ah_end done
"""

_EVIDENCE = r"""cd @B@ 2>/dev/null || { echo '#absent'; echo '#end'; exit 0; }
echo '#meta'; @META@
[ -e manifest ] && [ -d ec ] || echo '#absent'
[ ! -e ../cancelled ] || echo '#cancelled'
echo '#ids'
ah_p=0
while [ -e "jobid.$ah_p" ]; do cat "jobid.$ah_p"; ah_p=$((ah_p + 1)); done
echo '#ec'
find ec -type f -exec grep -H '' {} +
echo '#c'
find c -type f -exec grep -H '' {} +
echo '#end'
"""
