# Licensed under the Apache License, Version 2.0; see the LICENSE file.
"""Answers of Slurm's programs as values: state names, pending reasons, ids and lists of array tasks."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence

from airflow_hybrid.model import JobState
from airflow_hybrid.schedulers.asking import Answer
from airflow_hybrid.schedulers.base import ElementState
from airflow_hybrid.schedulers.words import task_numbers

STATES: Mapping[str, JobState] = {
    **dict.fromkeys(
        ("PENDING", "CONFIGURING", "REQUEUED", "REQUEUE_HOLD", "REQUEUE_FED", "RESV_DEL_HOLD", "SPECIAL_EXIT",
         "POWER_UP_NODE", "EXPEDITING"),
        JobState.PENDING,
    ),
    **dict.fromkeys(
        ("RUNNING", "COMPLETING", "SUSPENDED", "STOPPED", "SIGNALING", "STAGE_OUT", "RESIZING", "UPDATE_DB"),
        JobState.RUNNING,
    ),
    "COMPLETED": JobState.COMPLETED,
    "FAILED": JobState.FAILED,
    "TIMEOUT": JobState.TIMEOUT,
    "DEADLINE": JobState.TIMEOUT,
    "OUT_OF_MEMORY": JobState.OUT_OF_MEMORY,
    "NODE_FAIL": JobState.NODE_FAIL,
    "BOOT_FAIL": JobState.NODE_FAIL,
    "LAUNCH_FAILED": JobState.NODE_FAIL,
    "RECONFIG_FAIL": JobState.NODE_FAIL,
    "PREEMPTED": JobState.PREEMPTED,
    "CANCELLED": JobState.CANCELLED,
    "REVOKED": JobState.CANCELLED,
}  # fmt: skip
"""squeue(1), JOB STATE CODES; the native name stays in the reason"""

PER_JOB = re.compile(r"(Assoc|QOS)Max\w*(PerJob|WallDuration|JobMins|MinutesPerJob)(?!s)")
"""names of limits that one job exceeds, whatever else runs (slurm.conf(5), AccountingStorageEnforce)"""


def join(id_: str, task: int | str) -> str:
    """``20`` and 3 -> ``20_3``; ``20;cluster`` and 3 -> ``20_3;cluster``."""
    number, semicolon, cluster = id_.partition(";")
    return f"{number}_{task}{semicolon}{cluster}"


def clusters(ids: Sequence[str]) -> list[str]:
    return sorted({id_.partition(";")[2] for id_ in ids}) or [""]


def numbers(ids: Sequence[str], cluster: str) -> list[str]:
    """The ids of a cluster, without its name."""
    return [id_.partition(";")[0] for id_ in ids if id_.partition(";")[2] == cluster]


def accounting_answered(answer: Answer) -> bool:
    """Whether sacct answered, or the site has no accounting."""
    return answer.code in (0, 127) or (answer.code is not None and "storage is disabled" in answer.words)


_ARRAY = re.compile(r"\bArrayJobId=(\d+)")
_JOB = re.compile(r"\bJobId=(\d+)")


def controller_answered(answer: Answer, count: int) -> bool:
    """Whether ``scontrol show job`` answered for every id. "The controller has forgotten it" is an answer, too.

    :param count: how many ids it was asked about; if one of them is not mentioned, it did not answer.
    """
    if answer.code is None or (answer.code and not answer.complaints):
        return False
    forgotten = [line for line in answer.complaints if "Invalid job id specified" in line]
    if answer.code and len(forgotten) < len([line for line in answer.complaints if line.strip()]):
        return False
    shown = {match[1] for line in answer.lines if (match := _ARRAY.search(line) or _JOB.search(line))}
    return len(shown) + len(forgotten) >= count


def _ids(job_id: str, cluster: str) -> Iterator[str]:
    number, _, tasks = job_id.partition("_")
    suffix = f";{cluster}" if cluster else ""
    if not tasks:
        yield number + suffix
    for task in task_numbers(tasks):
        yield f"{number}_{task}{suffix}"


def sacct(lines: Sequence[str], cluster: str) -> Iterator[tuple[str, ElementState]]:
    for line in lines:
        fields = line.strip().split("|")
        if len(fields) < 4 or not fields[0][:1].isdigit():
            continue
        element = _element(fields[1], fields[2], "", fields[3])
        for id_ in _ids(fields[0], cluster):
            yield id_, element


def scontrol(lines: Sequence[str], cluster: str) -> Iterator[tuple[str, ElementState]]:
    for line in lines:
        pairs = dict(word.split("=", 1) for word in line.split() if "=" in word)
        if "JobState" not in pairs or "JobId" not in pairs:
            continue
        element = _element(pairs["JobState"], *(pairs.get(key, "") for key in ("ExitCode", "Reason", "NodeList")))
        task = pairs.get("ArrayTaskId")
        job_id = f"{pairs['ArrayJobId']}_{task}" if task and "ArrayJobId" in pairs else pairs["JobId"]
        for id_ in _ids(job_id, cluster):
            yield id_, element


def _element(state: str, exit_code: str, reason: str, node: str) -> ElementState:
    words = state.rstrip("+").split()
    native = words[0].partition(",")[0] if words else ""
    detail = [state]
    if reason not in ("", "None", "(null)"):
        detail.append(f"reason {reason}")
    if exit_code not in ("", "0:0"):
        detail.append(f"exit code {exit_code}")
    if node not in ("", "(null)", "None assigned"):
        detail.append(f"on {node}")
    # an exit code and the number of a signal, `3:0`
    exited = native == "FAILED" and bool(re.fullmatch(r"[1-9]\d*:0", exit_code))
    one_node = node if re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._-]*", node) else ""
    return ElementState(STATES.get(native, JobState.UNKNOWN), ", ".join(detail), exited, one_node)
