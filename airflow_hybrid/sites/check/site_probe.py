# Licensed under the Apache License, Version 2.0; see the LICENSE file.
"""What a location has of what jobs need: one shell script, and its answer as values. No I/O."""

from __future__ import annotations

import shlex
from dataclasses import dataclass

from airflow_hybrid import shell_text
from airflow_hybrid.sites.hosts.probing.gnu_programs import NEEDED
from airflow_hybrid.sites.hosts.room import available, whole_number

REQUIRED = (
    "sh", "tar", "find", "flock", "sha1sum", "xargs", "stat", "realpath", "mktemp", "mv", "cp", "ln", "head", "tail",
    "cut", "tr", "sed", "awk", "sort", "wc", "df", "env", "dirname", "timeout",
)  # fmt: skip
"""programs of POSIX, coreutils, findutils, tar and util-linux that our scripts call"""
OPTIONAL = {"zstd": "many small files are sent uncompressed", "ssh": "no link can start here"}
"""name -> what does not work without it"""
RUNTIMES = ("docker", "podman", "apptainer", "singularity", "ch-run")
LOW_SPACE_KIB = 1 << 20
LOW_INODES = 10_000


def script(workdir: str) -> str:
    """Shell text that examines a location: its programs, and whether jobs and data can be kept in ``workdir``.

    It changes nothing, except that it writes and removes a small file (see ``site_probe.sh``).
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
    return shell_text.filled(__package__, "site_probe.sh", values)


@dataclass(frozen=True)
class SiteProbe:
    """The answer of :func:`script`.

    :ivar base: the work directory, or the nearest existing folder above it.
    :ivar write: ``ok``, or why nothing can be written there; ``lock`` likewise. ``""``: not tested.
    :ivar free_kib: free space for the user; None: unknown, as for ``free_inodes``.
    :ivar complete: the script ran to its end.
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
        """Required programs, and features of programs, that are missing."""
        return [name for name in self.lacks if name not in OPTIONAL]


def parse(text: str) -> SiteProbe:
    """Read the answer of :func:`script`; what it does not say is unknown."""
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
