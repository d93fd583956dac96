# Licensed under the Apache License, Version 2.0; see the LICENSE file.
# shellcheck shell=sh
# What the commands about batch directories share. Below them stand the functions of a scheduler and what is to be done.
#
# Every command can be repeated at any time, by anybody, after any loss of connection. Those that change something hold
# the task directory's claim (sites/hosts/shell/claim.sh stands above this), and say on a line `N WHY` if it has no locks; their
# stdout ends in `#ah VERDICT` and, on the lines behind it, a message.
#
# @T@: the task directory, quoted; @WAIT@: seconds that the claim is waited for.
# A batch as ah_report prints it: `B TOKEN`, `K KEY` for each job, `I ID` for each part that was submitted and then for what
# was submitted besides, and `E ec/JOB:CODE ...` for each job that ended.
# The functions of a scheduler: ah_need (prints programs that are missing), ah_find NAME SITE (-> ah_id, empty: there is
# no such job, and ah_more, others of that name; 2: not known), ah_cancel ID..., ah_cancel_name NAME SITE.
# shellcheck disable=SC2154 # ah_id, ah_said, ah_holder, ah_unlocked: set by functions of the scheduler and of claims

ah_T=@T@
# verdict, message
ah_end() {
    ah_release
    echo "#ah $1"
    printf '%s\n' "${2:-}"
    exit 0
}
ah_lock() {
    [ ! -h "$ah_T" ] || ah_end foreign "$ah_T is a link"
    ah_x=$(ah_make "$ah_T" 2>&1 && chmod 700 -- "$ah_T" 2>&1) || ah_end nodir "$ah_x"
    ah_x=$(: 2>&1 >>"$ah_T/lock") || ah_end nodir "$ah_x"
    ah_claim "$ah_T" lock @WAIT@
    case $? in
    1) ah_end locked "$ah_holder" ;;
    2) ah_end nodir "$ah_holder" ;;
    esac
    [ -z "$ah_unlocked" ] || echo "N $ah_unlocked"
}
# a folder of the task directory, if it is there
ah_drop() {
    [ -e "$1" ] || [ -h "$1" ] || return 0
    ah_x=$(ah_rm "$ah_T" "${1#"$ah_T/"}" 2>&1) || ah_end foreign "$ah_x"
}
# id of part $1
ah_keep() {
    echo "$ah_id" | cat >|"jobid.$1.new" && [ -s "jobid.$1.new" ] && mv -f "jobid.$1.new" "jobid.$1"
}
# an id besides that of part $2 (ah_id): it is asked about and cancelled like those that are followed, and runs what it claims
ah_keep_also() {
    [ "$1" = "$ah_id" ] || echo "$1" >|"also.$2.$1"
}
# whether some job of the batch was ever begun
ah_ran() {
    set -- c/* ec/*
    [ -e "$1" ] || [ -e "$2" ]
}
# ids of the parts that were begun, looked up where the reply was lost; 2: not known
ah_resolve() {
    for ah_f in submitting.*; do
        ah_p=${ah_f#submitting.}
        [ -e "$ah_f" ] && [ ! -s "jobid.$ah_p" ] || continue
        read -r ah_name ah_site <"$ah_f"
        [ -n "$ah_name" ] || { # nothing is submitted before its name is written
            rm -f "$ah_f"
            continue
        }
        ah_more=
        ah_find "$ah_name" "$ah_site" || return 2
        for ah_x in $ah_more; do ah_keep_also "$ah_x" "$ah_p"; done
        if [ -z "$ah_id" ] && ah_ran; then ah_id=-; fi
        if [ -n "$ah_id" ]; then ah_keep "$ah_p"; else rm -f "$ah_f"; fi
    done
    return 0
}
# the batch in the working directory
ah_report() {
    echo "B ${PWD##*/}"
    sed 's/^/K /' manifest
    ah_p=0
    while [ -e "jobid.$ah_p" ]; do
        sed 's/^/I /' "jobid.$ah_p"
        ah_p=$((ah_p + 1))
    done
    # behind those of all parts, whose order says which is whose
    [ ! -s jobid ] || sed 's/^/I /' also.* 2>/dev/null
    find ec -type f -exec grep -H '' {} + | sed 's/^/E /'
}
