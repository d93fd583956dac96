# Licensed under the Apache License, Version 2.0; see the LICENSE file.
# shellcheck shell=sh
# One of several commands that go to a location as one: it has its own stdin, stdout, stderr and exit code.
#
# @HEAD@: a command that reads this command's bytes of the stdin that all share; @TEXT@: the command; @MARK@: a word that no
# output holds.
# stdout and stderr: those of the command, then a line `MARK CODE end` on stdout and `MARK end` on stderr.
# What the command leaves of its stdin is read, so that the next one begins at its own. Its stdout and stderr are those of
# all: what is caught by `$(...)`, ksh waits for until the last process in the background has ended.
# shellcheck disable=SC2317 # the command may end the subshell

{ @HEAD@ | (
    (
        @TEXT@
    )
    ah_code=$?
    [ "$ah_code" -lt 256 ] || ah_code=$((ah_code - 128)) # how ksh tells a signal
    cat >/dev/null
    exit "$ah_code"
); }
printf '\n@MARK@ %d end\n' $?
printf '\n@MARK@ end\n' >&2
