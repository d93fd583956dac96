# Licensed under the Apache License, Version 2.0; see the LICENSE file.
"""Grid Engine, as pure text: qsub, qstat, qdel, qacct (manual pages of Son of Grid Engine 8.1.9 and Univa 8.6).

Facts that this relies on: ``qstat`` forgets a job when it ends, and ``qacct`` knows it some seconds later; array tasks
count from 1; ``-w e`` makes qsub refuse what could not run on an empty cluster; ``h_vmem`` is per slot; several slots
on a host need a parallel environment, whose name differs between sites.
"""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

from airflow_hybrid import shell_text
from airflow_hybrid.errors import ConfigError
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
from airflow_hybrid.schedulers.base import Account, ElementState, Submission, interpreter
from airflow_hybrid.schedulers.batch import BatchScheduler, Record
from airflow_hybrid.schedulers.everybody import everybody_command
from airflow_hybrid.schedulers.usage import Usage, sge_usage
from airflow_hybrid.schedulers.words import count_tasks, flag, kebab, paired

_ROW = re.compile(r"\s*(\d+)\s.*\s([a-zA-Z]+)\s+\d\d/\d\d/\d{4} \d\d:\d\d:\d\d\s+(.*)")
_ENDS = {"37": JobState.TIMEOUT, "100": JobState.CANCELLED, "24": JobState.PENDING, "25": JobState.PENDING}
"""sge_status(5): a limit was enforced; all of it was signalled; migrating, rescheduling"""


_FACTS = ("hostname", "jobnumber", "taskid", "failed", "exit_status")
"""accounting(5): what is printed about every task that has ended"""

_USED = ("jobnumber", "taskid", "ru_maxrss", "cpu", "maxvmem")
"""the same, about what it used"""

_YES_OR_NO = frozenset({"b", "j", "now", "r", "R", "shell", "sync"})
"""qsub(1): options whose value is ``y`` or ``n``"""


_UNKNOWN = re.compile(r"Following jobs do not exist( or permissions are not sufficient)?:", re.IGNORECASE)


def _show(ids: Sequence[str]) -> str:
    """Shell text that asks for jobs by their numbers, one by one: qstat does not report all missing ones of several."""
    qstat = f"ah_asks {STATUS_LIMIT_S} qstat -j"
    every = f'for ah_i in {shlex.join(ids)}; do {qstat} "$ah_i"; echo "#exit $?"; done'
    return f"{every} | sed -n '/^job_number:/p;/^#exit /p;/^Following jobs/p'"


def _accounting(ids: Sequence[str], facts: Sequence[str]) -> str:
    """Shell text that asks for some facts about each task of jobs; the other lines are 35 per task."""
    keep = f"/^({'|'.join(facts)}|#exit) /p"
    every = f'for ah_i in {shlex.join(ids)}; do ah_asks {ACCOUNT_LIMIT_S} qacct -j "$ah_i"; echo "#exit $?"; done'
    return f"{every} | sed -nE {shlex.quote(keep)}"


def _is_answer(answer: Answer) -> bool:
    """Whether each job was shown or reported not to exist."""
    if answer.code != 0:
        return False
    exits = [line for line in answer.lines if line.startswith("#exit ")]
    shown = [line for line in answer.lines if line.startswith("job_number:")]
    unknown = [line for line in (*answer.lines, *answer.complaints) if _UNKNOWN.match(line)]
    return bool(exits) and len(shown) + len(unknown) >= len(exits)


