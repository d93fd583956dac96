# Licensed under the Apache License, Version 2.0; see the LICENSE file.
# shellcheck shell=sh
# Functions for questions to a scheduler's programs; they need no writable folder.
#
# ah_asks SECONDS COMMAND...: runs a program; one that hangs is ended, and counts as no answer.
# ah_apart COMMAND...: prints its stdout and, after a line `#said`, its stderr, so that neither breaks the other's lines.
# Exit code: that of the command.

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
# command: prints its stdout and, after a line #said, its stderr
ah_apart() {
    {
        ah_err=$("$@" 2>&1 >&3 3>&-)
        ah_code=$?
    } 3>&1
    [ -z "$ah_err" ] || printf '\n#said\n%s\n' "$ah_err"
    return "$ah_code"
}
