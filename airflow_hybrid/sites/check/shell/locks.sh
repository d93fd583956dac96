# Licensed under the Apache License, Version 2.0; see the LICENSE file.
# shellcheck shell=sh
# One of two sides that meet in the work directory, each by a connection of its own: one holds a lock, the other one tries it.
#
# @WORKDIR@: the work directory, quoted (or, until it exists, the nearest folder above it); @FOLDER@: name of a folder in it,
# which the side that holds makes and removes; @SIDE@: `holds` or `tries`; @MEET@: seconds for which each waits for the other.
# stdout: lines KEY<tab>VALUE: host; boot; and, of the side that tries, lock: `held` (it holds here, too), `free` (it does not),
# `apart` (the other side's folder is not seen here), or why files cannot be locked there.
# shellcheck disable=SC2194 # the mark becomes a word
# shellcheck disable=SC2034 # ah_f: only to open the folder

say() { printf '%s\t%s\n' "$1" "$(printf %s "$2" | tr '\n\t' '  ')"; }
# file: waits until it is there
await() {
    ah_left=@MEET@
    while [ ! -e "$1" ]; do
        [ "$ah_left" -gt 0 ] || return 1
        ah_left=$((ah_left - 1))
        sleep 1
        for ah_f in "${1%/*}"/*; do :; done # opening the folder makes NFS look again
    done
}
boot=
read -r boot 2>/dev/null </proc/sys/kernel/random/boot_id
say host "$(uname -n)"
say boot "$boot"
above=@WORKDIR@
while [ ! -e "$above" ] && [ "$above" != / ]; do above=$(dirname -- "$above"); done
t=$above/@FOLDER@
case @SIDE@ in
holds)
    mkdir -m 700 -- "$t" || exit
    trap 'rm -f "$t/lock" "$t/ready" "$t/tried"; rmdir -- "$t"' EXIT
    true >"$t/lock"
    exec 9>>"$t/lock"
    e=$(flock -w 5 9 2>&1) || e=${e:-flock ended with $?}
    printf '%s\n' "${e:-ok}" >"$t/ready"
    await "$t/tried"
    ;;
tries)
    if ! await "$t/ready"; then
        say lock apart
        exit
    fi
    read -r e <"$t/ready"
    if [ "$e" != ok ]; then
        say lock "$e"
    else
        exec 9>>"$t/lock"
        if flock -n 9; then say lock free; else say lock held; fi
    fi
    true >"$t/tried"
    ;;
esac
