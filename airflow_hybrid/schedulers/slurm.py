# Licensed under the Apache License, Version 2.0; see the LICENSE file.
"""Slurm, as pure text: sbatch, squeue, sacct, scontrol, scancel (manual pages of Slurm 20.02 to 24.05).

Facts that this relies on: ``squeue -u`` answers with exit code 0 whatever ids it has forgotten, whereas ``squeue -j``
fails for a single unknown id; ``sacct`` lags some seconds behind; ``scancel`` of a finished job is silent; the largest
array index is ``MaxArraySize - 1``; jobs that can never start may be accepted.
"""

from __future__ import annotations

import itertools
import re
import shlex
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

from airflow_hybrid import shell_text
from airflow_hybrid.errors import StatusUnknownError
from airflow_hybrid.model import JobState
from airflow_hybrid.schedulers import estimates
from airflow_hybrid.schedulers import slurm_answers as answers
from airflow_hybrid.schedulers.asking import (
    ACCOUNT_LIMIT_S,
    STATUS_LIMIT_S,
    ask_section,
    asking_functions,
    number_of,
    section,
    words_after,
)
from airflow_hybrid.schedulers.base import Account, ElementState, QueueView, Submission
from airflow_hybrid.schedulers.batch import BatchScheduler, Record
from airflow_hybrid.schedulers.estimates import Capacity
from airflow_hybrid.schedulers.everybody import everybody_command
from airflow_hybrid.schedulers.usage import SLURM_FIELDS, Usage, slurm_usage
from airflow_hybrid.schedulers.words import count_tasks


