# Licensed under the Apache License, Version 2.0; see the LICENSE file.
"""PBS, as pure text: OpenPBS and PBS Professional, and Torque where it differs. The site says which one it is.

Facts that this relies on (OpenPBS 23.06, PBS Professional 13 to 2022, Torque 4 to 6): ``qstat`` exits non-zero for one
bad id among many and still prints the others; an array has at least two elements; an array of OpenPBS is always
rerunnable; output files are delivered after the job and may get stuck, so the job writes ours itself; ``qsub`` accepts
what can never run and says so in the job's comment.
The text form of ``qstat -f`` is read, not JSON: older versions have no JSON, and unusual variables break that of newer
ones.
"""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator, Mapping, Sequence

from airflow_hybrid import shell_text
from airflow_hybrid.errors import StatusUnknownError
from airflow_hybrid.model import JobState
from airflow_hybrid.schedulers import estimates
from airflow_hybrid.schedulers.asking import (
    ACCOUNT_LIMIT_S,
    STATUS_LIMIT_S,
    Answer,
    ask_section,
    asking_functions,
    section,
)
from airflow_hybrid.schedulers.base import Submission, interpreter
from airflow_hybrid.schedulers.batch import BatchScheduler, Record
from airflow_hybrid.schedulers.everybody import everybody_command
from airflow_hybrid.schedulers.usage import Usage, pbs_usage
from airflow_hybrid.schedulers.words import paired

_ALIVE = {**dict.fromkeys("QHWTM", JobState.PENDING), **dict.fromkeys("REBSU", JobState.RUNNING)}
"""qstat(1): queued, held, waiting, in transit, moved; running, exiting, array begun, suspended, by user's activity"""
_MEMORY, _TIME = JobState.OUT_OF_MEMORY, JobState.TIMEOUT
_ENDS = {
    "Exit_status": {-26: _MEMORY, -27: _MEMORY, -28: _TIME, -29: _TIME},
    "exit_status": {-10: _MEMORY, -11: _TIME, -12: _TIME},
}
"""exit codes of MOM. The attribute has a capital letter in OpenPBS (job.h), none in Torque (pbs_job.h)"""
_GONE = re.compile(
    "Unknown Job|has finished|job_history_enable|not configured to maintain|Unknown queue dest|illegally formed job|^$",
    re.IGNORECASE,
)
_DIALECT = f"case $(ah_asks {STATUS_LIMIT_S} qstat --version 2>&1) in *pbs_version*)"
"""Torque prints its version on stderr"""
_KEEP = r"""sed -nE ':s
/^    (job_state|comment|array_state_count|[Ee]xit_status|exec_host) = /{
:a
p
n
/^	/ba
bs
}
/^(Job Id: |[^ 	])/p'"""