class SgeScheduler(BatchScheduler):
    """Grid Engine, used through its command line programs."""

    name = "sge"
    # sge_intro(1)
    client_variables = ("SGE_ROOT", "SGE_CELL", "SGE_CLUSTER_NAME", "SGE_QMASTER_PORT", "SGE_EXECD_PORT")
    programs = ("qsub", "qstat", "qdel", "qconf")  # PBS does not have the last one
    version_command = "qstat -help | sed -n 1p"
    directive = "#$"
    fixed = ("-terse",)
    flags = {
        "account": "A", "begin": "a", "exportAllVariables": "V", "jobName": "N", "mailList": "M", "mailOptions": "m",
        "priority": "p", "project": "P", "queue": "q", "rerunnable": "r", "resources": "l", "shell": "S",
        "variableList": "v",
    }  # fmt: skip
    ours = frozenset({"file", "gpu", "memory", "mpi-pe", "pe", "N", "t", "terse", "sync"})
    limits = f"ah_asks {STATUS_LIMIT_S} qconf -sconf"
    large = re.compile(r"more than \d+ tasks")
    largest = re.compile(r"^max_aj_tasks\s+(\d+)", re.MULTILINE)
    for_good = re.compile(
        r"unknown|does not exist|is not a|rejected|no suitable queues|denied|invalid|error opening", re.IGNORECASE
    )
    passing = re.compile(
        r"try (again )?later|max_(u_)?jobs|job limit|jobs are allowed per|NIS|no response|commlib|temporar"
        r"|would exceed|shutting down|can't resolve",
    )
    never = re.compile(r"^E")
    element = """ah_me=$JOB_ID ah_task=0 ah_restarts=${RESTARTED:-0}
ah_reserved=' 99 100 ' # run it again; put it into the error state (sge_conf(5))
case ${SGE_TASK_ID:-} in *[!0-9]* | '') ;; *) ah_me=$JOB_ID.$SGE_TASK_ID ah_task=$((SGE_TASK_ID - 1)) ;; esac
"""
    accepted = "case ${ah_w%%.*} in *[!0-9]* | '') ;; *) ah_id=${ah_w%%.*} ;; esac"
    listed = r"""ah_q=$(ah_apart qstat -r -u "$(id -un)") || { echo "$ah_q"; exit 2; }
    qacct -j "$ah_name" 2>/dev/null | sed -n "s/^jobnumber *\([0-9]*\).*/\1 $ah_name/p"
    printf '%s\n' "$ah_q" | sed '/^#said$/,$d' | """ + paired(r"^ *\([0-9][0-9]*\) .*", "^ *Full jobname: *")
    cancel = 'ah_x=$(qdel "$ah_c" 2>&1) || case $ah_x in *"does not exist"*) ;; *) echo "$ah_x"; return 1 ;; esac'

    def native(self, options: Mapping[str, Any]) -> list[str]:
        """``-hold_jid x``: options of several letters, too, have one dash, and their value is the next word."""
        pe = str(options.get("pe") or "").split()
        words = ["-pe", *pe] if len(pe) > 1 else []
        for key, value in options.items():
            name = self.flags.get(key, kebab(key).replace("-", "_"))
            name = key if len(key) == 1 else name
            if name in _YES_OR_NO and isinstance(value, bool):
                words += [f"-{name}", "y" if value else "n"]
            elif name.replace("_", "-") not in self.ours:
                words += flag(name, value)
        return words

    def array(self, count: int, most: int | None) -> list[str]:
        return ["-t", f"1-{count}", *(["-tc", str(most)] if most else [])]

    def rules(self, submission: Submission, part: int) -> Sequence[tuple[str, Sequence[str]]]:
        """Memory is asked for per slot, rounded up to MiB; several slots through the service's ``pe``."""
        options = submission.options
        slots = (submission.cores or 1) * max(1, submission.processes)
        pe = options.get("mpiPe" if submission.processes > 1 else "pe") or options.get("pe")
        if slots > 1 and not pe and "pe" not in self.user_options(submission):
            raise ConfigError(
                f"the step asks for {slots} slots, for which Grid Engine needs a parallel environment",
                hint="name one in the service: `pe: <name>` (`qconf -spl` lists them)",
            )
        memory, limit, gpus = submission.memory_mib, submission.limit_s, submission.gpus
        complex_, gpu = options.get("memory", "h_vmem"), options.get("gpu", "gpu")
        return (
            ("o e", ["-o", "/dev/null"]),
            ("j e", ["-j", "y"]),
            ("r", ["-r", "n"]),
            ("S b shell", ["-S", interpreter(submission.template or "")[0]]),
            ("w", ["-w", "e"]),
            ("pe", ["-pe", str(pe), str(slots)] if slots > 1 else []),
            (f"l:{complex_}", ["-l", f"{complex_}={-(-memory // slots)}M"] if memory and complex_ else []),
            (f"l:{gpu}", ["-l", f"{gpu}={gpus}"] if gpus and gpu else []),
            ("l:h_rt", ["-l", f"h_rt={limit}"] if limit else []),
        )

    def capacity_command(self, submission: Submission) -> str:
        return sge_slots(self._cluster_queue(submission))

    def parse_capacity(self, text: str) -> estimates.Capacity:
        return estimates.slots(text)

    def everybody_command(self) -> str:
        # -g d: a line for each element; what waits is in no queue yet
        rows = """awk '/^#exit /; $1 ~ /^[0-9]+$/ {
            name = "no queue yet"
            if ($8 ~ /@/) { name = $8; sub(/@.*/, "", name) }
            print name "|" $5 "|" $4 }'"""
        return everybody_command("qstat -u '*' -g d", "w", rows)

    def wait_command(self, submission: Submission) -> str:
        single_job = replace(submission, jobs=1)
        words = self.arguments(single_job, 0)[:-1]
        if "-w" in words:  # ours, which asks whether it could run on an empty cluster
            del words[words.index("-w") : words.index("-w") + 2]
        return sge_start(words, self.scripts(single_job)["batch.0.sh"])

    @staticmethod
    def _cluster_queue(submission: Submission) -> str | None:
        named = submission.options.get("queue") or submission.options.get("q")
        return str(named) if named else None

    def ask_queue(self, ids: Sequence[str]) -> str:
        values = {"LIMIT": str(STATUS_LIMIT_S), "IDS": ",".join(ids)}
        return shell_text.filled(__package__, "sge_queue.sh", values)

    def queue_records(self, lines: Sequence[str], ids: Sequence[str]) -> Iterator[Record]:
        reasons: dict[str, str] = {}
        job = ""
        for mark, _, text in (line.partition(" ") for line in lines):
            job = text if mark == "#j" else job
            if mark == "#e":
                reasons[job] = text.partition(":")[2].strip()
        for match in filter(None, map(_ROW.match, lines)):
            number, state, columns_text = match.groups()
            columns = columns_text.split()[0 if columns_text[:1].isdigit() else 1 :]  # queue instance, slots, tasks
            alive = JobState.RUNNING if re.search("[rtRsST]", state) and "E" not in state else JobState.PENDING
            why = f"{state} {reasons.get(number, '')}".rstrip()
            yield Record(number, alive, why, tasks=count_tasks(columns[1]) if len(columns) > 1 else 1)

    def account_command(self, ids: Sequence[str]) -> str:
        return super().account_command(ids) + ask_section("jobs", _show(ids))

    def parse_account(self, text: str, ids: Sequence[str]) -> Account:
        """The list of jobs may be empty although there are some, so missing jobs are asked for by their numbers.

        A job that the master shows is alive. It counts as gone only after the master has said that it does not exist.
        """
        account = super().parse_account(text, ids)
        if not account.heard:
            return account
        shown = section(text, "jobs")
        numbers = {line.removeprefix("job_number:").strip() for line in shown.lines if line.startswith("job_number:")}
        elements = dict(account.elements)
        for number in sorted(numbers & set(ids)):
            elements.setdefault(number, ElementState(JobState.PENDING, "qstat -j shows it, the list of jobs does not"))
        if _is_answer(shown):
            return replace(account, elements=elements)
        unanswered = f"qstat -j: {shown.words[-300:] or 'no answer'}"
        problem = "; ".join(filter(None, (account.problem, unanswered)))
        return replace(account, elements=elements, complete=False, problem=problem, heard=False)

    def ask_accounting(self, ids: Sequence[str]) -> str:
        return _accounting(ids, (*_FACTS, "category"))

    def usage_command(self, ids: Sequence[str]) -> str:
        return asking_functions() + ask_section("usage", _accounting(ids, _USED))

    def parse_usage(self, text: str, ids: Sequence[str]) -> dict[str, Usage] | None:
        answer = section(text, "usage")
        if answer.code != 0 or "No such file" in answer.words:
            return None
        return dict(sge_usage(_accounted_tasks(answer.lines)))

    def accounted(self, lines: Sequence[str], code: int) -> bool:
        """Of a job that it does not know it says so, with exit code 1; one that was ended says nothing."""
        complaints = [line for line in lines if line.strip() and not re.match("(?!error)[a-z_]+ +|#exit ", line)]
        failed = [line for line in lines if line.startswith("#exit ") and line != "#exit 0"]
        only_unknown_jobs = all(re.search("not found|No such file", line) for line in complaints)
        are_whole = all(_is_whole(task) for task in _accounted_tasks(lines))
        return code == 0 and only_unknown_jobs and are_whole and len(failed) <= len(complaints)

    def accounting_records(self, lines: Sequence[str], ids: Sequence[str]) -> Iterator[Record]:
        for task in _accounted_tasks(lines):
            if _is_whole(task):
                yield _end_of(task)

    def element_name(self, id_: str, task: int) -> str:
        return f"{id_}.{task + 1}"

    def array_id(self, element: str) -> str:
        return element.partition(".")[0]


