# Licensed under the Apache License, Version 2.0; see the LICENSE file.
"""Flux, as pure text: flux submit, flux jobs, flux cancel (manual pages of flux-core 0.47 to 0.70).

An array is ``flux submit --cc``: one job per element, all with the same name, which we use as the id. They are
submitted one after the other, so a submit may have been interrupted; the missing ones are submitted when the name is
looked up. Flux has no requests for memory, and keeps no account of what jobs used: their runners measure it.
"""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from airflow_hybrid import shell_text
from airflow_hybrid.model import JobState
from airflow_hybrid.schedulers.asking import STATUS_LIMIT_S
from airflow_hybrid.schedulers.base import Account, Submission, interpreter
from airflow_hybrid.schedulers.batch import BatchScheduler, Record
from airflow_hybrid.schedulers.everybody import everybody_command

_STATES = {**dict.fromkeys(("DEPEND", "PRIORITY", "SCHED"), JobState.PENDING), "RUN": JobState.RUNNING,
           "CLEANUP": JobState.RUNNING, "COMPLETED": JobState.COMPLETED, "FAILED": JobState.FAILED,
           "CANCELED": JobState.CANCELLED, "TIMEOUT": JobState.TIMEOUT}  # fmt: skip
_FIELDS = "{name}|{id.dec}|{state}|{result}|{returncode}|{exception.type}|{exception.note}"
_JOBS = f"ah_asks {STATUS_LIMIT_S} flux jobs -n -c 0 -o '{_FIELDS}'"


