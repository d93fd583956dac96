# Licensed under the Apache License, Version 2.0; see the LICENSE file.
# shellcheck shell=sh
# One of several commands that are joined into one: it has its own stdin, stdout, stderr and exit code.
#
# @HEAD@: a command that reads this command's part of the common stdin; @TEXT@: the command; @MARK@: a word that occurs in
# no output.
# stdout and stderr: those of the command, then a line `MARK CODE end` on stdout and `MARK end` on stderr.
# The unread part of its stdin is skipped, so that the next command begins with its own. stdout and stderr are common to all
# commands, because ksh would wait for background processes of a command whose output is caught by `$(...)`.
# shellcheck disable=SC2317 # the command may end the subshell

{ @HEAD@ | (
    (
        @TEXT@
    )
    ah_code=$?
    [ "$ah_code" -lt 256 ] || ah_code=$((ah_code - 128)) # ksh's exit code for a signal
    cat >/dev/null
    exit "$ah_code"
); }
printf '\n@MARK@ %d end\n' $?
printf '\n@MARK@ end\n' >&2
