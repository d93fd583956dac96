# Licensed under the Apache License, Version 2.0; see the LICENSE file.
"""Slurm, as pure text: sbatch, squeue, sacct, scontrol, scancel (manual pages of Slurm 20.02 to 24.05).

Facts this leans on: ``squeue -u`` answers with exit code 0 whatever ids it has forgotten, whereas ``squeue -j`` fails
for a single unknown id; ``sacct`` lags some seconds behind; ``scancel`` of a finished job is silent; the largest
array index is ``MaxArraySize - 1``; a job may be accepted that can never start.
"""

from __future__ import annotations

import re
import shlex
from collections.abc import Sequence
from typing import Any

from airflow_hybrid.errors import StatusUnknownError
from airflow_hybrid.model import JobState
from airflow_hybrid.schedulers import slurm_answers as answers
from airflow_hybrid.schedulers.base import (
    Account,
    ElementState,
    QueueView,
    Scheduler,
    Submission,
    render,
    section,
    whole,
)

_OURS = frozenset({"array", "jobName", "job_name", "job-name", "file", "parsable", "wait", "test-only", "wrap"})
_FOR_GOOD = re.compile(
    r"invalid|unrecognized option|unknown option|cannot be satisfied|can not be satisfied|not available|not permitted"
    r"|not allowed|access/permission denied|requires? |ambiguous|more processors|does not (look|exist)|unable to open",
    re.IGNORECASE,
)
_NOT_FOR_GOOD = re.compile(r"AssocMaxSubmit|QOSMaxSubmit|MaxSubmit|temporar|policy|try again|limit", re.IGNORECASE)
_DIRECTIVE = re.compile(r"^#SBATCH\s+(.*)$", re.MULTILINE)
_SHORT = {"-t": "time", "-c": "cpus-per-task", "-o": "output", "-p": "partition", "-A": "account", "-D": "chdir"}