def _accounted_tasks(lines: Sequence[str]) -> list[dict[str, str]]:
    """Qacct's facts about each task, by its own keys; each key occurs once per task."""
    tasks: list[dict[str, str]] = []
    is_new = True
    for line in lines:
        key, _, value = line.partition(" ")
        if key == "#exit":  # the end of an answer
            is_new = True
        elif key in (*_FACTS, *_USED, "category"):
            if is_new or key in tasks[-1]:
                tasks.append({})
            tasks[-1][key] = value.strip()
            is_new = False
    return tasks


def _is_whole(task: Mapping[str, str]) -> bool:
    """Whether a task's lines are complete."""
    return all(task.get(key) for key in _FACTS)


def _end_of(task: Mapping[str, str]) -> Record:
    """How a task ended: by ``failed`` (sge_status(5)) and, where that is 0, by its exit status."""
    failed, _, words = task["failed"].partition(":")
    failed, words = failed.strip(), words.strip()
    exit_status = task["exit_status"].split()
    if failed == "0":
        state = JobState.COMPLETED if exit_status[0] == "0" else JobState.FAILED
    else:
        state = _ENDS.get(failed, JobState.FAILED)
    category = task.get("category", "")
    if failed == "37" and "h_rt=" not in category and "h_vmem=" in category:
        state = JobState.OUT_OF_MEMORY
    reason = f"exit status {' '.join(exit_status)} on {task['hostname']}"
    if words:
        reason = f"{words}, {reason}"
    element = f"{task['jobnumber']}.{task['taskid']}" if task["taskid"].isdigit() else ""
    exited = state is JobState.FAILED and failed == "0"
    return Record(task["jobnumber"], state, reason, element, exited=exited)


