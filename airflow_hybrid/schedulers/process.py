# Licensed under the Apache License, Version 2.0; see the LICENSE file.
"""A plain host as a scheduler: one detached launcher per batch, as pure text.

The launcher has a session of its own (``setsid``), so it outlives the ssh connection and the worker that started it.
Its id is ``<boot id>:<process id>:<start time>``: after a reboot, or if another process has its number, it counts as
gone. Linux only (``/proc``).
"""

from __future__ import annotations

import hashlib
import shlex
from collections.abc import Mapping, Sequence
from types import MappingProxyType

from airflow_hybrid import shell_text
from airflow_hybrid.errors import StatusUnknownError
from airflow_hybrid.model import JobState
from airflow_hybrid.schedulers import estimates
from airflow_hybrid.schedulers.asking import number_of, section, words_after
from airflow_hybrid.schedulers.base import Account, ElementState, QueueView, Scheduler, Submission, interpreter, render
from airflow_hybrid.schedulers.estimates import Capacity

HELD_S = 30
"""how long another batch must have had a core before it is reported as held, by whom and since when"""


PATIENCE_S = 300
"""how long a batch waits for cores until later batches may no longer overtake it"""


def _text(name: str, values: Mapping[str, str] = MappingProxyType({})) -> str:
    return shell_text.filled(__package__, name, values)


class ProcessScheduler(Scheduler):
    """Runs a batch on a host without a scheduler, and never uses more cores than the host has (slots)."""

    name = "process"
    on_host = True

    def parts(self, submission: Submission) -> int:
        return 1

    def scripts(self, submission: Submission) -> dict[str, str]:
        script = render(submission, f"/bin/sh {shlex.quote(submission.directory + '/runner.sh')}", part=0)
        command = shlex.join([*interpreter(script), f"{submission.directory}/batch.0.sh"])
        values = {"DIRECTORY": shlex.quote(submission.directory), "COMMAND": command}
        return {"batch.0.sh": script, "launch.sh": _text("process_stat.sh") + _text("process_launch.sh", values)}

    def runner_tail(self, submission: Submission) -> str:
        cores = "" if submission.host_cores is None else str(max(1, submission.host_cores))
        of = hashlib.sha256(submission.deployment.encode()).hexdigest()[:12]
        return f"""ah_me=launcher
ah_cores={cores}
ah_of={of} # the deployment, whose jobs are counted together
ah_share={max(1, round(submission.resources.all_cores * 1000))} # thousandths of a core that one job takes
ah_patience={PATIENCE_S * 100} # hundredths of a second
ah_most={submission.max_concurrent or submission.jobs}
ah_launch
"""

    def submit_function(self, submission: Submission) -> str:
        return _text("process_submit.sh")

    def functions(self) -> str:
        return _text("process_stat.sh") + _text("process_functions.sh")

    def status_command(self, ids: Sequence[str]) -> str:
        text = _text("process_status.sh", {"IDS": shlex.join(ids), "HELD_S": str(HELD_S)})
        return f"echo '#process'\n{_text('process_stat.sh')}{text}echo '#rc 0'\n"

    def parse_status(self, text: str, ids: Sequence[str]) -> dict[str, QueueView]:
        answer = section(text, "process")
        if answer.code != 0:
            raise StatusUnknownError(f"the process table could not be read: {answer.words[-500:]}")
        known_ids = set(ids)
        views = {}
        for kind, id_, why in ((line.partition(" ")[0], *line[2:].partition(" ")[::2]) for line in answer.lines):
            if id_ in known_ids and kind in ("R", "W"):
                waits = QueueView(pending=1, reasons=(why,))
                views[id_] = waits if kind == "W" else QueueView(running=1)
        return views

    def account_command(self, ids: Sequence[str]) -> str:
        text = _text("process_account.sh", {"IDS": shlex.join(ids)})
        return f"{self.status_command(ids)}echo '#sessions'\n{text}echo '#rc 0'\n"

    def parse_account(self, text: str, ids: Sequence[str]) -> Account:
        answer = section(text, "sessions")
        elements: dict[str, ElementState] = {}
        for line in answer.lines:
            kind, _, id_and_reason = line.partition(" ")
            id_, _, reason = id_and_reason.partition(" ")
            elements[id_] = ElementState(JobState.RUNNING if kind == "R" else JobState.LOST, reason)
        if answer.code != 0:
            return Account(elements, complete=False, problem="the process table could not be read", heard=False)
        return Account(elements, complete=True)

    def capacity_command(self, submission: Submission) -> str:
        return HOST

    def parse_capacity(self, text: str) -> estimates.Capacity:
        return host_capacity(text)

    def element_id(self, ids: Sequence[str], jobs: int, index: int, max_array: int) -> str | None:
        return ids[0] if ids else None


HOST = r"""ah_n=$(nproc 2>/dev/null)
ah_m=$(sed -n 's/^MemTotal: *\([0-9]*\) kB/\1/p' /proc/meminfo 2>/dev/null)
read -r ah_l ah_w </proc/loadavg 2>/dev/null
echo "capacity ${ah_n:--} ${ah_m:--} ${ah_l:--}"
"""
"""shell text that prints cores, memory in KiB, and the load of the last minute of its host (proc(5))"""


def host_capacity(text: str) -> Capacity:
    """Read the answer to :data:`HOST`."""
    words = words_after(text, "capacity ")
    if len(words) != 3:
        return Capacity()
    cores, memory, load = (number_of(word) for word in words)
    free = None if cores is None or load is None else max(0.0, cores - load)
    return Capacity(cores, free, None if memory is None else int(memory) // 1024)
