# Licensed under the Apache License, Version 2.0; see the LICENSE file.
# shellcheck shell=sh
# Examines a location: its programs, and whether jobs and data can be kept in its work directory.
#
# A small file is written, renamed, linked and locked in a folder of its own, in the work directory or (if that does not
# exist yet) in the nearest folder above it, and removed again. Nothing else is changed.
# @TOOLS@, @RUNTIMES@: names of programs; @GNU@: commands that print `lack` for missing features of programs; @WORKDIR@: the
# work directory, quoted.
# stdout: lines KEY<tab>VALUE: os, cores, memory (KiB), user; have, lack, runtime (several); base (the tested folder);
# write, lock (`ok`, or why not); space, inodes (a line of df); end.
# shellcheck disable=SC2015 # say never fails
# shellcheck disable=SC2043 # the marks become several words

LC_ALL=C
export LC_ALL
say() { printf '%s\t%s\n' "$1" "$(printf %s "$2" | tr '\n\t' '  ')"; }
say os "$(uname -srm 2>/dev/null)"
say cores "$(nproc 2>/dev/null)"
say memory "$(sed -n 's/^MemTotal: *\([0-9]*\) kB/\1/p' /proc/meminfo 2>/dev/null)"
u=$(id -un 2>/dev/null)
say user "$u"
for p in @TOOLS@; do if command -v "$p" >/dev/null 2>&1; then say have "$p"; else say lack "$p"; fi; done
@GNU@
command -v timeout >/dev/null 2>&1 && limit='timeout 10' || limit=
for p in @RUNTIMES@; do
    command -v "$p" >/dev/null 2>&1 || continue
    # ch-run needs the user's name; the number of a process in an error message is not a version
    if v=$($limit env USER="${USER:-$u}" "$p" --version 2>&1 </dev/null); then
        v=$(printf '%s\n' "$v" | sed -n 's/^[^0-9]*\([0-9][0-9A-Za-z.+~-]*\).*/\1/p' | head -n 1)
    else
        v="(fails: $(printf '%s\n' "$v" | head -n 1))"
    fi
    case $p in docker) $limit docker info >/dev/null 2>&1 </dev/null || v="$v (its daemon does not answer)" ;; esac
    say runtime "$p $v"
done
a=@WORKDIR@
while [ ! -e "$a" ] && [ ! -L "$a" ] && [ "$a" != / ]; do a=$(dirname -- "$a"); done
say base "$a"
if t=$(mktemp -d "$a/.airflow-hybrid-check.XXXXXX" 2>&1); then
    trap 'rm -f new file link lock; cd / && rmdir -- "$t"' EXIT
    cd -- "$t" || exit
    if e=$({ head -c 65536 /dev/zero >new && mv new file && ln -s file link; } 2>&1) &&
        [ "$(wc -c <./link)" -eq 65536 ]; then say write ok; else say write "$e"; fi
    if e=$({ flock -w 5 9; } 9>./lock 2>&1); then say lock ok; else say lock "${e:-flock ended with $?}"; fi
else
    say write "$t"
fi
say space "$(df -Pk -- "$a" 2>&1 | tail -n 1)"
say inodes "$(df -Pi -- "$a" 2>&1 | tail -n 1)"
say end ok
