# Licensed under the Apache License, Version 2.0; see the LICENSE file.
"""What is said to a location about batch directories, and what it answers: shell text and parsers, no I/O.

Every command can be repeated at any time, by anybody, after any loss of connection. Those that change something hold
the task directory's lock; their stdout ends in ``#ah <verdict>`` and a message.
"""

from __future__ import annotations

import posixpath
import shlex
from collections.abc import Sequence

from airflow_hybrid.removal import shell as removal
from airflow_hybrid.schedulers.base import Scheduler, Submission
from airflow_hybrid.shell_text import fill
from airflow_hybrid.sites.batches.directory import Batch, attempt_of, check_directory

LOCK_WAIT_S = 90


def submit_command(batch: Batch, scheduler: Scheduler, sub: Submission, data: bytes, keep_archive: bool = False) -> str:
    """Shell text that submits the batch unless that was done before; ``data`` is its stdin.

    Its stdout is read by :func:`parse_answer`.
    """
    names = "\n".join(
        f"    {part}) ah_name={shlex.quote(scheduler.part_name(sub, part))} ;;" for part in range(scheduler.parts(sub))
    )
    unpack = "tar -xzmof -" if data[:2] == b"\x1f\x8b" else "tar -xmof -"
    if keep_archive:
        unpack = ("gzip -dc" if data[:2] == b"\x1f\x8b" else "cat") + " >stage.tar && tar -xmof stage.tar"
    if scheduler.asks:
        unpack = f"ah_data | {{ {unpack}; }}"
    values = {
        "B": shlex.quote(batch.directory),
        "ATTEMPT": str(attempt_of(batch.token)),
        "KNOWN": shlex.quote(f" {' '.join((batch.token, *batch.known))} "),
        "PARTS": str(scheduler.parts(sub)),
        "TAR": unpack,
    }
    text = _common(batch.task_directory) + scheduler.functions() + scheduler.submit_function(sub)
    return text + f"ah_named() {{\n    case $1 in\n{names}\n    esac\n}}\n" + fill(_SUBMIT, values)


def cancel_command(task_directory: str, scheduler: Scheduler, attempt: int | None = None) -> str:
    """Shell text that cancels every batch under a task directory, and any that would still come.

    :param attempt: only those of this try and of earlier ones.
    """
    marks = {"MARK": "cancelled", "LAST": ""}
    if attempt is not None:
        marks = {"MARK": f"cancelled.{attempt}", "LAST": str(attempt)}
    return _common(check_directory(task_directory)) + scheduler.functions() + fill(_CANCEL, marks)


def withdraw_command(scheduler: Scheduler, ids: Sequence[str]) -> str:
    """Shell text that cancels submitted ids and nothing else: the batch may be submitted anew."""
    cancel = f'ah_x=$(ah_cancel {shlex.join(ids)} 2>&1) || ah_end failed "$ah_x"\nah_end done\n'
    return _common("/") + scheduler.functions() + cancel


def inspect_command(task_directory: str, scheduler: Scheduler, token: str | None = None) -> str:
    """Shell text that reports every batch under a task directory (or one), lost submit replies resolved."""
    which = shlex.quote(token) if token else "*"
    return _common(check_directory(task_directory)) + scheduler.functions() + fill(_INSPECT, {"WHICH": which})


def _common(task_directory: str) -> str:
    """What the commands share, up to the functions of a scheduler."""
    return removal.functions() + fill(_COMMON, {"T": shlex.quote(task_directory), "WAIT": str(LOCK_WAIT_S)})


def evidence_command(directory: str, with_meta: bool) -> str:
    """Shell text that prints what :class:`Evidence` holds."""
    meta = "cat meta.json 2>/dev/null; echo" if with_meta else ":"
    return fill(_EVIDENCE, {"B": shlex.quote(check_directory(directory)), "META": meta})


def evidence_snippet(variable: str) -> str:
    """The same without ``meta.json``, for the directory in a shell variable, to be put into another command."""
    return "(\n" + _EVIDENCE.replace("@B@", f'"${variable}"').replace("@META@", ":") + ")\n"


def tails_command(directory: str, paths: Sequence[str], size: int = 2048) -> str:
    """Shell text that prints the ends of some files of a batch's jobs, each after its length in bytes.

    A file is opened first; then it is seen which one that is, and only if it is the one that was meant, and no link led
    there, it is read: these files are the jobs' to replace.

    :param directory: of the batch, above all of the files.
    :raises ValueError: a path is not below it.
    """
    names = [posixpath.relpath(path, directory) for path in paths]
    if any(name.split("/", 1)[0] in ("..", ".") for name in names):
        raise ValueError(f"a file is not below {directory}: {shlex.join(paths)}")
    text = _TAILS.replace("@B@", shlex.quote(check_directory(directory))).replace("@SIZE@", str(size))
    return text.replace("@FILES@", shlex.join(names))


# --- their shell text -------------------------------------------------------------------------------------------


def space_command(directory: str) -> str:
    """Shell text that prints what is left of blocks (in KiB) and of inodes where a batch directory is."""
    path = shlex.quote(posixpath.dirname(check_directory(directory)))
    return f"df -Pk -- {path} | tail -n 1\ndf -Pi -- {path} | tail -n 1\n"


