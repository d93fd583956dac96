# Licensed under the Apache License, Version 2.0; see the LICENSE file.
# shellcheck shell=sh
# Functions for questions to a scheduler's programs; no folder is needed that could be written to.
#
# ah_asks SECONDS COMMAND...: runs a program; one that hangs is ended, and has said nothing.
# ah_apart COMMAND...: prints its answer and, behind a line `#said`, what it complained of: neither cuts the other's
# lines. Exit code: that of the command.

if timeout 5 true 2>/dev/null; then
    ah_asks() { timeout -s KILL "$@"; }
elif timeout -t 5 true 2>/dev/null; then
    ah_asks() { timeout -s KILL -t "$@"; } # busybox before 1.30
else
    ah_asks() {
        shift
        "$@"
    }
fi
# command: its answer and, behind a line #said, what it complained of: neither cuts the other's lines
ah_apart() {
    {
        ah_err=$("$@" 2>&1 >&3 3>&-)
        ah_code=$?
    } 3>&1
    [ -z "$ah_err" ] || printf '\n#said\n%s\n' "$ah_err"
    return "$ah_code"
}