class FluxScheduler(BatchScheduler):
    """Flux, used through its command line program."""

    name = "flux"
    # flux-environment(7)
    client_variables = (
        "FLUX_URI",
        "FLUX_CONF_DIR",
        "FLUX_EXEC_PATH",
        "FLUX_MODULE_PATH",
        "FLUX_CONNECTOR_PATH",
        "FLUX_SECURITY_CONF",
    )
    programs = ("flux",)
    fixed = ("submit",)
    name_option = "--job-name="
    flags = {
        "coresPerSlot": "cores-per-task",
        "gpusPerSlot": "gpus-per-task",
        "nslots": "ntasks",
        "labelIO": "label-io",
    }
    ours = frozenset({"file", "job-name", "broker-opts", "cc", "wait"})
    version_command = "flux --version"
    directive = "#flux:"
    lags = False
    short = {"-t": "time-limit", "-c": "cores-per-task", "-g": "gpus-per-task", "-n": "ntasks", "-N": "nodes"}
    element = """ah_task=${FLUX_JOB_CC:-0} ah_restarts=0
ah_me=$(flux job id --to=dec "$FLUX_JOB_ID" 2>/dev/null) || ah_me=$FLUX_JOB_ID
ah_timed=1 # Flux writes what a job used into its log at most (flux-shell(1), sysmon)
"""
    accepted = "ah_id=$ah_w"
    listed = r"""ah_l=$(ah_apart flux jobs -a -n -c 1 --name="$ah_name" -o '{name}') || { echo "$ah_l"; exit 2; }
    ah_l=${ah_l%%#said*}
    [ -z "$ah_l" ] || sh "./submit.$ah_at.sh" || exit 2
    [ -z "$ah_l" ] || echo "$ah_name $ah_name" """
    cancel = r"""ah_l=$(flux jobs -n -c 0 --name="$ah_c" -o '{id.dec}') && { [ -z "$ah_l" ] || flux cancel $ah_l || {
            ah_l=$(flux jobs -n -c 0 --name="$ah_c" -o '{id.dec}') && [ -z "$ah_l" ] # one ended meanwhile
        }; }"""
    passing = re.compile(r"temporar|try again|disabled|stopped|max-jobs|limit reached", re.IGNORECASE)
    for_good = re.compile(r"unsatisfiable|invalid|unknown|no such|unrecognized|not found", re.IGNORECASE)

    def native(self, options: Mapping[str, Any]) -> list[str]:
        words: list[str] = []
        for key, value in options.items():  # some options are repeated
            entries = [f"{k}={v}" for k, v in value.items()] if isinstance(value, Mapping) else value
            for entry in entries if isinstance(entries, list) else [entries]:
                words += super().native({key: entry})
        return words

    def scripts(self, submission: Submission) -> dict[str, str]:
        files = super().scripts(submission)
        for part in range(self.parts(submission)):
            script = f"batch.{part}.sh"
            values = {
                "NAME": shlex.quote(self.job_name(submission, part)),
                "COUNT": str(self.size(submission, part)),
                "SUBMIT": shlex.join(super().arguments(submission, part)),
                "COMMAND": shlex.join([*interpreter(files[script]), f"{submission.directory}/{script}"]),
            }
            files[f"submit.{part}.sh"] = shell_text.filled(__package__, "flux_submit.sh", values)
        return files

    def rules(self, submission: Submission, part: int) -> Sequence[tuple[str, Sequence[str]]]:
        """One task with the cores of all of the job's processes."""
        processes, limit, gpus = submission.processes, submission.limit_s, submission.gpus
        cores = (submission.cores or 1) * max(1, processes) if submission.cores or processes else 0
        return (
            ("cores-per-task cores exclusive", [f"--cores-per-task={cores}"] if cores else []),
            ("gpus-per-task gpus-per-node", [f"--gpus-per-task={gpus}"] if gpus else []),
            ("time-limit", [f"--time-limit={limit}s"] if limit else []),
            ("cwd", [f"--cwd={submission.directory}"]),
            ("", self.directives(submission.template)),
        )

    def run(self, submission: Submission, part: int) -> list[str]:
        return []  # flux_submit.sh has it

    def arguments(self, submission: Submission, part: int) -> list[str]:
        return ["/bin/sh", f"{submission.directory}/submit.{part}.sh"]

    def part_name(self, submission: Submission, part: int) -> str:
        return f"{self.job_name(submission, part)} {part}"

    def everybody_command(self) -> str:
        ask = "flux jobs -A -n -c 0 -o '{queue}|{state}|{username}'"
        return everybody_command(ask, "^(NEW|DEPEND|PRIORITY|SCHED)$")

    def ask_queue(self, ids: Sequence[str]) -> str:
        return _JOBS

    def queue_records(self, lines: Sequence[str], ids: Sequence[str]) -> Iterator[Record]:
        for name, job, state, result, code, kind, note in (x.split("|", 6) for x in lines if x.count("|") >= 6):
            reason = (
                f"{state} {note}".strip() if state != "INACTIVE" else f"{kind} {note}".strip() or f"exit code {code}"
            )
            means = _STATES.get(result if state == "INACTIVE" else state, JobState.UNKNOWN)
            exited = means is JobState.FAILED and not kind and code not in ("", "0")
            yield Record(name, means, reason, job, exited=exited)

    def ask_accounting(self, ids: Sequence[str]) -> str:
        every = _JOBS.replace("jobs", "jobs -a")
        return f'ah_rc=0; for ah_i in {shlex.join(ids)}; do {every} --name="$ah_i" || ah_rc=$?; done; (exit $ah_rc)'

    accounting_records = queue_records

    def parse_account(self, text: str, ids: Sequence[str]) -> Account:
        """Use the worst state of all elements for a job that none has taken: its own element is unknown."""
        account = super().parse_account(text, ids)
        states = sorted(account.elements.values(), key=lambda e: (e.state.ended, e.state is JobState.COMPLETED))
        return Account(
            {**dict.fromkeys(ids, states[0]), **account.elements} if states else {},
            account.complete,
            account.problem,
            account.heard,
        )

    def element_name(self, id_: str, task: int) -> str:
        return id_

    def array_id(self, element: str) -> str:
        return ""
