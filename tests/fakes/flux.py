# Licensed under the Apache License, Version 2.0; see the LICENSE file.
"""``flux submit``, ``flux jobs``, ``flux cancel`` and ``flux job id`` that really run jobs (flux-core's manual pages).

``$FAKE/part``: so many jobs of the next ``--cc`` are accepted, then the connection is lost.
"""

from __future__ import annotations

import argparse
import io
import sys
from pathlib import Path

sys.path[0] = str(Path(__file__).parents[2])
from tests.fakes import jobstore as queue  # noqa: E402


def fail(*lines: str) -> int:
    print(*lines, sep="\n", file=sys.stderr)
    return 1


def submit(argv: list[str]) -> int:
    if queue.switch("refuse"):
        return fail(f"flux-submit: ERROR: [Errno 22] {queue.setting('refuse', '')}")
    parser = argparse.ArgumentParser(prog="flux submit", allow_abbrev=False)
    known = "job-name cc cores-per-task gpus-per-task time-limit cwd queue ntasks bank urgency nodes"
    for name in known.split():
        parser.add_argument(f"--{name}")
    parser.add_argument("--setattr", action="append")
    parser.add_argument("command", nargs=argparse.REMAINDER)
    args = parser.parse_args(argv)
    first, _, last = (args.cc or "0-0").partition("-")
    for cc in range(int(first), int(last) + 1):
        if queue.setting("part", "") == "0":
            (queue.FAKE / "part").unlink()
            return fail("flux-submit: ERROR: Connection reset by peer")
        if queue.switch("part"):
            (queue.FAKE / "part").write_text(str(int(queue.setting("part", "")) - 1))
        number = queue.add({"name": args.job_name, "command": args.command, "cc": str(cc), "argv": argv}, [0])
        if not queue.switch("lose"):
            print(f"ƒ{number}")
    return fail("flux-submit: ERROR: Connection timed out") if queue.lost() else 0


def jobs(argv: list[str]) -> int:
    parser = argparse.ArgumentParser(prog="flux jobs", allow_abbrev=False)
    parser.add_argument("-a", action="store_true")
    parser.add_argument("-n", action="store_true")
    parser.add_argument("-c", type=int, default=1000)
    parser.add_argument("-o", default="{id}")
    parser.add_argument("--name")
    args = parser.parse_args(argv)
    count = 0
    with queue.store() as known:
        for number, job in known.items():
            element = job["elements"]["0"]
            over = element["state"] == "F"
            if (args.name and job["name"] != args.name) or (over and (not args.a or queue.switch("forgotten"))):
                continue
            count += 1
            if args.c and count > args.c:
                break
            code = element["exit"]
            canceled = over and (code is None or code > 255)
            result = "" if not over else "CANCELED" if canceled else "COMPLETED" if code == 0 else "FAILED"
            values = {
                "{name}": job["name"], "{id.dec}": number, "{id}": f"ƒ{number}", "{result}": result,
                "{state}": {"Q": "SCHED", "R": "RUN", "F": "INACTIVE"}[element["state"]],
                "{returncode}": "" if code is None else str(code), "{exception.type}": "cancel" if canceled else "",
                "{exception.note}": queue.setting("comment", ""),
            }  # fmt: skip
            text = args.o
            for key, value in values.items():
                text = text.replace(key, value)
            print(text)
    return 0


def cancel(argv: list[str]) -> int:
    with queue.store() as known:
        for number in argv:
            job = known.get(number.lstrip("ƒ"))
            if job is None or job["elements"]["0"]["state"] == "F":
                return fail(f"flux-cancel: {number}: job is inactive")
            queue.kill(job, ["0"])
    return 0


def variables(task: str, job: queue.Job) -> dict[str, str]:
    return {"FLUX_JOB_CC": job["cc"], "FLUX_JOB_ID": f"ƒ{sys.argv[2]}"}


def main(argv: list[str]) -> int:
    if argv[:2] == ["job", "id"]:
        print(argv[-1].lstrip("ƒ"))
        return 0
    queue.note(argv[0], argv[1:])
    if queue.switch("down"):
        return fail(f"flux-{argv[0]}: ERROR: [Errno 2] Unable to connect to Flux: broker socket is not there")
    return {"submit": submit, "jobs": jobs, "cancel": cancel}[argv[0]](argv[1:])


if __name__ == "__main__":
    assert isinstance(sys.stdout, io.TextIOWrapper)
    sys.stdout.reconfigure(encoding="utf-8")
    if sys.argv[1:2] == ["--run"]:
        queue.run(sys.argv[2], variables)
        sys.exit(0)
    sys.exit(main(sys.argv[1:]))