_COMMON = r"""ah_T=@T@
ah_end() { # verdict, message
    echo "#ah $1"
    printf '%s\n' "${2:-}"
    exit 0
}
ah_lock() {
    [ ! -h "$ah_T" ] || ah_end foreign "$ah_T is a link"
    ah_x=$(ah_make "$ah_T" 2>&1 && chmod 700 -- "$ah_T" 2>&1) || ah_end nodir "$ah_x"
    ah_x=$(: 2>&1 >>"$ah_T/lock") || ah_end nodir "$ah_x"
    command -v flock >/dev/null 2>&1 || ah_end missing flock
    exec 9>>"$ah_T/lock"
    ah_x=$(flock -w @WAIT@ 9 2>&1) || ah_end locked "$ah_x"
}
ah_drop() { # a folder of the task directory
    ah_x=$(ah_rm "$ah_T" "${1#"$ah_T/"}" 2>&1) || ah_end foreign "$ah_x"
}
ah_keep() { # id of part $1
    echo "$ah_id" >|"jobid.$1.new" && mv -f "jobid.$1.new" "jobid.$1"
}
ah_ran() { # whether some job of the batch was ever begun
    set -- c/* ec/*
    [ -e "$1" ] || [ -e "$2" ]
}
ah_resolve() { # ids of the parts that were begun, looked up where the reply was lost; 2: not known
    for ah_f in submitting.*; do
        ah_p=${ah_f#submitting.}
        [ -e "$ah_f" ] && [ ! -s "jobid.$ah_p" ] || continue
        read -r ah_name ah_site <"$ah_f"
        ah_find "$ah_name" "$ah_site" || return 2
        if [ -z "$ah_id" ] && ah_ran; then ah_id=-; fi
        if [ -n "$ah_id" ]; then ah_keep "$ah_p"; else rm -f "$ah_f"; fi
    done
    return 0
}
ah_report() { # the batch in the working directory
    echo "B ${PWD##*/}"
    sed 's/^/K /' manifest
    ah_p=0
    while [ -e "jobid.$ah_p" ]; do sed 's/^/I /' "jobid.$ah_p"; ah_p=$((ah_p + 1)); done
    find ec -type f -exec grep -H '' {} + | sed 's/^/E /'
}
"""

_SUBMIT = r"""ah_B=@B@
for ah_x in flock tar sed xargs find grep $(ah_need); do
    command -v $ah_x >/dev/null 2>&1 || ah_end missing "$ah_x"
done
ah_lock
for ah_f in "$ah_T/cancelled" "$ah_T"/cancelled.*; do # of this try or a later one; or of all
    [ -e "$ah_f" ] || continue
    [ "$ah_f" != "$ah_T/cancelled" ] && [ "${ah_f##*.}" -lt @ATTEMPT@ ] || ah_end cancelled
done
if [ -s "$ah_B/jobid" ]; then
    cd "$ah_B" && ah_report && ah_end attached
fi
ah_found=
for ah_d in "$ah_T"/*/manifest; do # begun by an earlier try that the caller does not know of
    [ -e "$ah_d" ] || continue
    ah_d=${ah_d%/manifest}
    case @KNOWN@ in *" ${ah_d##*/} "*) continue ;; esac
    cd "$ah_d" || continue
    ah_resolve || ah_end unknown "$ah_said"
    set -- jobid.*
    [ -e "$1" ] || continue
    ah_report
    ah_found=1
done
[ -z "$ah_found" ] || ah_end conflict
if [ -e "$ah_B/manifest" ] && cd "$ah_B"; then
    ah_resolve || ah_end unknown "$ah_said"
    set -- submitting.*
    [ -e "$1" ] || { cd / && ah_drop "$ah_B"; } # nothing was submitted: begin anew
fi
if [ ! -e "$ah_B/manifest" ]; then
    ah_N=$ah_T/.new.${ah_B##*/}
    ah_drop "$ah_N"
    ah_drop "$ah_B"
    if ah_x=$({ ah_make "$ah_N" && cd "$ah_N" && @TAR@ && mkdir c ec &&
        sed 's,.*,./&/out ./&/tmp,' manifest | xargs mkdir -p && [ -s manifest ]; } 2>&1) &&
        ah_x=$(mv "$ah_N" "$ah_B" 2>&1); then :; else
        ah_why=$ah_x
        ah_drop "$ah_N"
        ah_end unpack "$ah_why"
    fi
fi
cd "$ah_B" || ah_end nodir
ah_k=0
while [ $ah_k -lt @PARTS@ ]; do
    if [ ! -s "jobid.$ah_k" ]; then
        ah_named $ah_k
        echo "$ah_name" >|"submitting.$ah_k" || ah_end unpack 'the batch directory cannot be written to'
        ah_start $ah_k
        case $? in
        0) ah_keep $ah_k ;;
        2) ah_end unknown "$ah_said" ;; # the next call looks it up
        *)
            ah_why=$ah_said
            for ah_f in jobid.*; do [ ! -s "$ah_f" ] || ah_cancel $(cat "$ah_f"); done
            cd /
            ah_drop "$ah_B"
            ah_end refused "$ah_why"
            ;;
        esac
    fi
    ah_k=$((ah_k + 1))
done
ah_k=0
while [ $ah_k -lt @PARTS@ ]; do
    cat "jobid.$ah_k"
    ah_k=$((ah_k + 1))
done >|jobid.new && mv -f jobid.new jobid
ah_report
ah_end submitted
"""

