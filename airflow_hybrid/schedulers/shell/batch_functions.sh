# Licensed under the Apache License, Version 2.0; see the LICENSE file.
# shellcheck shell=sh
# Functions of a queue system for commands about batch directories (sites/batches/shell/common.sh says what they are).
#
# @PROGRAMS@: names of required programs; @LISTED@: shell text that prints `<id> <name>` of jobs ($ah_name is looked for) and
# fails if they are unknown; @CANCEL@: shell text that cancels the id $ah_c.

ah_need() {
    # shellcheck disable=SC2043 # the mark becomes several words
    for ah_p in @PROGRAMS@; do command -v "$ah_p" >/dev/null 2>&1 || echo "$ah_p"; done
}
ah_find() {
    # shellcheck disable=SC2034 # ah_at: a cluster, for @LISTED@
    ah_name=$1 ah_at=${2:-} ah_id='' ah_more=''
    case $ah_name in '' | *[!A-Za-z0-9._-]*) # sacct takes an empty name for that of every job
        ah_said="no name of a batch: $ah_name"
        return 2
        ;;
    esac
    ah_said=$({
        @LISTED@
    } 2>&1) || return 2
    for ah_w in $(printf '%s\n' "$ah_said" | sed -n "s/^\([^ ]*\) $ah_name\$/\1/p"); do
        [ "$ah_w" = "$ah_id" ] || ah_more="$ah_more $ah_id"
        ah_id=$ah_w
    done
    return 0
}
ah_cancel() {
    # shellcheck disable=SC2034 # ah_c: for @CANCEL@
    for ah_c; do
        @CANCEL@ || return 1
    done
}
ah_cancel_name() {
    ah_find "$@" || {
        echo "$ah_said"
        return 2
    }
    # shellcheck disable=SC2086 # ids
    [ -z "$ah_id" ] || ah_cancel $ah_more "$ah_id"
}
