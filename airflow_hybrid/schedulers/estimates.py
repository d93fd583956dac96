# Licensed under the Apache License, Version 2.0; see the LICENSE file.
"""What a site says before anything is submitted: what it has, what is free, when a job would start. Pure text."""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from dataclasses import dataclass

from airflow_hybrid.schedulers.asking import ASKING, STATUS_LIMIT_S


@dataclass(frozen=True)
class Capacity:
    """What a location has, and what nobody takes of it. None: not known."""

    cores: float | None = None
    free_cores: float | None = None
    memory_mib: int | None = None


HOST = r"""ah_n=$(nproc 2>/dev/null)
ah_m=$(sed -n 's/^MemTotal: *\([0-9]*\) kB/\1/p' /proc/meminfo 2>/dev/null)
read -r ah_l ah_w </proc/loadavg 2>/dev/null
echo "capacity ${ah_n:--} ${ah_m:--} ${ah_l:--}"
"""
"""cores, memory in KiB, and the load of the last minute, of the host that runs it (proc(5))"""


def host(text: str) -> Capacity:
    """Read the answer to :data:`HOST`."""
    words = _line(text, "capacity ")
    if len(words) != 3:
        return Capacity()
    cores, memory, load = (_number(word) for word in words)
    free = None if cores is None or load is None else max(0.0, cores - load)
    return Capacity(cores, free, None if memory is None else int(memory) // 1024)


def slurm_cpus(partition: str | None) -> str:
    """Shell text that asks for the CPUs of a partition, or of all, of which some may be in several."""
    where = f" -p {shlex.quote(partition)}" if partition else ""
    sinfo = f"ah_asks {STATUS_LIMIT_S} sinfo -h{where} -o %C"
    return f"{ASKING}echo \"capacity $({sinfo} 2>/dev/null | tr '/\\n' '  ')\"\n"


def slurm(text: str) -> Capacity:
    """Read the answer to :func:`slurm_cpus`: allocated, idle, other and all CPUs (sinfo(1), %C)."""
    words = [_number(word) for word in _line(text, "capacity ")]
    if not words or len(words) % 4 or None in words:
        return Capacity()
    return Capacity(sum(n or 0 for n in words[3::4]), sum(n or 0 for n in words[1::4]))


def slurm_start(arguments: Sequence[str], script: str) -> str:
    """Shell text that lets sbatch say when a job would start; nothing is submitted (sbatch(1), --test-only).

    :param arguments: the command line of sbatch, without the script, which it reads from stdin.
    """
    ask = f"ah_asks {STATUS_LIMIT_S} {shlex.join(arguments)} --test-only"
    return f"""{ASKING}ah_s=$(printf %s {shlex.quote(script)} | ah_apart {ask})
ah_t=$(printf '%s\\n' "$ah_s" | sed -n 's/.* to start at \\([0-9T:-]*\\) .*/\\1/p' | head -n 1)
if [ -n "$ah_t" ] && ah_t=$(date -d "$ah_t" +%s); then echo "wait $((ah_t - $(date +%s)))"
else echo "said $(printf %s "$ah_s" | sed '/^#said$/d' | tr '\\n' ' ')"; fi
"""


_PBS_NODES = r"""ah_asks 15 pbsnodes -aSj 2>/dev/null | awk '
$7 ~ /^[0-9]+\/[0-9]+$/ {
    split($7, n, "/"); t += n[2]
    if ($2 !~ /down|offline|stale|unknown|maintenance|provision|sleep|unresolvable/) { f += n[1]; c += int(n[1] / per) }
}
END { if (t) print SHOWN }'"""
"""one line per node: name, state, ..., free and all CPUs as ``6/8`` in the seventh column (pbsnodes(8B), -S -j)"""


def pbs_cpus() -> str:
    """Shell text that asks for free and all CPUs of the nodes of an OpenPBS; one that does not know says nothing."""
    return f'{ASKING}echo "capacity $({_PBS_NODES.replace("SHOWN", "f + 0, t").replace("per", "1")})"\n'


def slots(text: str) -> Capacity:
    """Read the answer to :func:`pbs_cpus` or :func:`sge_slots`: pairs of free and all; of several, the largest."""
    words = [_number(word) for word in _line(text, "capacity ")]
    if not words or len(words) % 2 or None in words:
        return Capacity()
    return Capacity(max(n or 0 for n in words[1::2]), max(n or 0 for n in words[::2]))


def pbs_start(queue: str | None, chunks: int, cores: int) -> str:
    """Shell text that estimates when a job would start at an OpenPBS: at once, if it fits into what is free.

    Otherwise not before those that wait in the queue, of which the scheduler has estimates where the site wants that
    (``backfill_depth``; the attribute ``estimated.start_time``, which ``qstat -f`` shows as a date).
    """
    fits = _PBS_NODES.replace("SHOWN", "c + 0").replace("per", str(max(1, cores)))
    where = shlex.quote(queue or "")
    qstat = f"ah_asks {STATUS_LIMIT_S} qstat"
    return f"""{ASKING}ah_f=$({fits})
if [ -n {where} ] && {qstat} -Q -f {where} 2>/dev/null | grep -q '^ *started = False'; then
    echo "said the queue" {where} "is stopped"
elif [ -n "$ah_f" ] && [ "$ah_f" -ge {chunks} ]; then echo "wait 0"
else
    ah_t=$({qstat} -f 2>/dev/null | awk -v queue={where} '
        function end() {{ if (s == "Q" && (queue == "" || q == queue)) {{ n++; if (d) print "at " d }} s = q = d = "" }}
        /^Job Id:/ {{ end() }}
        /^    job_state = / {{ s = $3 }}
        /^    queue = / {{ q = $3 }}
        /^    estimated.start_time = / {{ sub(/.* = /, ""); d = $0 }}
        END {{ end(); print "jobs " n + 0 }}')
    ah_w=$(printf '%s\\n' "$ah_t" | sed -n 's/^at //p' |
        while read -r ah_d; do date -d "$ah_d" +%s; done | sort -n | tail -n 1)
    ah_n=$(printf '%s\\n' "$ah_t" | sed -n 's/^jobs //p')
    if [ -n "$ah_w" ]; then echo "wait $((ah_w - $(date +%s)))"
    else echo "said no CPUs are free, $ah_n jobs wait, the site has no estimate"; fi
fi
"""


def sge_slots(queue: str | None) -> str:
    """Shell text that asks for free and all slots of a cluster queue, or of each (qstat(1), -g c)."""
    where = f" -q {shlex.quote(queue)}" if queue else ""
    rows = "awk 'NF >= 8 && $6 ~ /^[0-9]+$/ { print $5, $6 }' | tr '\\n' ' '"
    qstat = f"ah_asks {STATUS_LIMIT_S} qstat -g c{where}"
    return f'{ASKING}echo "capacity $({qstat} 2>/dev/null | {rows})"\n'


def sge_start(arguments: Sequence[str], script: str) -> str:
    """Shell text that lets qsub say whether a job would start now; nothing is submitted (qsub(1), ``-w p``).

    :param arguments: the command line of qsub, without the script, which it reads from stdin.
    """
    ask = f"ah_asks {STATUS_LIMIT_S} {shlex.join(arguments)} -w p"
    return f"""{ASKING}if ah_s=$(printf %s {shlex.quote(script)} | ah_apart {ask}); then echo "wait 0"
else echo "said $(printf %s "$ah_s" | sed '/^#said$/d' | tr '\\n' ' ')"; fi
"""


def wait(text: str) -> tuple[float | None, str]:
    """Seconds until the job would start, and what the site said where it does not know."""
    words = _line(text, "wait ")
    seconds = _number(words[0].lstrip("-")) if words else None
    if seconds is None:
        return None, " ".join(_line(text, "said "))
    return (0.0 if words[0].startswith("-") else seconds), ""


def _line(text: str, start: str) -> list[str]:
    return next((line[len(start) :].split() for line in text.splitlines() if line.startswith(start)), [])


def _number(word: str) -> float | None:
    try:
        return float(word)
    except ValueError:
        return None