class SlurmScheduler(BatchScheduler):
    """Slurm, used through its command line programs."""

    name = "slurm"
    # sbatch(1), slurm.conf(5): ENVIRONMENT VARIABLES
    client_variables = ("SLURM_CONF", "SLURM_CONF_SERVER", "SLURM_CLUSTERS", "SLURM_JWT")
    programs = ("sbatch", "squeue", "scancel")
    version_command = "sbatch --version"
    hosts_command = "scontrol show hostnames"
    directive = "#SBATCH"
    name_option = "--job-name="
    fixed = ("--parsable",)
    ours = frozenset({"array", "job-name", "file", "parsable", "wait", "test-only", "wrap"})
    own_log = False
    excludes_nodes = True
    leaves_elements = False  # its elements can cancel those that wait, and no others
    short = {"-t": "time", "-c": "cpus-per-task", "-o": "output", "-p": "partition", "-A": "account", "-D": "chdir",
             "-n": "ntasks", "-N": "nodes", "-G": "gpus"}  # fmt: skip
    limits = f"ah_asks {STATUS_LIMIT_S} scontrol show config"
    large = re.compile("array specification")
    largest = re.compile(r"^[ \t]*MaxArraySize[ \t]*=[ \t]*(\d+)", re.MULTILINE)
    for_good = re.compile(
        r"invalid|unrecognized option|unknown option|can ?not be satisfied|configuration is not available"
        r"|(task|forwarding) is not available|forwarding not available|permitted|not allowed|permission denied"
        r"|access denied|requires more|ambiguous|does not (look|exist|permit)|unable to open|not in this partition"
        r"|no partition specified|not specified|needs to be provided|not provided|too long|dependency"
        r"|not supported|unsupported|more tasks than|only batch jobs|can not be run on this cluster|duplicate",
        re.IGNORECASE,
    )
    passing = re.compile(
        r"Assoc(Grp)?\w*Submit|QOS\w*Submit|(Assoc|QOS)Grp|accounting/QOS policy|usage threshold|try again|temporar"
        r"|available now|required (partition|node) not available|nodes are busy|licenses (not|un) ?available"
        r"|currently not available|in use|not usable now|maintenance|disabled|standby|DOWN state"
        r"|burst buffer(?! request)|limit exceeded|credential|authentication|internal error|I/O error|in progress"
        r"|still running|immediate"
        r"|partially reserved|interconnect|message (send|receive)|incompatible versions|plugin initialization",
        re.IGNORECASE,
    )
    never = re.compile(
        r"DependencyNeverSatisfied|PartitionTimeLimit|PartitionConfig|BadConstraints|InvalidAccount"
        rf"|InvalidQOS|(Account|QOS)NotAllowed|{answers.PER_JOB.pattern}"
    )
    element = """ah_task=${SLURM_ARRAY_TASK_ID:-0}
ah_me=${SLURM_ARRAY_JOB_ID:-${SLURM_JOB_ID:-0}}${SLURM_ARRAY_TASK_ID:+_$SLURM_ARRAY_TASK_ID}
ah_restarts=${SLURM_RESTART_COUNT:-0}
ah_group=${SLURM_JOB_ID:+/job_$SLURM_JOB_ID/} # cgroups.html of Slurm
case ${SLURMD_NODENAME:-} in # the name by which sbatch knows the node; the host may have a longer one
'' | *[!A-Za-z0-9._-]*) ;;
*) ah_node=$SLURMD_NODENAME ;;
esac
"""
    accepted = "case ${ah_w%%;*} in *[!0-9]* | '') ;; *) ah_id=$ah_w ;; esac"
    cancel = """case $ah_c in
        *';'*) scancel -M "${ah_c#*;}" "${ah_c%%;*}" ;;
        *) scancel "$ah_c" ;;
        esac"""

    def list_jobs(self) -> str:
        return shell_text.load(__package__, "slurm_listed.sh")

    def runner_tail(self, submission: Submission) -> str:
        if self.restarts(submission):
            return super().runner_tail(submission)
        drained = """ah_drained() { # nothing is left to take: elements that still wait in the queue need not start
    [ -z "${SLURM_ARRAY_JOB_ID:-}" ] || scancel --state=PENDING "$SLURM_ARRAY_JOB_ID" </dev/null >/dev/null 2>&1
    return 0
}
"""
        return super().runner_tail(submission).replace("ah_element\n", f"{drained}ah_element\n")

    def array(self, count: int, most: int | None) -> list[str]:
        return [f"--array=0-{count - 1}{f'%{most}' if most else ''}"]

    def rules(self, submission: Submission, part: int) -> Sequence[tuple[str, Sequence[str]]]:
        """Memory in MiB, ``--time`` in whole minutes, rounded up, with the time that packing may add."""
        cores, memory, limit = submission.cores, submission.memory_mib, submission.limit_s
        processes, gpus = submission.processes, submission.gpus
        share = -(-(memory or 0) // ((cores or 1) * max(1, processes)))
        log = f"{submission.directory}/log".replace("%", "%%").replace("\\", "\\\\")
        return (
            ("output", [f"--output={log}", "--open-mode=append"]),
            ("chdir", [f"--chdir={submission.directory}"]),
            ("requeue no-requeue", ["--no-requeue"]),
            ("nodes", [f"--nodes={submission.nodes}"] if submission.nodes > 1 else []),
            ("ntasks", [f"--ntasks={processes}"] if processes else []),
            ("cpus-per-task ntasks exclusive cores-per-socket", [f"--cpus-per-task={cores}"] if cores else []),
            # --mem is per node, and several processes may be spread over nodes
            ("mem mem-per-cpu mem-per-gpu", [f"--mem-per-cpu={share}M"] if memory and processes > 1 else []),
            ("mem mem-per-cpu mem-per-gpu", [f"--mem={memory}M"] if memory and processes <= 1 else []),
            ("gpus gres gpus-per-node gpus-per-task gpus-per-socket tres-per-task", [f"--gpus={gpus}"] if gpus else []),
            ("time", [f"--time={-(-limit // 60)}"] if limit else []),
        )

    def without_nodes(self, options: Mapping[str, Any], nodes: Sequence[str]) -> Mapping[str, Any]:
        own = options.get("exclude") or _excluded(self.directives(options.get("template")))
        named = [own] if isinstance(own, str) else [str(name) for name in own]
        return {**options, "exclude": ",".join([*named, *nodes])}

    def capacity_command(self, submission: Submission) -> str:
        return slurm_cpus(submission.options.get("partition"))

    def parse_capacity(self, text: str) -> estimates.Capacity:
        return slurm_capacity(text)

    def everybody_command(self) -> str:
        return everybody_command("squeue -h -r -o '%P|%t|%u'", "^PD$")

    def wait_command(self, submission: Submission) -> str:
        single_job = replace(submission, jobs=1)
        return slurm_start(self.arguments(single_job, 0)[:-1], self.scripts(single_job)["batch.0.sh"])

    def part_name(self, submission: Submission, part: int) -> str:
        return f"{self.job_name(submission, part)} {submission.options.get('clusters') or ''}".rstrip()

    def ask_queue(self, ids: Sequence[str]) -> str:
        squeue = f"ah_asks {STATUS_LIMIT_S} squeue -h"
        asks = (f'{squeue}{_where(name)} -u "$(id -un)" -o "%F|%K|%T|%r"' for name in answers.clusters(ids))
        return f"ah_rc=0; {'; '.join(f'{ask} || ah_rc=$?' for ask in asks)}; (exit $ah_rc)"

    def queue_records(self, lines: Sequence[str], ids: Sequence[str]) -> Iterator[Record]:
        id_by_number = {id_.partition(";")[0]: id_ for id_ in ids}
        for fields in (line.strip().split("|") for line in lines):
            if len(fields) == 4 and fields[0] in id_by_number:
                state = answers.STATES.get(fields[2], JobState.UNKNOWN)
                yield Record(id_by_number[fields[0]], state, fields[3], tasks=count_tasks(fields[1]))

    def account_command(self, ids: Sequence[str]) -> str:
        text = self.status_command(ids)
        for cluster in answers.clusters(ids):
            numbers = answers.numbers(ids, cluster)
            sacct = f"ah_asks {ACCOUNT_LIMIT_S} sacct -n -X -P{_where(cluster)} -j {','.join(numbers)}"
            scontrol = f"ah_asks {STATUS_LIMIT_S} scontrol{_where(cluster)} -o show job"
            shows = "; ".join(f"{scontrol} {number} || ah_rc=$?" for number in numbers)
            text += ask_section(f"sacct{cluster}", f"{sacct} -o JobID,State,ExitCode,NodeList")
            text += ask_section(f"scontrol{cluster}", f"ah_rc=0; {shows}; (exit $ah_rc)")
        return text

    def parse_account(self, text: str, ids: Sequence[str]) -> Account:
        """The controller knows which jobs are alive, and forgets ended ones after some minutes; the accounting lags.

        So a job that is alive in the accounting is alive if the controller does not answer, and unknown if it does.
        """
        problems: list[str] = []
        heard = True
        queued: dict[str, QueueView] = {}
        try:
            queued = self.parse_status(text, ids)
        except StatusUnknownError as error:
            problems.append(error.message)
            heard = False
        accounted: dict[str, ElementState] = {}
        shown: dict[str, ElementState] = {}
        for cluster in answers.clusters(ids):
            accounting, controller = section(text, f"sacct{cluster}"), section(text, f"scontrol{cluster}")
            if not answers.accounting_answered(accounting):
                problems.append(f"sacct: {accounting.words[-300:] or 'no answer'}")
            count = sum(id_.partition(";")[2] == cluster for id_ in ids)
            if not answers.controller_answered(controller, count):
                problems.append(f"scontrol: {controller.words[-300:] or 'no answer'}")
                heard = False
            accounted.update(answers.sacct(accounting.lines, cluster))
            shown.update(answers.scontrol(controller.lines, cluster))
        for id_, element in accounted.items():
            if heard and not element.state.ended:
                accounted[id_] = ElementState(JobState.UNKNOWN, f"accounting: {element.reason}")
        elements = {**accounted, **shown}
        for id_, view in queued.items():
            state = JobState.RUNNING if view.running else JobState.PENDING
            elements[id_] = ElementState(state, ", ".join(view.reasons))
        return Account(elements, not problems, "; ".join(problems), heard)

    def usage_command(self, ids: Sequence[str]) -> str:
        text = asking_functions()
        for cluster in answers.clusters(ids):
            numbers = ",".join(answers.numbers(ids, cluster))
            sacct = f"ah_asks {ACCOUNT_LIMIT_S} sacct -n -P --noconvert{_where(cluster)} -j {numbers}"
            # an older sacct refuses the whole question if it does not know the last field
            asked = [f"{sacct} -o {','.join(fields)}" for fields in (SLURM_FIELDS, SLURM_FIELDS[:-1])]
            text += ask_section(f"usage{cluster}", " || ".join(asked))
        return text

    def parse_usage(self, text: str, ids: Sequence[str]) -> dict[str, Usage] | None:
        used: dict[str, Usage] = {}
        for cluster in answers.clusters(ids):
            answer = section(text, f"usage{cluster}")
            if answer.code != 0:
                return None
            suffix = f";{cluster}" if cluster else ""
            used.update((f"{id_}{suffix}", usage) for id_, usage in slurm_usage(answer.lines))
        return used

    def element_name(self, id_: str, task: int) -> str:
        return answers.join(id_, task)

    def claimed_id(self, claim: str, ids: Sequence[str]) -> str:
        cluster = ids[0].partition(";")[2] if ids else ""
        return f"{claim};{cluster}" if cluster else claim

    def array_id(self, element: str) -> str:
        number, semicolon, cluster = element.partition(";")
        return number.partition("_")[0] + semicolon + cluster

    def parse_max_array(self, text: str) -> int | None:
        most = super().parse_max_array(text)
        return max(1, most - 1) if most else None  # of indexes, which begin at 0

    def restarts(self, submission: Submission) -> bool:
        return "requeue" in self.user_options(submission)

    def refused_for_good(self, refusal: str) -> bool:
        """A limit on one job comes before the sentence about policies, which may also mean limits that pass."""
        return bool(answers.PER_JOB.search(refusal)) or super().refused_for_good(refusal)


def _where(cluster: str) -> str:
    return f" -M {shlex.quote(cluster)}" if cluster else ""


def _excluded(words: Sequence[str]) -> list[str]:
    """The nodes that a template's options leave out."""
    named = [word.partition("=")[2] for word in words if word.startswith("--exclude=")]
    return named + [value for word, value in itertools.pairwise(words) if word in ("-x", "--exclude")]


def slurm_cpus(partition: str | None) -> str:
    """Shell text that asks for CPUs and nodes of a partition, or of all partitions, which may overlap."""
    where = f" -p {shlex.quote(partition)}" if partition else ""
    sinfo = f"ah_asks {STATUS_LIMIT_S} sinfo -h{where} -o %C/%F"
    return f"{asking_functions()}echo \"capacity $({sinfo} 2>/dev/null | tr '/\\n' '  ')\"\n"


def slurm_capacity(text: str) -> Capacity:
    """Read the answer to :func:`slurm_cpus`: allocated, idle, other and all CPUs, and nodes (sinfo(1), %C, %F)."""
    words = [number_of(word) for word in words_after(text, "capacity ")]
    numbers = [number for number in words if number is not None]
    if not words or len(words) % 8 or len(numbers) < len(words):
        return Capacity()
    cores, free, nodes, free_nodes = (sum(numbers[at::8]) for at in (3, 1, 7, 5))
    return Capacity(cores, free, nodes=int(nodes), free_nodes=int(free_nodes))


def slurm_start(arguments: Sequence[str], script: str) -> str:
    """Shell text that lets sbatch say when a job would start; nothing is submitted (sbatch(1), --test-only).

    :param arguments: the command line of sbatch, without the script, which it reads from stdin.
    """
    ask = f"ah_asks {STATUS_LIMIT_S} {shlex.join(arguments)} --test-only"
    return f"""{asking_functions()}ah_s=$(printf %s {shlex.quote(script)} | ah_apart {ask})
ah_t=$(printf '%s\\n' "$ah_s" | sed -n 's/.* to start at \\([0-9T:-]*\\) .*/\\1/p' | head -n 1)
if [ -n "$ah_t" ] && ah_t=$(date -d "$ah_t" +%s); then echo "wait $((ah_t - $(date +%s)))"
else echo "said $(printf %s "$ah_s" | sed '/^#said$/d' | tr '\\n' ' ')"; fi
"""