class PbsScheduler(BatchScheduler):
    """PBS, used through its command line programs; requests are those of OpenPBS."""

    name = "pbs"
    # pbs.conf (PBS Professional Administrator's Guide, 9.2.2), qsub(1B) of Torque
    client_variables = (
        "PBS_CONF_FILE",
        "PBS_EXEC",
        "PBS_HOME",
        "PBS_SERVER",
        "PBS_PRIMARY",
        "PBS_DEFAULT",
        "PBS_CLIENT_PORT",
    )
    hosts_command = """awk '!seen[$0]++' "$PBS_NODEFILE\""""
    arrays_rerun = True
    lags = False
    programs = ("qsub", "qstat", "qdel")
    version_command = "qstat --version"
    directive = "#PBS"
    flags = {
        "account": "A", "additionalAttributes": "W", "begin": "a", "checkpoint": "c", "destination": "q",
        "exportAllVariables": "V", "jobName": "N", "mailList": "M", "mailOptions": "m", "prefix": "C", "priority": "p",
        "project": "P", "queue": "q", "resources": "l", "rerunnable": "r", "shellList": "S", "userList": "u",
        "variableList": "v",
    }  # fmt: skip
    ours = frozenset({"file", "N", "J", "t", "I", "z"})
    limits = f"ah_asks {STATUS_LIMIT_S} qstat -B -f"
    large = re.compile(r"array.*(size|large|limit)|illegal -J", re.IGNORECASE)
    largest = re.compile(r"^[ \t]*max_(?:job_)?array_size = (\d+)", re.MULTILINE)
    for_good = re.compile(
        r"illegal|invalid|unknown|undefined|violates|no such|not a\b|unauthorized|denied|missing|requires|cannot submit"
        r"|no default queue|mutually exclusive|can ?not be used|cannot have|conflicting|duplicated?|out of range"
        r"|size exceeded|exceeds (server or )?queue|exceeds allowable|not of type|not supported",
        re.IGNORECASE,
    )
    passing = re.compile(
        r"temporar|credential|try again|would exceed|not enabled|maximum number|license|shutting down|not available"
        r"|feasible nodes|unknown host|internal error|system error|protocol error|No free connections|table full|busy"
        r"|Could not contact",
        re.IGNORECASE,
    )
    never = re.compile(r"Can Never Run|can never run|never be satisfied")
    element = """ah_me=$PBS_JOBID ah_task=${PBS_ARRAY_INDEX:-${PBS_ARRAYID:-0}} ah_restarts=0
ah_group=/$PBS_JOBID/ # of OpenPBS's hook for cgroups
[ ! -e "c/.$ah_me" ] || ah_restarts=1
: >|"c/.$ah_me"
"""
    accepted = "case ${ah_w%%.*} in *[!][0-9]* | '') ;; *) ah_id=$ah_w ;; esac"
    listed = (
        f"ah_x=; {_DIALECT} ah_x=-x ;; esac"
        + r"""
    ah_q=$(ah_apart qstat $ah_x -f) || ah_q=$(ah_apart qstat -f) || { printf '%s\n' "$ah_q"; exit 2; }
    printf '%s\n' "$ah_q" | sed '/^#said$/,$d' | """
        + paired(r"^Job Id: *\(.*\)", "^    Job_Name = ")
    )
    cancel = """ah_x=$(qdel "$ah_c" 2>&1) || case $ah_x in
        *"has finished"* | *Unknown\\ Job* | *"invalid for state"*) ;;
        *) echo "$ah_x"; return 1 ;;
        esac"""

    def array(self, count: int, most: int | None) -> list[str]:
        return ["-J", f"0-{count - 1}", *(["-W", f"max_run_subjobs={most}"] if most else [])]

    def chunks(self, submission: Submission) -> list[str]:
        """The requests to nodes; the memory of several processes is divided among them."""
        processes, memory, gpus = max(submission.nodes, submission.processes), submission.memory_mib, submission.gpus
        if not (submission.cores or memory or gpus or submission.processes or submission.nodes > 1):
            return []
        select = f"{processes}:ncpus={submission.cores or 1}"
        select += f":mem={-(-memory // processes)}mb" if memory else ""
        select += f":ngpus={-(-gpus // processes)}" if gpus else ""
        select += ":mpiprocs=1" if submission.processes or submission.nodes > 1 else ""
        return ["-l", f"select={select}", *(["-l", "place=scatter"] if submission.nodes > 1 else [])]

    def rules(self, submission: Submission, part: int) -> Sequence[tuple[str, Sequence[str]]]:
        rerun = self.size(submission, part) > 1 and self.arrays_rerun
        limit, shell = submission.limit_s, interpreter(submission.template or "")[0]
        return (
            ("S", ["-S", shell] if shell.endswith("sh") else []),  # not the user's login shell, which may be any
            ("o e j k", ["-o", "/dev/null", "-j", "oe"]),
            ("r", ["-r", "y" if rerun else "n"]),  # sites may have `n` for a default, and refuse arrays then
            ("l:select l:nodes l:ncpus l:mem l:procs", self.chunks(submission)),
            ("l:walltime", ["-l", f"walltime={limit}"] if limit else []),
        )

    def submit_function(self, submission: Submission) -> str:

        torque = TorqueScheduler().own_submit_function(submission)
        return f"{_DIALECT}\n{self.own_submit_function(submission)};;\n*)\n{torque};;\nesac\n"

    def own_submit_function(self, submission: Submission) -> str:
        return super().submit_function(submission)

    def restarts(self, submission: Submission) -> bool:
        return submission.jobs > 1 or "r" in self.user_options(submission)

    def capacity_command(self, submission: Submission) -> str:
        return pbs_cpus()

    def parse_capacity(self, text: str) -> estimates.Capacity:
        return estimates.slots(text)

    def everybody_command(self) -> str:
        # the whole of an array (B) stands beside its elements
        rows = """awk '/^#exit /; NF >= 6 && $5 ~ /^[RESHQWTU]$/ { print $6 "|" $5 "|" $3 }'"""
        return everybody_command("qstat -t", "^[HQWT]$", rows)

    def wait_command(self, submission: Submission) -> str:
        options = submission.options
        queue = str(options.get("queue") or options.get("destination") or options.get("q") or "").partition("@")[0]
        chunks = max(submission.nodes, submission.processes, 1)
        return pbs_start(queue or None, chunks, submission.cores or 1)

    def ask_queue(self, ids: Sequence[str]) -> str:
        # OpenPBS counts the elements of an array itself
        return f"""ah_t=-t; {_DIALECT} ah_t= ;; esac
{{ ah_asks {STATUS_LIMIT_S} qstat -f $ah_t {shlex.join(ids)}; echo "#exit $?"; }} | {_KEEP}"""

    def answered(self, lines: Sequence[str], code: int) -> bool:
        exits = [line for line in lines if line.startswith("#exit ")]
        complaints = [line for line in lines if not line.startswith(("Job Id", "#exit", " ", "\t"))]
        return exits == ["#exit 0"] or (
            len(exits) == 1 and bool(complaints) and all(_GONE.search(line) for line in complaints)
        )

    def queue_records(self, lines: Sequence[str], ids: Sequence[str]) -> Iterator[Record]:
        arrays = {_number(id_): id_ for id_ in ids}
        for job, attributes in _jobs(lines):
            array, task = arrays.get(_number(job), ""), re.search(r"\[(\d+)\]", job)
            element = self.element_name(array, int(task[1])) if task else ""
            letter, why = attributes.get("job_state", ""), attributes.get("comment", "")
            counts = _counts(attributes.get("array_state_count", ""))
            if letter in _ALIVE and counts:
                queued, began = counts.get("Queued", 0), letter == "B"
                if queued:
                    yield Record(array, JobState.PENDING, "" if began else why, tasks=queued)
                if began:
                    yield Record(array, JobState.RUNNING, tasks=counts.get("Running", 0) + counts.get("Exiting", 0))
            elif letter in _ALIVE:
                waits = f"{letter} {why}".rstrip() if letter in "HW" else why or letter
                yield Record(array, _ALIVE[letter], waits, element)
            elif letter:
                state, why = _end(attributes)
                yield Record(array, state, why, element, exited=state is JobState.FAILED and "status -" not in why)

    def ask_accounting(self, ids: Sequence[str]) -> str:
        qstat = f"ah_asks {ACCOUNT_LIMIT_S} qstat -x -t -f {shlex.join(ids)}"
        return f"""{_DIALECT} {{ {qstat}; echo "#exit $?"; }} | {_KEEP} ;; esac"""

    def usage_command(self, ids: Sequence[str]) -> str:
        keep = r"sed -nE '/^(Job Id: |#exit |    (job_state|resources_used\.(mem|cput)) = )/p'"
        qstat = f"ah_asks {ACCOUNT_LIMIT_S} qstat $ah_x -t -f {shlex.join(ids)}"
        every = f"""ah_x=; {_DIALECT} ah_x=-x ;; esac; {{ {qstat}; echo "#exit $?"; }} | {keep}"""
        return asking_functions() + ask_section("usage", every)

    def parse_usage(self, text: str, ids: Sequence[str]) -> dict[str, Usage] | None:
        answer = section(text, "usage")
        if answer.code != 0 or "history" in answer.words:
            return None
        return {self.claimed_id(id_, ids): usage for id_, usage in pbs_usage(answer.lines)}

    def _queue(self, text: str, ids: Sequence[str]) -> list[Record]:
        """:raises StatusUnknownError: the answer neither shows a job nor says that there is none."""
        records = super()._queue(text, ids)
        if unmentioned := _unmentioned(section(text, "queue"), ids):
            raise StatusUnknownError(
                f"{self.name} did not answer (exit code 0): it said nothing of {' '.join(unmentioned)}"
            )
        return records

    def accounted(self, lines: Sequence[str], code: int) -> bool:
        return not lines or self.answered(lines, code)

    accounting_records = queue_records

    def element_name(self, id_: str, task: int) -> str:
        return id_.replace("[]", f"[{task}]")

    def claimed_id(self, claim: str, ids: Sequence[str]) -> str:
        task = re.search(r"\[(\d+)\]", claim)
        id_ = next((i for i in ids if _number(i) == _number(claim)), claim)
        return self.element_name(id_, int(task[1])) if task else id_

    def array_id(self, element: str) -> str:
        return re.sub(r"\[\d+\]", "[]", element)


