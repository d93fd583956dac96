# Licensed under the Apache License, Version 2.0; see the LICENSE file.
"""A Slurm of shell scripts for one test: it runs what is submitted, at once, and fails when told to."""

from __future__ import annotations

import os
from pathlib import Path

_SBATCH = r"""echo "$@" >>"$FAKE/sbatch"
if [ -e "$FAKE/refuse" ]; then cat "$FAKE/refuse" >&2; exit 1; fi
until mkdir "$FAKE/counting" 2>/dev/null; do sleep 0.05; done
id=$(($(cat "$FAKE/last") + 1)); echo $id >"$FAKE/last"
rmdir "$FAKE/counting"
tasks=; name=
for a; do case $a in --array=*) tasks=${a#--array=} ;; --job-name=*) name=${a#*=} ;; esac; done
echo "$id $name" >>"$FAKE/names"
first=${tasks%%-*}; last=${tasks#*-}; last=${last%\%*}
if [ -n "$tasks" ] && [ $last -ge $(cat "$FAKE/max_array") ]; then
    echo 'sbatch: error: Batch job submission failed: Invalid job array specification' >&2; exit 1
fi
if [ -e "$FAKE/run" ]; then
    if [ -z "$tasks" ]; then SLURM_JOB_ID=$id sh "$a" 9>&-; fi
    while [ -n "$tasks" ] && [ $first -le $last ]; do
        SLURM_JOB_ID=$id SLURM_ARRAY_JOB_ID=$id SLURM_ARRAY_TASK_ID=$first sh "$a" 9>&-
        first=$((first + 1))
    done
fi
if [ -e "$FAKE/lose" ]; then
    rm "$FAKE/lose"
    echo 'sbatch: error: Socket timed out on send/recv operation' >&2
    exit 1
fi
[ ! -e "$FAKE/banner" ] || cat "$FAKE/banner"
echo $id
"""
_SQUEUE = r"""echo "$@" >>"$FAKE/squeue"
[ ! -e "$FAKE/squeue_hangs" ] || sleep 300
if [ -e "$FAKE/squeue_fails" ]; then echo 'slurm_load_jobs error: Unable to contact slurm controller' >&2; exit 1; fi
case "$*" in
*' -n '*) while read -r id name; do case "$*" in *" -n $name "*) echo $id ;; esac; done <"$FAKE/names" ;;
*) cat "$FAKE/queue" ;;
esac
"""
_SACCT = r"""echo "$@" >>"$FAKE/sacct_calls"
if [ -e "$FAKE/sacct_fails" ]; then cat "$FAKE/sacct_fails" >&2; exit 1; fi
case "$*" in *--name=*) ;; *) cat "$FAKE/sacct" ;; esac
"""
_SCONTROL = r"""case "$*" in
*config*) echo "MaxArraySize            = $(cat "$FAKE/max_array")" ;;
*)
    if [ -e "$FAKE/scontrol_fails" ]; then cat "$FAKE/scontrol_fails" >&2; exit 1; fi
    [ -s "$FAKE/scontrol" ] && exec cat "$FAKE/scontrol"
    echo 'slurm_load_jobs error: Invalid job id specified' >&2
    exit 1
    ;;
esac
"""
_SCANCEL = r"""echo "$@" >>"$FAKE/scancel"
"""


class FakeSlurm:
    """Files in ``folder`` steer it: ``run``, ``lose``, ``refuse``, ``squeue_fails``, ``queue``, ``sacct`` ..."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        (folder / "bin").mkdir(parents=True)
        programs = {"sbatch": _SBATCH, "squeue": _SQUEUE, "sacct": _SACCT, "scontrol": _SCONTROL, "scancel": _SCANCEL}
        for name, text in programs.items():
            path = folder / "bin" / name
            path.write_text(f"#!/bin/sh\n{text}")
            path.chmod(0o755)
        for name, text in {"last": "100\n", "names": "", "queue": "", "sacct": "", "max_array": "1001"}.items():
            (folder / name).write_text(text)

    @property
    def environment(self) -> dict[str, str]:
        return {"FAKE": str(self.folder), "PATH": f"{self.folder}/bin:{os.environ['PATH']}"}

    def set(self, name: str, text: str = "yes\n") -> None:
        (self.folder / name).write_text(text)

    def unset(self, name: str) -> None:
        (self.folder / name).unlink(missing_ok=True)

    def calls(self, program: str) -> list[str]:
        path = self.folder / program
        return path.read_text().splitlines() if path.exists() else []
