# Licensed under the Apache License, Version 2.0; see the LICENSE file.
# shellcheck shell=bash
# Processes of the test bed, which `testbed` reads. A pid file holds "PID STARTTIME", so that a pid used again is never
# taken for ours. S, MARKER, MADE and SITEPATH are testbed's.
stime() {
    local s
    s=$(cat "/proc/$1/stat" 2>/dev/null) || return 1
    s=${s##*) }
    # shellcheck disable=SC2086 # the fields of proc(5)
    set -- $s
    echo "${20}"
}
pidof_() {
    local p t
    read -r p t 2>/dev/null <"$S/$1/pid" || return 1
    [ "$(stime "$p")" = "$t" ] && echo "$p"
}
alive() { pidof_ "$1" >/dev/null; }
ours() { [ -f "$S/$MARKER" ] && [ ! -h "$S/$MARKER" ] && [ "$(cat "$S/$MARKER")" = "$MADE" ]; } # did we make the state folder?
stop() {
    local p
    ours || die "$S was not made by testbed: set TESTBED_DIR"
    ! p=$(pidof_ "$1") || kill -9 "$p"
    while [ -n "$p" ] && [ -d "/proc/$p" ]; do sleep 0.02; done
    rm -rf --one-file-system "${S:?}/$1"
}
within() {
    local p
    p=$(pidof_ "$1") || die "site $1 is not up"
    shift
    nsenter -t "$p" -n "$@"
} # its network only
# in a site that has left this machine's files behind: one that is still starting has them in common with us
enter() {
    local p
    p=$(pidof_ "$1") || die "site $1 is not up"
    [ "$(cat "/proc/$p/root/etc/testbed-site" 2>/dev/null)" = "$1" ] || die "site $1 is still starting"
    shift
    nsenter -t "$p" -m -u -i -n -p -- env -i HOME=/root USER=root LANG=C.UTF-8 TERM="${TERM:-dumb}" PATH="$SITEPATH" "$@"
}