def _number(id_: str) -> str:
    """``18[3].pbs.example.org`` -> ``18``: the server's name differs between answers."""
    match = re.match(r"\d+", id_)
    return match[0] if match else id_


def _unmentioned(answer: Answer, ids: Sequence[str]) -> list[str]:
    """The ids that were asked for and that an answer does not mention."""
    mentioned = {_number(job) for job, _ in _jobs(answer.lines)}
    refusals = [line for line in (*answer.lines, *answer.complaints) if _GONE.search(line)]
    if any("history" in line for line in refusals):  # said once for all
        return []
    mentioned.update(word for line in refusals for word in re.split(r"[\s.\[]+", line))
    return [id_ for id_ in ids if not {id_, _number(id_), id_.partition(".")[0]} & mentioned]


def _jobs(lines: Sequence[str]) -> Iterator[tuple[str, dict[str, str]]]:
    """Jobs of ``qstat -f`` with their attributes, folded lines joined."""
    jobs: list[tuple[str, dict[str, str]]] = []
    key = ""
    for line in lines:
        if line.startswith("Job Id: "):
            jobs.append((line[8:].strip(), {}))
        elif jobs and line.startswith("\t"):
            jobs[-1][1][key] += line.strip()
        elif jobs and (match := re.match(r"    (\w+) = (.*)", line)):
            key = match[1]
            jobs[-1][1][key] = match[2]
    yield from jobs


