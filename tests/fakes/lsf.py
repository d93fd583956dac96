# Licensed under the Apache License, Version 2.0; see the LICENSE file.
"""``bsub``, ``bjobs``, ``bkill`` that really run jobs: enough of LSF for the scheduler in docs/how-to."""

from __future__ import annotations

import getopt
import os
import re
import sys
from pathlib import Path

sys.path[0] = str(Path(__file__).parents[2])
from tests.fakes import jobstore  # noqa: E402


def bsub(argv: list[str]) -> int:
    options, command = getopt.getopt(argv, "J:q:o:n:M:W:P:R:")
    match = re.fullmatch(r"([\w.-]+)(?:\[1-(\d+)\](?:%(\d+))?)?", dict(options)["-J"])
    if not match:
        print("Bad job name. Job not submitted.", file=sys.stderr)
        return 255
    tasks = list(range(1, int(match[2]) + 1)) if match[2] else [0]
    job = {"name": match[1], "command": command, "most": int(match[3]) if match[3] else None, "argv": argv}
    number = jobstore.add(job, tasks)
    if jobstore.lost():
        print("Failed in an LSF library call: Communication time out. Job not submitted.", file=sys.stderr)
        return 255
    print(f"Job <{number}> is submitted to queue <normal>.")
    return 0


def bjobs(argv: list[str]) -> int:
    with jobstore.store() as jobs:
        for number, job in jobs.items():
            for task, element in job["elements"].items():
                if "job_name" in argv[-1]:
                    print(number, job["name"] + (f"[{task}]" if task != "0" else ""))
                    continue
                code, state = element["exit"], {"Q": "PEND", "R": "RUN"}.get(element["state"], "EXIT")
                state = "DONE" if state == "EXIT" and code == 0 else state
                ended = "TERM_OWNER: job killed by owner" if state == "EXIT" and (code is None or code > 255) else ""
                print(number, task, state, ended, "New job is waiting" if state == "PEND" else "", sep="|")
    return 0


def bkill(argv: list[str]) -> int:
    with jobstore.store() as jobs:
        number, _, task = argv[0].rstrip("]").partition("[")
        if number not in jobs or all(e["state"] == "F" for e in jobs[number]["elements"].values()):
            print(f"Job <{number}>: Job has already finished", file=sys.stderr)
            return 255
        jobstore.kill(jobs[number], [task] if task else list(jobs[number]["elements"]))
    return 0


def variables(task: str, job: jobstore.Job) -> dict[str, str]:
    return {"LSB_JOBID": sys.argv[2], "LSB_JOBINDEX": task}


if __name__ == "__main__":
    if sys.argv[1:2] == ["--run"]:
        jobstore.run(sys.argv[2], variables)
        sys.exit(0)
    sys.exit({"bsub": bsub, "bjobs": bjobs, "bkill": bkill}[os.environ.pop("AS")](sys.argv[1:]))