class SlurmScheduler(Scheduler):
    """Slurm through its command line programs; nothing is installed at the site."""

    name = "slurm"
    version_command = "sbatch --version"
    native_walltime = True
    status_interval_s = 2.0

    def parts(self, submission: Submission) -> int:
        return -(-submission.jobs // max(1, submission.max_array))

    def scripts(self, submission: Submission) -> dict[str, str]:
        runner = shlex.quote(f"{submission.directory}/runner.sh")
        return {
            f"batch.{part}.sh": render(submission, f"/bin/sh {runner} {part * submission.max_array}", part=part)
            for part in range(self.parts(submission))
        }

    def runner_tail(self, submission: Submission) -> str:
        requeue = "1" if _requeue(submission) else "0"
        return f"""ah_first=$((${{SLURM_ARRAY_TASK_ID:-0}} + ${{1:-0}}))
ah_me=${{SLURM_ARRAY_JOB_ID:-${{SLURM_JOB_ID:-0}}}}${{SLURM_ARRAY_TASK_ID:+_$SLURM_ARRAY_TASK_ID}}
ah_restarts=${{SLURM_RESTART_COUNT:-0}}
ah_drained() {{ # nothing is left to take: elements that still wait in the queue need not start
    [ {requeue} = 1 ] || [ -z "${{SLURM_ARRAY_JOB_ID:-}}" ] && return 0
    scancel --state=PENDING "$SLURM_ARRAY_JOB_ID" </dev/null >/dev/null 2>&1
    return 0
}}
ah_element
"""

    def arguments(self, submission: Submission, part: int) -> list[str]:
        """The command line of sbatch for one part of the batch, unquoted.

        The user's own options and ``#SBATCH`` lines win over what the CWL document asks for. ``--mem`` in MiB,
        ``--time`` in whole minutes, rounded up, with the time that packing may add.
        """
        count = min(submission.max_array, submission.jobs - part * submission.max_array)
        native = {kebab(key): value for key, value in submission.options.items() if key not in _OURS}
        given = {key for key, value in native.items() if value not in (None, False)} | _directives(submission.template)
        words = ["sbatch", "--parsable", f"--job-name={self.part_name(submission, part).split()[0]}"]
        if submission.jobs > 1 and submission.max_array > 1:
            throttle = f"%{submission.max_concurrent}" if submission.max_concurrent else ""
            words.append(f"--array=0-{count - 1}{throttle}")
        if "output" not in given:
            log = f"{submission.directory}/log".replace("%", "%%").replace("\\", "\\\\")
            words += [f"--output={log}", "--open-mode=append"]
        if "chdir" not in given:
            words.append(f"--chdir={submission.directory}")
        if not given & {"requeue", "no-requeue"}:
            words.append("--no-requeue")
        resources = submission.resources
        if "cores" in resources.explicit and not given & {"cpus-per-task", "ntasks", "exclusive", "cores-per-socket"}:
            words.append(f"--cpus-per-task={whole(resources.cores)}")
        if "ram_mib" in resources.explicit and not given & {"mem", "mem-per-cpu", "mem-per-gpu"}:
            words.append(f"--mem={resources.ram_mib}M")
        if submission.walltime_s is not None and "time" not in given:
            seconds = submission.walltime_s + submission.pack_s + 30
            words.append(f"--time={-(-int(seconds) // 60)}")
        words += [word for key, value in native.items() for word in option(key, value)]
        return [*words, f"{submission.directory}/batch.{part}.sh"]

    def part_name(self, submission: Submission, part: int) -> str:
        name = submission.name if submission.jobs <= submission.max_array else f"{submission.name}.{part}"
        return f"{name} {submission.options.get('clusters') or ''}".rstrip()

    def submit_function(self, submission: Submission) -> str:
        starts = "\n".join(
            f"    {part}) set -- {shlex.join(self.arguments(submission, part))} ;;"
            for part in range(self.parts(submission))
        )
        return f"ah_start() {{\n    case $1 in\n{starts}\n    esac\n{_START}}}\n"

    def functions(self) -> str:
        return _FUNCTIONS

    def status_command(self, ids: Sequence[str]) -> str:
        parts = []
        for cluster in answers.clusters(ids):
            where = f" -M {shlex.quote(cluster)}" if cluster else ""
            parts.append(f"squeue -h{where} -u \"$(id -un)\" -o '%F|%K|%T|%r' 2>&1; ah_rc=$((ah_rc + $?))")
        return "echo '#squeue'; ah_rc=0\n" + "\n".join(parts) + '\necho "#rc $ah_rc"\n'

    def parse_status(self, text: str, ids: Sequence[str]) -> dict[str, QueueView]:
        lines, code = section(text, "squeue")
        if code != 0:
            raise StatusUnknownError(f"squeue did not answer (exit code {code}): {' '.join(lines)[-500:]}")
        wanted = {id_.partition(";")[0]: id_ for id_ in ids}
        found: dict[str, list[tuple[JobState, int, str]]] = {}
        for line in lines:
            fields = line.strip().split("|")
            if len(fields) != 4 or fields[0] not in wanted:
                continue
            state = answers.STATES.get(fields[2], JobState.UNKNOWN)
            found.setdefault(wanted[fields[0]], []).append((state, answers.count(fields[1]), fields[3]))
        return {
            id_: QueueView(
                running=sum(n for state, n, _ in entries if state is JobState.RUNNING),
                pending=sum(n for state, n, _ in entries if state is not JobState.RUNNING),
                reasons=tuple(sorted({why for state, _, why in entries if state is not JobState.RUNNING})),
            )
            for id_, entries in found.items()
            if not all(state.ended for state, _, _ in entries)
        }

    def account_command(self, ids: Sequence[str]) -> str:
        text = self.status_command(ids)
        for cluster in answers.clusters(ids):
            numbers = ",".join(i.partition(";")[0] for i in ids if i.partition(";")[2] == cluster)
            where = f" -M {shlex.quote(cluster)}" if cluster else ""
            shows = "; ".join(f"scontrol{where} -o show job {n} 2>&1 || ah_rc=$?" for n in numbers.split(","))
            text += (
                f"echo '#sacct{cluster}'; sacct -n -X -P{where} -j {numbers} -o JobID,State,ExitCode,NodeList 2>&1\n"
                f'echo "#rc $?"\necho \'#scontrol{cluster}\'; ah_rc=0; {shows}\necho "#rc $ah_rc"\n'
            )
        return text

    def parse_account(self, text: str, ids: Sequence[str]) -> Account:
        elements: dict[str, ElementState] = {}
        complete = True
        problems: list[str] = []
        for cluster in answers.clusters(ids):
            lines, code = section(text, f"sacct{cluster}")
            said = " ".join(lines)
            if code == 0:
                elements.update(answers.sacct(lines, cluster))
            elif not ("storage is disabled" in said or code == 127):
                complete, problems = False, [*problems, f"sacct: {said[-300:]}"]
            lines, code = section(text, f"scontrol{cluster}")
            live = dict(answers.scontrol(lines, cluster))
            for id_, element in list(elements.items()):
                if not element.state.ended:  # the accounting lags behind: only the controller knows what is alive
                    elements[id_] = ElementState(JobState.UNKNOWN, f"accounting: {element.reason}")
            elements.update(live)
        try:
            queued = self.parse_status(text, ids)
        except StatusUnknownError as error:
            return Account(elements, False, "; ".join([error.message, *problems]))
        for id_, view in queued.items():
            state = JobState.RUNNING if view.running else JobState.PENDING
            elements[id_] = ElementState(state, ", ".join(view.reasons))
        return Account(elements, complete, "; ".join(problems))

    def element_id(self, ids: Sequence[str], jobs: int, index: int, max_array: int) -> str | None:
        part = index // max(1, max_array)
        if part >= len(ids):
            return None
        return ids[part] if jobs == 1 or max_array <= 1 else answers.join(ids[part], index % max_array)

    def restarts(self, submission: Submission) -> bool:
        return _requeue(submission)

    def refused_for_good(self, said: str) -> bool:
        return bool(_FOR_GOOD.search(said)) and not _NOT_FOR_GOOD.search(said)

    def explain(self, reason: str) -> str:
        return answers.explain(reason)


def kebab(key: str) -> str:
    """``cpusPerTask`` -> ``cpus-per-task``; ``ignorePBS`` -> ``ignore-pbs``."""
    return re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "-", key).replace("_", "-").lower()


