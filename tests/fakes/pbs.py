# Licensed under the Apache License, Version 2.0; see the LICENSE file.
"""``qsub``, ``qstat``, ``qdel`` that really run jobs: OpenPBS's dialect, or Torque's where ``$FAKE/torque`` is.

Answers and exit codes are those of tests/unit/schedulers/recordings/pbs, and of Torque's manual pages. What ``qstat``
complains of comes at once, and its answer block by block: where both go into one pipe, they cut each other's lines.
"""

from __future__ import annotations

import getopt
import os
import re
import shlex
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

sys.path[0] = str(Path(__file__).parents[2])
from tests.fakes import jobstore as queue  # noqa: E402

TORQUE = queue.switch("torque")
VALUES = (
    "a:A:c:C:d:e:I:J:j:k:l:m:M:N:o:p:P:q:r:S:t:u:v:W:VhzI"
    if TORQUE
    else "a:A:c:C:e:J:j:k:l:m:M:N:o:p:P:q:r:R:S:u:v:W:VhzfIX"
)


def fail(code: int, *lines: str) -> int:
    print(*lines, sep="\n", file=sys.stderr)
    return code


def directives(script: str) -> list[str]:
    words: list[str] = []
    for line in Path(script).read_text().splitlines():
        if line.startswith("#PBS"):
            words += shlex.split(line[4:])
        elif line.strip() and not line.startswith("#"):
            break
    return words


def qsub(argv: list[str]) -> int:
    if queue.switch("down"):
        return fail(162, "Connection refused", "qsub: cannot connect to server pbs (errno=15010)")
    if queue.switch("refuse"):
        return fail(188, queue.setting("refuse", ""))
    try:
        _, (script,) = getopt.getopt(argv, VALUES)
        found = getopt.getopt([*directives(script), *argv], VALUES)[0]
    except getopt.GetoptError as error:
        return fail(2, f"qsub: invalid option -- '{error.opt}'", "usage: qsub [-a date_time] ...")
    options = dict(found)
    resources = [item for name, value in found if name == "-l" for item in value.split(",")]
    try:
        check_options(options, resources)
        array = Array.of(options, found)
    except RefusedError as refusal:
        return fail(refusal.code, refusal.message)
    spooled = queue.FAKE / f"spool.{os.getpid()}.{Path(script).name}"
    spooled.write_text(Path(script).read_text())
    job = {"name": options.get("-N", Path(script).name), "array": array is not None, "resources": resources,
           "most": array.most if array else None, "command": [options.get("-S", "/bin/sh"), str(spooled)],
           "argv": argv}  # fmt: skip
    number = queue.add(job, list(array.tasks) if array else [0])
    if queue.lost():
        return fail(162, "Connection timed out", "qsub: cannot connect to server pbs (errno=15007)")
    print(f"{number}{'[]' if array else ''}.pbs")
    return 0


class RefusedError(Exception):
    """What ``qsub`` does not take."""

    def __init__(self, code: int, message: str) -> None:
        super().__init__(message)
        self.code, self.message = code, message


def check_options(options: dict[str, str], resources: list[str]) -> None:
    if not re.match(r"[A-Za-z][^\s]*$", options.get("-N", "x")):
        raise RefusedError(2, "qsub: illegal -N value")
    unknown = r"select=" if TORQUE else r"nodes=.*ppn|procs="
    for resource in resources:
        if re.match(unknown, resource) and TORQUE:
            raise RefusedError(170, f"qsub: submit error (Unknown resource type  Resource_List.{resource})")
        if re.match(unknown, resource):
            raise RefusedError(187, f"qsub: Unknown resource Resource_List.{resource.partition('=')[0]}")


@dataclass(frozen=True)
class Array:
    """Jobs by one script.

    :ivar most: that run at a time; None: any number.
    """

    tasks: range
    most: int | None

    @classmethod
    def of(cls, options: dict[str, str], given: list[tuple[str, str]]) -> Array | None:
        """As options ask for it; None: they do not."""
        option = "-t" if TORQUE else "-J"
        if not options.get(option):
            return None
        match = re.fullmatch(r"(\d+)-(\d+)(%\d+)?" if TORQUE else r"(\d+)-(\d+)(:\d+)?", options[option])
        if not match or (not TORQUE and int(match[1]) >= int(match[2])):
            raise RefusedError(2, f"qsub: illegal {option} value")
        if options.get("-r", "n") == "n" and not TORQUE:  # as sites with that default have it
            raise RefusedError(2, "qsub: cannot submit non-rerunable Array Job")
        tasks = range(int(match[1]), int(match[2]) + 1)
        if len(tasks) > int(queue.setting("max_array", "10000")):
            raise RefusedError(159, "qsub: Array job exceeds server or queue size limit")
        most = int(match[3][1:]) if TORQUE and match[3] else None
        for name, value in given:
            if name == "-W" and value.startswith("max_run_subjobs="):
                most = int(value.partition("=")[2])
        return cls(tasks, most)


def variables(task: str, job: queue.Job) -> dict[str, str]:
    number = sys.argv[2]
    if not job["array"]:
        return {"PBS_JOBID": f"{number}.pbs"}
    return {"PBS_JOBID": f"{number}[{task}].pbs", "PBS_ARRAYID" if TORQUE else "PBS_ARRAY_INDEX": task}


def attribute(name: str, value: object) -> Iterator[str]:
    """One line of ``qstat -f``, folded as PBS does."""
    line = f"    {name} = {value}"
    yield line[:79]
    for start in range(79, len(line), 71):
        yield "\t" + line[start : start + 71]