def _end(attributes: Mapping[str, str]) -> tuple[JobState, str]:
    """How a job ended: state and the site's words."""
    comment = attributes.get("comment", "")
    for key, meanings in _ENDS.items():
        if re.fullmatch(r"-?\d{1,6}", attributes.get(key, "")):
            code = int(attributes[key])
            state = JobState.COMPLETED if code == 0 else JobState.FAILED
            if code > 256 or "terminated by" in comment:  # 256 and a signal: ended from outside
                state = JobState.CANCELLED
            where = f", on {attributes['exec_host']}" if "exec_host" in attributes else ""
            return meanings.get(code, state), f"{comment or 'ended'}, {key} {code}{where}"
    return JobState.CANCELLED, f"{comment or 'deleted before it ran'}, no exit status"


def _counts(text: str) -> dict[str, int]:
    """``Queued:3 Running:1`` as numbers."""
    pairs = (word.partition(":") for word in text.split())
    return {name: int(number) for name, _, number in pairs if number.isascii() and number.isdigit()}


def _nodes(shown: str, per: int) -> str:
    return shell_text.filled(__package__, "pbs_nodes.sh", {"SHOWN": shown, "PER": str(per)})


def pbs_cpus() -> str:
    """Shell text that asks for free and all CPUs of OpenPBS's nodes, and for nodes; no figures: that is unknown."""
    shown = 'f + 0, t "\\nnodes", e + 0, m'
    return f'{asking_functions()}echo "capacity $({_nodes(shown, 1)})"\n'


def pbs_start(queue: str | None, chunks: int, cores: int) -> str:
    """Shell text that estimates when a job would start at OpenPBS: at once, if there are enough free CPUs.

    Otherwise not before those that wait in the queue, for which the scheduler has estimates if the site enables them
    (``backfill_depth``; the attribute ``estimated.start_time``, which ``qstat -f`` shows as a date).
    """
    values = {
        "NODES": _nodes("c + 0", max(1, cores)),
        "QUEUE": shlex.quote(queue or ""),
        "CHUNKS": str(chunks),
        "LIMIT": str(STATUS_LIMIT_S),
    }
    return asking_functions() + shell_text.filled(__package__, "pbs_start.sh", values)


class TorqueScheduler(PbsScheduler):
    """Torque: ``-t`` for arrays, ``nodes=1:ppn=4`` for cores; arrays need not be rerunnable."""

    arrays_rerun = False

    def array(self, count: int, most: int | None) -> list[str]:
        return ["-t", f"0-{count - 1}{f'%{most}' if most else ''}"]

    def chunks(self, submission: Submission) -> list[str]:
        nodes = f"nodes={max(submission.nodes, submission.processes)}:ppn={submission.cores or 1}"
        nodes += f":gpus={submission.gpus}" if submission.gpus else ""
        asks_for_nodes = submission.cores or submission.gpus or submission.processes or submission.nodes > 1
        memory = [f"mem={submission.memory_mib}mb"] if submission.memory_mib else []
        words = [*([nodes] if asks_for_nodes else []), *memory]
        return ["-l", ",".join(words)] if words else []
