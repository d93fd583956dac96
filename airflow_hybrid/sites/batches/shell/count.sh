# Licensed under the Apache License, Version 2.0; see the LICENSE file.
# shellcheck shell=sh
# Prints how many jobs of a batch have ended and, when all have, the evidence of the batch.
#
# @EVIDENCE@: evidence.sh for the directory in ah_d, in a subshell.
# stdout: a line `#n COUNT FAILED`, how many have ended, and how many of these with another exit code than 0 or without
# being started; -1: there is no such batch.

# batch directory, number of its jobs
ah_count() {
    ah_d=$1 ah_total=$2
    if [ -d "$ah_d/ec" ]; then # opening the folder makes NFS look again
        set -- "$ah_d"/f/*
        [ -e "$1" ] || shift
        ah_failed=$#
        set -- "$ah_d"/ec/*
        [ -e "$1" ] || shift
        printf '\n#n %s %s\n' $# "$ah_failed"
        [ $# -lt "$ah_total" ] || (
            @EVIDENCE@
        )
    else
        printf '\n#n -1\n'
    fi
}