def shown(number: str, job: queue.Job, task: str | None) -> Iterator[str]:
    """A job, one element of an array, or an array as a whole."""
    elements = job["elements"]
    one = elements[task] if task is not None else None if job["array"] else elements["0"]
    yield f"Job Id: {number}{f'[{task or str()}]' if job['array'] else ''}.pbs"
    yield from attribute("Job_Name", job["name"])
    done, gone = ("C", "C") if TORQUE else ("F", "F" if all(e["state"] == "F" for e in elements.values()) else "X")
    if one is None:
        counts = {state: sum(e["state"] == state for e in elements.values()) for state in "QRF"}
        state = gone if counts["F"] == len(elements) and gone != "X" else "B" if counts["R"] + counts["F"] else "Q"
        yield from attribute("job_state", state)
        if not TORQUE:
            text = f"Queued:{counts['Q']} Running:{counts['R']} Exiting:0 Expired:{counts['F']} "
            yield from attribute("array_state_count", text)
            if state == "B":
                yield from attribute("Exit_status", 0)
    else:
        state = {"F": done if task is None else gone}.get(one["state"], one["state"])
        yield from attribute("job_state", state)
        if one["state"] != "Q":
            yield from attribute("exec_host", "node1/0")
        if one["state"] == "F" and one["exit"] is not None:
            yield from attribute("exit_status" if TORQUE else "Exit_status", one["exit"])
    yield from attribute("Variable_List", "PBS_O_HOME=/home/u,PBS_O_PATH=" + "/usr/local/bin:" * 12)
    if queue.switch("comment"):
        yield from attribute("comment", queue.setting("comment", ""))
    yield ""


def qstat(argv: list[str]) -> int:
    if argv == ["--version"]:
        print("Version: 6.1.2" if TORQUE else "pbs_version = 23.06.06", file=sys.stderr if TORQUE else sys.stdout)
        return 0
    if queue.switch("down"):
        return fail(255, "Connection refused", "qstat: cannot connect to server pbs (errno=15010)")
    try:
        options, ids = getopt.gnu_getopt(argv, "fteB" if TORQUE else "xftBF:")
    except getopt.GetoptError as error:
        return fail(2, f"qstat: invalid option -- '{error.opt}'")
    given = {name for name, _ in options}
    if "-B" in given:
        print("Server: pbs", "    server_state = Active", sep="\n")
        print(f"    {'max_job_array_size' if TORQUE else 'max_array_size'} = {queue.setting('max_array', '10000')}")
        return 0
    if "-x" in given and queue.switch("nohistory"):
        return fail(36, "qstat: PBS Server job_history_enable is set to false")
    code = 0
    answer: list[str] = []
    with_history = "-x" in given
    with queue.store() as jobs:
        for id_ in ids or [number for number, job in jobs.items() if with_history or not is_past(job)]:
            try:
                number, job = looked_up(jobs, id_, with_history=with_history)
            except RefusedError as refusal:
                code = torn(answer, refusal.code, refusal.message)
            else:
                answer += lines(number, job, with_elements="-t" in given)
    if answer:
        print(*answer, sep="\n")
    return code


def is_past(job: queue.Job) -> bool:
    """Whether a job belongs to the history, which is shown on demand."""
    return not TORQUE and all(element["state"] == "F" for element in job["elements"].values())


def looked_up(jobs: dict[str, queue.Job], id_: str, *, with_history: bool) -> tuple[str, queue.Job]:
    """The number of a job, and the job."""
    match = re.match(r"(\d+)(?:\[(\d*)\])?", id_)
    if match is None or match[1] not in jobs or (TORQUE and queue.switch("forgotten")):
        raise RefusedError(153, f"qstat: Unknown Job Id {'Error ' if TORQUE else ''}{id_}")
    job = jobs[match[1]]
    if is_past(job) and not with_history:
        if queue.switch("nohistory"):
            raise RefusedError(153, f"qstat: Unknown Job Id {id_}")
        words = f"qstat: {id_} Job has finished, use -x or -H to obtain historical job information"
        raise RefusedError(35, words)
    return match[1], job


def lines(number: str, job: queue.Job, *, with_elements: bool) -> Iterator[str]:
    """A job, and its elements where they are asked for."""
    if not (TORQUE and with_elements and job["array"]):
        yield from shown(number, job, None)
    if job["array"] and with_elements:
        for task in job["elements"]:
            yield from shown(number, job, task)


def torn(answer: list[str], code: int, words: str) -> int:
    """A complaint amid a line of the answer so far, as where a block of stdio ends there."""
    if answer:
        text = "\n".join(answer) + "\n"
        cut = len(text) - 8
        sys.stdout.write(text[:cut])
        sys.stdout.flush()
        answer[:] = [text[cut:].rstrip("\n")]
    return fail(code, words)


def qdel(argv: list[str]) -> int:
    if queue.switch("down"):
        return fail(162, "Connection refused", "Couldn't connect to cluster: pbs")
    code = 0
    with queue.store() as jobs:
        for id_ in argv:
            match = re.match(r"(\d+)(?:\[(\d*)\])?", id_)
            job = jobs.get(match[1]) if match else None
            if job is None or match is None:
                code = fail(153, f"qdel: Unknown Job Id {id_}")
            elif all(e["state"] == "F" for e in job["elements"].values()):
                words = f"qdel: Request invalid for state of job {id_}" if TORQUE else f"qdel: Job has finished {id_}"
                code = fail(170 if TORQUE else 35, words)
            else:
                queue.kill(job, [match[2]] if match[2] else list(job["elements"]))
    return code


if __name__ == "__main__":
    if sys.argv[1:2] == ["--run"]:
        queue.run(sys.argv[2], variables)
        sys.exit(0)
    program = os.environ.pop("AS")
    queue.note(program, sys.argv[1:])
    sys.exit({"qsub": qsub, "qstat": qstat, "qdel": qdel}[program](sys.argv[1:]))