def option(key: str, value: Any) -> list[str]:
    """One native option as words: true is a flag, false and None are left out, a list is joined by commas."""
    if value is None or value is False:
        return []
    if value is True:
        return [f"--{key}"]
    text = ",".join(map(str, value)) if isinstance(value, (list, tuple)) else str(value)
    return [f"--{key}={text}"]


def _directives(template: str | None) -> set[str]:
    """Long names of the options in a template's ``#SBATCH`` lines."""
    names: set[str] = set()
    for line in _DIRECTIVE.findall(template or ""):
        for word in line.split():
            if word.startswith("--"):
                names.add(word[2:].partition("=")[0])
            elif word[:2] in _SHORT:
                names.add(_SHORT[word[:2]])
    return names


def _requeue(submission: Submission) -> bool:
    given = {kebab(k) for k, v in submission.options.items() if v} | _directives(submission.template)
    return "requeue" in given


_START = r"""    ah_out=$("$@" 2>said </dev/null)
    ah_rc=$?
    ah_said=$(cat said; printf %s "$ah_out")
    ah_id=
    for ah_w in $ah_out; do # some sites print a banner first
        case ${ah_w%%;*} in *[!0-9]* | '') ;; *) ah_id=$ah_w ;; esac
    done
    [ $ah_rc = 0 ] && [ -n "$ah_id" ] && return 0
    ah_id=
    [ $ah_rc = 0 ] && return 2
    case $ah_said in
    *[Tt]imed\ out* | *[Uu]nable\ to\ contact* | *[Cc]onnection* | *[Cc]ommunication* | *Zero\ Bytes*) return 2 ;;
    esac
    [ $ah_rc -gt 128 ] && [ $ah_rc -lt 255 ] && return 2 # sbatch was killed
    return 1
"""

_FUNCTIONS = r"""ah_need() {
    for ah_p in sbatch squeue scancel; do command -v $ah_p >/dev/null 2>&1 || echo $ah_p; done
}
ah_find() {
    ah_id= ah_name=$1 ah_at=${2:-}
    set -- ${ah_at:+-M "$ah_at"}
    ah_said=$(squeue -h "$@" -u "$(id -un)" -n "$ah_name" -t all -o %F 2>&1) || return 2
    for ah_w in $ah_said; do case $ah_w in *[!0-9]*) ;; *) ah_id=$ah_w ;; esac done
    if [ -z "$ah_id" ]; then # it may have left the queue
        if ah_said=$(sacct -n -X -P "$@" -u "$(id -un)" --name="$ah_name" -S now-7days -o JobID 2>&1); then
            for ah_w in $ah_said; do case ${ah_w%%_*} in *[!0-9]* | '') ;; *) ah_id=${ah_w%%_*} ;; esac done
        else
            case $ah_said in *storage\ is\ disabled* | *not\ found*) ;; *) return 2 ;; esac
        fi
    fi
    [ -n "$ah_id" ] && [ -n "$ah_at" ] && ah_id="$ah_id;$ah_at"
    return 0
}
ah_cancel() {
    for ah_c; do
        case $ah_c in
        *';'*) scancel -M "${ah_c#*;}" "${ah_c%%;*}" || return 1 ;;
        *) scancel "$ah_c" || return 1 ;;
        esac
    done
}
ah_cancel_name() { scancel ${2:+-M "$2"} --user="$(id -un)" --name="$1"; }
"""
