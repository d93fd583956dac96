# Licensed under the Apache License, Version 2.0; see the LICENSE file.
"""What a location has of what is needed there: one shell script, and its answer as values. No I/O."""

from __future__ import annotations

import shlex
from dataclasses import dataclass

from airflow_hybrid.shell_text import fill
from airflow_hybrid.sites.hosts.gnu_programs import NEEDED
from airflow_hybrid.sites.hosts.room import available, whole_number

REQUIRED = (
    "sh", "tar", "find", "flock", "sha1sum", "xargs", "stat", "realpath", "mktemp", "mv", "cp", "ln", "head", "tail",
    "cut", "tr", "sed", "awk", "sort", "wc", "df", "env", "dirname", "timeout",
)  # fmt: skip
"""POSIX, coreutils, findutils, tar and util-linux, as far as scripts of ours call them"""
OPTIONAL = {"zstd": "many small files travel uncompressed", "ssh": "no link can start here"}
"""name -> what is lost without it"""
RUNTIMES = ("docker", "podman", "apptainer", "singularity", "ch-run")
LOW_SPACE_KIB = 1 << 20
LOW_INODES = 10_000

_SCRIPT = r"""LC_ALL=C; export LC_ALL
say() { printf '%s\t%s\n' "$1" "$(printf %s "$2" | tr '\n\t' '  ')"; }
say os "$(uname -srm 2>/dev/null)"
say cores "$(nproc 2>/dev/null)"
say memory "$(sed -n 's/^MemTotal: *\([0-9]*\) kB/\1/p' /proc/meminfo 2>/dev/null)"
say user "$(id -un 2>/dev/null)"
for p in @TOOLS@; do if command -v "$p" >/dev/null 2>&1; then say have "$p"; else say lack "$p"; fi; done
@GNU@
command -v timeout >/dev/null 2>&1 && limit='timeout 10' || limit=
for p in @RUNTIMES@; do
    command -v "$p" >/dev/null 2>&1 || continue
    v=$($limit "$p" --version 2>&1 </dev/null | sed -n 's/^[^0-9]*\([0-9][0-9A-Za-z.+~-]*\).*/\1/p' | head -n 1)
    case $p in docker) $limit docker info >/dev/null 2>&1 </dev/null || v="$v (its daemon does not answer)" ;; esac
    say runtime "$p $v"
done
w=@WORKDIR@ a=$w
while [ ! -e "$a" ] && [ ! -L "$a" ] && [ "$a" != / ]; do a=$(dirname -- "$a"); done
say base "$a"
if t=$(mktemp -d "$a/.airflow-hybrid-check.XXXXXX" 2>&1); then
    trap 'rm -f new file link lock; cd / && rmdir -- "$t"' EXIT
    cd -- "$t" || exit
    if e=$({ head -c 65536 /dev/zero >new && mv new file && ln -s file link; } 2>&1) &&
        [ "$(wc -c <link)" -eq 65536 ]; then say write ok; else say write "$e"; fi
    if e=$({ flock -w 5 9; } 9>lock 2>&1); then say lock ok; else say lock "${e:-flock ended with $?}"; fi
else
    say write "$t"
fi
say space "$(df -Pk -- "$a" 2>&1 | tail -n 1)"
say inodes "$(df -Pi -- "$a" 2>&1 | tail -n 1)"
say end ok
"""


def script(workdir: str) -> str:
    """Shell text that looks at a location: its programs, and whether jobs and data can be kept in ``workdir``.

    A small file is written, renamed, linked and locked in a folder of its own, in the work directory or (where that is
    not there yet) in the nearest folder above it, and removed again. Nothing else is changed.
    """
    gnu = [
        f"! command -v {name.split()[0]} >/dev/null 2>&1 || {test} >/dev/null 2>&1 || say lack '{name}'"
        for name, test in NEEDED.items()
    ]
    values = {
        "GNU": "\n".join(gnu),
        "TOOLS": " ".join((*REQUIRED, *OPTIONAL)),
        "RUNTIMES": " ".join(RUNTIMES),
        "WORKDIR": shlex.quote(workdir),
    }
    return fill(_SCRIPT, values)


@dataclass(frozen=True)
class SiteProbe:
    """What :func:`script` found.

    :ivar base: the work directory, or the nearest folder above it that is there.
    :ivar write: ``ok``, or why nothing can be written there; ``lock`` likewise. ``""``: not tried.
    :ivar free_kib: free space for the user; None: not known, as for ``free_inodes``.
    :ivar complete: the script got to its end.
    """

    os: str = ""
    user: str = ""
    cores: int | None = None
    memory_mib: int | None = None
    lacks: tuple[str, ...] = ()
    runtimes: tuple[str, ...] = ()
    base: str = ""
    write: str = ""
    lock: str = ""
    free_kib: int | None = None
    free_inodes: int | None = None
    complete: bool = False

    @property
    def missing(self) -> list[str]:
        """Programs, and what they must be able to do, without which nothing works."""
        return [name for name in self.lacks if name not in OPTIONAL]


def parse(text: str) -> SiteProbe:
    """Read the answer of :func:`script`; what it does not say stays unknown."""
    many: dict[str, list[str]] = {}
    for line in text.splitlines():
        key, tab, value = line.partition("\t")
        if tab:
            many.setdefault(key, []).append(value.strip())
    single = {key: values[-1] for key, values in many.items()}
    memory = whole_number(single.get("memory"))
    return SiteProbe(
        os=single.get("os", ""),
        user=single.get("user", ""),
        cores=whole_number(single.get("cores")),
        memory_mib=None if memory is None else memory // 1024,
        lacks=tuple(many.get("lack", ())),
        runtimes=tuple(many.get("runtime", ())),
        base=single.get("base", ""),
        write=single.get("write", ""),
        lock=single.get("lock", ""),
        free_kib=available(single.get("space")),
        free_inodes=available(single.get("inodes")),
        complete=single.get("end") == "ok",
    )