_COUNT_NODES = r"""
function add() { nodes += has; free += has && takes && !used; has = takes = used = 0 }
/^[^ ]/ { add() }
/^ / && $3 ~ /^([0-9]+\/)?[0-9]+\/[0-9]+$/ {
    parts = split($3, n, "/")
    used += n[parts - 1]
    if (queue == "" || $1 == queue) { has = 1; takes += $4 !~ /[adosuACDES]/ }
}
END { add(); if (nodes) print "nodes", free + 0, nodes }"""
"""program of awk; a line per node and, below it, indented, one for each queue there: name, kind, slots as
``reserved/used/all`` (older ones: ``used/all``), states"""


def sge_slots(queue: str | None) -> str:
    """Shell text that asks for free and all slots of a cluster queue, or of each (qstat(1), -g c), and for nodes.

    A node is free if it has the queue, no job of any, and the queue's instance there takes jobs (qhost(1), -q).
    """
    where = f" -q {shlex.quote(queue)}" if queue else ""
    rows = "awk 'NF >= 8 && $6 ~ /^[0-9]+$/ { print $5, $6 }' | tr '\\n' ' '"
    qstat = f"ah_asks {STATUS_LIMIT_S} qstat -g c{where}"
    slots = f'{asking_functions()}echo "capacity $({qstat} 2>/dev/null | {rows})"\n'
    hosts = f"ah_asks {STATUS_LIMIT_S} qhost -q 2>/dev/null"
    return f"{slots}{hosts} | awk -v queue={shlex.quote(queue or '')} '{_COUNT_NODES}'\n"


def sge_start(arguments: Sequence[str], script: str) -> str:
    """Shell text that lets qsub say whether a job would start now; nothing is submitted (qsub(1), ``-w p``).

    :param arguments: the command line of qsub, without the script, which it reads from stdin.
    """
    ask = f"ah_asks {STATUS_LIMIT_S} {shlex.join(arguments)} -w p"
    return f"""{asking_functions()}if ah_s=$(printf %s {shlex.quote(script)} | ah_apart {ask}); then echo "wait 0"
else echo "said $(printf %s "$ah_s" | sed '/^#said$/d' | tr '\\n' ' ')"; fi
"""