_CANCEL = r"""ah_make "$ah_T" 2>/dev/null
: >>"$ah_T/@MARK@" # no submit goes beyond this
ah_meant() { # whether the batch $1 is to be cancelled: a<try>-<digest>
    ah_a=${1#a} ah_a=${ah_a%%-*} ah_last=@LAST@
    case $ah_last:$ah_a in :* | *:'' | *:*[!0-9]*) return 0 ;; esac
    [ "$ah_a" -le "$ah_last" ]
}
ah_mark() { # runners look at this before each job
    for ah_d in "$ah_T"/*/manifest; do
        ah_d=${ah_d%/manifest}
        [ -d "$ah_d" ] && ah_meant "${ah_d##*/}" && : >>"$ah_d/cancelled"
    done
}
ah_mark
ah_lock
ah_mark # what was submitted in the meantime
ah_bad=
for ah_d in "$ah_T"/*/manifest; do
    ah_d=${ah_d%/manifest}
    ah_meant "${ah_d##*/}" && cd "$ah_d" 2>/dev/null || continue
    for ah_f in submitting.*; do
        [ -e "$ah_f" ] || continue
        read -r ah_name ah_site <"$ah_f"
        ah_id=
        [ ! -s "jobid.${ah_f#submitting.}" ] || read -r ah_id <"jobid.${ah_f#submitting.}"
        case $ah_id in
        '' | -) ah_x=$(ah_cancel_name "$ah_name" "$ah_site" 2>&1) ;;
        *) ah_x=$(ah_cancel "$ah_id" 2>&1) ;;
        esac || ah_bad="$ah_bad$ah_x "
    done
done
for ah_f in "$ah_T"/*/*/box; do # containers outlive the clients that started them
    ah_d=${ah_f%/*/box}
    [ -e "$ah_f" ] && [ ! -h "${ah_f%/*}" ] && ah_meant "${ah_d##*/}" && read -r ah_client ah_name <"$ah_f" || continue
    case $ah_client in docker | podman) ;; *) continue ;; esac
    { "$ah_client" kill "$ah_name"; "$ah_client" rm -f "$ah_name"; } >/dev/null 2>&1 </dev/null && rm -f "$ah_f"
done
[ -z "$ah_bad" ] || ah_end failed "$ah_bad"
[ -e "$ah_T/@MARK@" ] || ah_end failed 'the marker could not be written'
ah_end done
"""

_INSPECT = r"""[ -d "$ah_T" ] || ah_end done
ah_lock
for ah_d in "$ah_T"/@WHICH@/manifest; do
    cd "${ah_d%/manifest}" 2>/dev/null || continue
    ah_resolve || ah_end unknown "$ah_said"
    ah_report
done
ah_end done
"""

_TAILS = r"""cd -P -- @B@ || exit 1
ah_at=$(pwd -P && echo .)
ah_at=${ah_at%??}
ah_say() { # a line in the place of what is not shown
    printf '%s\n%s\n' "$((${#1} + 1))" "$1"
    echo
}
for ah_f in @FILES@; do
    if [ ! -e "$ah_f" ] && [ ! -L "$ah_f" ]; then
        printf '0\n\n'
        continue
    fi
    if [ -L "$ah_f" ] || [ ! -f "$ah_f" ]; then
        ah_say '(not shown: it is a link, or no regular file)'
        continue
    fi
    (
        command exec 3<"$ah_f" || exit 1
        [ "$(readlink -- /dev/fd/3 3<&3 && echo .)" = "$ah_at/$ah_f
." ] || exit 1
        ah_n=$(tail -c @SIZE@ -- /dev/fd/3 3<&3 | wc -c)
        echo "$((ah_n))"
        tail -c "$((ah_n))" -- /dev/fd/3 3<&3
        echo
    ) 2>/dev/null || ah_say '(not shown: a link is on its way, or it cannot be read)'
done
"""

_EVIDENCE = r"""cd @B@ 2>/dev/null || { echo '#absent'; echo '#end'; exit 0; }
echo '#meta'; @META@
[ -e manifest ] && [ -d ec ] || echo '#absent'
[ ! -e cancelled ] || echo '#cancelled'
[ ! -e disk ] || ! read -r ah_p <disk || [ "$ah_p" != full ] || echo '#full'
echo '#ids'
ah_p=0
while [ -e "jobid.$ah_p" ]; do cat "jobid.$ah_p"; ah_p=$((ah_p + 1)); done
echo '#ec'
find ec -type f -exec grep -H '' {} +
echo '#c'
find c -type f -exec grep -H '' {} +
echo '#end'
"""
