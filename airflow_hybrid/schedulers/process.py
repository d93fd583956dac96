# Licensed under the Apache License, Version 2.0; see the LICENSE file.
"""A plain host as a scheduler: one detached launcher per batch, as pure text.

The launcher is a session of its own (``setsid``), so it outlives the ssh connection and the worker that started it.
Its id is ``<boot id>:<process id>:<start time>``: after a reboot, or when the number was given to another process,
it is gone, and nobody waits for it. Linux only (``/proc``).
"""

from __future__ import annotations

import hashlib
import shlex
from collections.abc import Sequence

from airflow_hybrid.errors import StatusUnknownError
from airflow_hybrid.model import JobState
from airflow_hybrid.schedulers import estimates
from airflow_hybrid.schedulers.asking import number_of, section, words_after
from airflow_hybrid.schedulers.base import Account, ElementState, QueueView, Scheduler, Submission, interpreter, render
from airflow_hybrid.schedulers.estimates import Capacity

_STAT = r"""ah_stat() { # process id -> ah_state, ah_session, ah_started; 1 if there is no such process
    read -r ah_line <"/proc/$1/stat" || return 1
    set -- ${ah_line##*") "}
    ah_state=$1 ah_session=$4 ah_started=${20}
}
"""
"""proc(5): the second field of stat is a name in parentheses and may hold anything; field 22 is the start time"""

_LAUNCH = (
    _STAT
    + r"""ah_B=@DIRECTORY@
cd "$ah_B" || exit 73
read -r ah_pid ah_line </proc/self/stat
ah_stat "$ah_pid"
read -r ah_boot </proc/sys/kernel/random/boot_id
echo "$ah_boot:$ah_pid:$ah_started" >|jobid.0.new && mv -f jobid.0.new jobid.0 || exit 73
exec 9>&- # the submit script waits for this
unset ah_line ah_state ah_session
exec @COMMAND@
"""
)

_SUBMIT = r"""ah_start() {
    env -i PATH="$PATH" ${HOME+"HOME=$HOME"} ${USER+"USER=$USER"} ${LOGNAME+"LOGNAME=$LOGNAME"} \
        ${SHELL+"SHELL=$SHELL"} ${LANG+"LANG=$LANG"} ${LC_ALL+"LC_ALL=$LC_ALL"} ${LC_CTYPE+"LC_CTYPE=$LC_CTYPE"} \
        ${TZ+"TZ=$TZ"} setsid /bin/sh "$ah_B/launch.sh" </dev/null >>"$ah_B/log" 2>&1 &
    exec 9>&-
    exec 9>>"$ah_T/lock"
    flock 9
    ah_id= ah_said=
    [ -s "$ah_B/jobid.0" ] && read -r ah_id <"$ah_B/jobid.0" && return 0
    ah_said=$(tail -c 1000 "$ah_B/log")
    return 1
}
"""

_FUNCTIONS = (
    _STAT
    + r"""ah_cancel() { # ends every process of the launchers' sessions
    read -r ah_boot </proc/sys/kernel/random/boot_id
    for ah_signal in TERM TERM KILL KILL 0; do # the last one only looks
        ah_found=
        for ah_c; do
            [ "${ah_c%%:*}" = "$ah_boot" ] || continue
            ah_pid=${ah_c#*:} ah_pid=${ah_pid%%:*}
            if ah_stat "$ah_pid" 2>/dev/null && [ "$ah_started" != "${ah_c##*:}" ]; then continue; fi
            for ah_p in /proc/[0-9]*; do
                ah_stat "${ah_p#/proc/}" 2>/dev/null || continue
                [ "$ah_session" = "$ah_pid" ] && [ "$ah_state" != Z ] || continue
                kill -s $ah_signal "${ah_p#/proc/}" 2>/dev/null && ah_found=1
            done
        done
        [ -n "$ah_found" ] || return 0
        sleep 0.3
    done
    echo 'some of its processes do not end'
    return 1
}
ah_cancel_name() { :; }
ah_need() { for ah_p in setsid; do command -v $ah_p >/dev/null 2>&1 || echo $ah_p; done; }
ah_find() { ah_id=; } # the launcher writes its id itself, while the lock is held: no id, no launcher
"""
)

