# Licensed under the Apache License, Version 2.0; see the LICENSE file.
# shellcheck shell=sh
# ah_begin COMMAND...: submits a part of a batch. It distinguishes a refusal from an answer after which the job may have been
# accepted.
#
# Sets ah_id, and ah_said to the program's output. Return code: 0 submitted; 1 refused; 2 unknown.
# @ACCEPTED@: shell text that sets ah_id if the word $ah_w is an id.
# A file `said` is written into the working directory.
# shellcheck disable=SC2317 # what stands for @ACCEPTED@ may do anything

ah_begin() {
    ah_out=$("$@" 2>said </dev/null)
    ah_rc=$?
    ah_said=$(
        cat said
        printf %s "$ah_out"
    )
    ah_id=
    # shellcheck disable=SC2034 # ah_w: for @ACCEPTED@
    for ah_w in $ah_out; do # some sites print a banner first
        @ACCEPTED@
    done
    [ $ah_rc = 0 ] && [ -n "$ah_id" ] && return 0
    ah_id=
    [ $ah_rc = 0 ] && return 2
    case $ah_said in # the server may have accepted it without being able to say so
    *[Tt]imed\ out* | *[Uu]nable\ to\ contact* | *[Cc]onnect* | *[Cc]ommunication* | *Zero\ Bytes* | *commlib* | \
        *unable\ to\ send* | *[Ee]nd\ of\ [Ff]ile* | *[Pp]remature\ end* | \
        *[Nn]o\ [Rr]esponse* | *No\ route\ to\ host*) return 2 ;;
    esac
    [ $ah_rc -gt 128 ] && [ $ah_rc -lt 150 ] && return 2 # it was killed
    return 1
}