_STATUS = (
    _STAT
    + r"""ah_held() { # session of a launcher -> ah_by: it has no core and others have; 1: it has one, or nobody has
    ah_by= ah_few=
    [ -O "$ah_own" ] && [ ! -h "$ah_own" ] || return 1
    for ah_f in "$ah_own"/slots/[0-9]*; do
        [ -O "$ah_f" ] && [ ! -h "$ah_f" ] && read -r ah_s ah_c <"$ah_f" || continue
        ah_stat "${ah_f##*/}" 2>/dev/null && [ "$ah_started" = "$ah_s" ] || continue
        [ "$ah_session" != "$1" ] || return 1
        ah_by="$ah_by ${ah_f}"
    done
    [ -n "$ah_by" ] || return 1
    set -- $ah_by
    ah_by= ah_now=$(date +%s)
    for ah_f; do # who has had one for long, and may have been left behind
        ah_m=$(stat -c %Y "$ah_f" 2>/dev/null) && [ $((ah_now - ah_m)) -ge @HELD_S@ ] || continue
        ah_few=$ah_few. ah_c=$(tr '\0\n' '  ' <"/proc/${ah_f##*/}/cmdline" 2>/dev/null)
        [ "$ah_few" != ..... ] || break
        ah_by="$ah_by; since $(date -d "@$ah_m" +%T) by process ${ah_f##*/} (${ah_c% })"
    done
}
read -r ah_boot </proc/sys/kernel/random/boot_id
ah_own=/tmp/airflow_hybrid-$(id -u)
for ah_i in @IDS@; do
    ah_p=${ah_i#*:} ah_p=${ah_p%%:*}
    if [ "${ah_i%%:*}" = "$ah_boot" ] && ah_stat "$ah_p" 2>/dev/null && [ "$ah_started" = "${ah_i##*:}" ] &&
        [ "$ah_state" != Z ]; then
        if ah_held "$ah_p"; then echo "W $ah_i they wait for cores that other jobs of this user have$ah_by"
        else echo "R $ah_i"; fi
    fi
done
"""
)

_ACCOUNT = r"""for ah_i in @IDS@; do
    ah_p=${ah_i#*:} ah_p=${ah_p%%:*}
    if [ "${ah_i%%:*}" != "$ah_boot" ]; then echo "G $ah_i the host was restarted"; continue; fi
    ah_stat "$ah_p" 2>/dev/null && [ "$ah_started" != "${ah_i##*:}" ] && ah_p=none
    ah_left=
    for ah_q in /proc/[0-9]*; do # jobs may outlive a launcher that was killed
        ah_stat "${ah_q#/proc/}" 2>/dev/null && [ "$ah_session" = "$ah_p" ] && [ "$ah_state" != Z ] || continue
        ah_left=1
        break
    done
    if [ -n "$ah_left" ]; then echo "R $ah_i"; else echo "G $ah_i its launcher has ended or was killed"; fi
done
"""

HELD_S = 30
"""a core that another batch has had for so long is said to be held, by whom and since when"""


PATIENCE_S = 300
"""who has waited for cores for so long is not overtaken any more by those that came later and would take its room"""


class ProcessScheduler(Scheduler):
    """Runs a batch on a host that has no scheduler, never using more cores than the host has (slots)."""

    name = "process"
    on_host = True

    def parts(self, submission: Submission) -> int:
        return 1

    def scripts(self, submission: Submission) -> dict[str, str]:
        script = render(submission, f"/bin/sh {shlex.quote(submission.directory + '/runner.sh')}", part=0)
        command = shlex.join([*interpreter(script), f"{submission.directory}/batch.0.sh"])
        launch = _LAUNCH.replace("@DIRECTORY@", shlex.quote(submission.directory)).replace("@COMMAND@", command)
        return {"batch.0.sh": script, "launch.sh": launch}

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
        return _SUBMIT

    def functions(self) -> str:
        return _FUNCTIONS

    def status_command(self, ids: Sequence[str]) -> str:
        text = _STATUS.replace("@IDS@", shlex.join(ids)).replace("@HELD_S@", str(HELD_S))
        return f"echo '#process'\n{text}echo '#rc 0'\n"

    def parse_status(self, text: str, ids: Sequence[str]) -> dict[str, QueueView]:
        answer = section(text, "process")
        if answer.code != 0:
            raise StatusUnknownError(f"the process table was not read: {answer.words[-500:]}")
        wanted = set(ids)
        found = {}
        for kind, id_, why in ((line.partition(" ")[0], *line[2:].partition(" ")[::2]) for line in answer.lines):
            if id_ in wanted and kind in ("R", "W"):
                waits = QueueView(pending=1, reasons=(why,))
                found[id_] = waits if kind == "W" else QueueView(running=1)
        return found

    def account_command(self, ids: Sequence[str]) -> str:
        return f"{self.status_command(ids)}echo '#sessions'\n{_ACCOUNT.replace('@IDS@', shlex.join(ids))}echo '#rc 0'\n"

    def parse_account(self, text: str, ids: Sequence[str]) -> Account:
        answer = section(text, "sessions")
        elements: dict[str, ElementState] = {}
        for line in answer.lines:
            kind, _, rest = line.partition(" ")
            id_, _, reason = rest.partition(" ")
            elements[id_] = ElementState(JobState.RUNNING if kind == "R" else JobState.LOST, reason)
        if answer.code != 0:
            return Account(elements, complete=False, problem="the process table was not read", heard=False)
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
"""cores, memory in KiB, and the load of the last minute, of the host that runs it (proc(5))"""


def host_capacity(text: str) -> Capacity:
    """Read the answer to :data:`HOST`."""
    words = words_after(text, "capacity ")
    if len(words) != 3:
        return Capacity()
    cores, memory, load = (number_of(word) for word in words)
    free = None if cores is None or load is None else max(0.0, cores - load)
    return Capacity(cores, free, None if memory is None else int(memory) // 1024)
