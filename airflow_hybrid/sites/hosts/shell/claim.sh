# Licensed under the Apache License, Version 2.0; see the LICENSE file.
# shellcheck shell=sh
# A claim: one process at a time does something in a folder, whatever host it runs on, and whether or not flock(1) holds there.
#
# ah_claim FOLDER NAME SECONDS
#     waits for the claim NAME. 0: this process has it, and ah_unlocked says why flock(1) cannot be used, or is empty. 1: another
#     process had it for SECONDS; ah_holder says which. 2: it cannot be made, and flock(1) does not hold either; ah_holder says why.
# ah_held
#     whether it still has it: a process on another host takes over what is old.
# ah_release
#     gives it up.
#
# @GRACE@: the age in seconds at which a claim of another host is taken over; @PROGRAM@: the same for a process of this host that
# has ended, where flock(1) does not hold: programs that it had started may still be at work.
#
# A claim is the symbolic link `NAME.owner`. It is made exclusively, with its content, in one step, also on NFS and where locks are
# only this host's. It "leads to" its owner: BOOT-ID:PID-NAMESPACE:PROCESS:START-TIME:HOST. If its owner is gone, the claim is not
# removed: of two who do that, the second could remove what the first has made. Its successor is `NAME.OWNER`, which is made
# exclusively, too; and so on. Who gives the claim up removes this chain from its first link on. So a successor counts
# only if the first link is, after it was made, still the one from which the chain was followed.
#
# Whether an owner is gone: a process id says something only in its own namespace of its own boot. In another namespace of the same
# boot (a container), flock(1) holds for both: whoever gets the lock knows that nobody has it. A process of another host is
# never judged by its id, only by the age of its claim, by the file system's clock. If it lives on nevertheless, ah_held
# tells it.
# The lock on NAME (descriptor 9) is taken behind the claim. Programs that the owner has started inherit it: where it holds, who takes
# over the claim of a process that was killed waits for them.
# shellcheck disable=SC2034 # ah_unlocked, ah_holder: for the text below it

# -> ah_self; ah_boot, ah_space: of its kernel and pid namespace; empty: unknown
ah_who() {
    ah_boot='' ah_host='' ah_line=''
    { read -r ah_boot </proc/sys/kernel/random/boot_id && read -r ah_host </proc/sys/kernel/hostname; } 2>/dev/null
    ah_space=$(readlink /proc/self/ns/pid 2>/dev/null)
    ah_space=${ah_space#*:?} ah_space=${ah_space%?}
    { read -r ah_line </proc/self/stat; } 2>/dev/null
    # shellcheck disable=SC2086 # the fields of proc(5)
    set -- ${ah_line##*") "}
    ah_self=${ah_boot:--}:${ah_space:--}:${ah_line%% *}:${20:--}:${ah_host:-$(uname -n)}
    [ -n "$ah_line" ] || ah_self=-:-:$$:-:$(uname -n)
}
# link: whether it is at least $2 seconds old, by the clock of its file system
ah_is_old() {
    { echo >|"$ah_gate.now"; } 2>/dev/null
    # shellcheck disable=SC2046 # two numbers
    set -- "$2" $(stat -c %Y -- "$1" "$ah_gate.now" 2>/dev/null)
    [ $# = 3 ] && [ $(($3 - $2)) -ge "$1" ]
}
# owner, its link: whether that process is gone
ah_is_gone() {
    case ${ah_boot:-none}:$1 in
    "$ah_boot:$ah_boot:$ah_space":*)
        ah_o=${1#"$ah_boot:$ah_space:"}
        ah_line=''
        { read -r ah_line <"/proc/${ah_o%%:*}/stat"; } 2>/dev/null || return 0
        ah_o=${ah_o#*:}
        # shellcheck disable=SC2086 # the fields of proc(5)
        set -- ${ah_line##*") "}
        [ "$1" = Z ] || [ "${20}" != "${ah_o%%:*}" ]
        return
        ;;
    "$ah_boot:$ah_boot":*)
        if ah_open; then
            flock -n 9 2>/dev/null && return 0
            exec 9>&-
        fi
        ;;
    esac
    ah_is_old "$2" @GRACE@
}
ah_open() {
    { true >>"$ah_gate"; } 2>/dev/null && exec 9>>"$ah_gate"
}
# makes the link, unless something is there; ln would put it into a folder
ah_make_link() {
    if [ -d "$ah_link" ] && [ ! -h "$ah_link" ]; then
        echo "$ah_link is a folder"
        return 1
    fi
    ln -sn -- "$ah_self" "$ah_link"
}
# one attempt. 0: it is ours; 1: somebody has it, or had it a moment ago; 2: a link cannot be made
ah_try() {
    ah_link=$ah_gate.owner ah_links='' ah_head=''
    while :; do
        ah_x=$(ah_make_link 2>&1) && break
        ah_owner=$(readlink -- "$ah_link") || {
            [ -h "$ah_link" ] && return 1
            ah_x=$(ah_make_link 2>&1) && break
            [ ! -h "$ah_link" ] || return 1
            ah_holder=$ah_x
            return 2
        }
        case $ah_owner in
        "$ah_self") break ;; # NFS had lost the answer
        */*)                 # it would be a path: somebody else has made this
            ah_holder="$ah_link was not made by airflow_hybrid"
            return 2
            ;;
        esac
        ah_holder="process $(printf %s "$ah_owner" | cut -d : -f 3) on ${ah_owner##*:}"
        ah_is_gone "$ah_owner" "$ah_link" || return 1
        [ -n "$ah_head" ] || ah_head=$ah_owner
        ah_links="$ah_links ${ah_link##*/}"
        ah_link=$ah_gate.$ah_owner
    done
    if [ -n "$ah_head" ] && [ "$(readlink -- "$ah_gate.owner")" != "$ah_head" ]; then
        rm -f -- "$ah_link" # the chain has ended meanwhile
        ah_link=
        return 1
    fi
    ah_links="$ah_links ${ah_link##*/}"
}
# waits for the lock. 0: this process has it; 1: another one has; 2: it does not hold here, and ah_unlocked says why
ah_flock() {
    command -v flock >/dev/null 2>&1 || {
        ah_unlocked='flock is not installed'
        return 2
    }
    ah_open || return 2
    ah_x=$(flock -w "$1" 9 2>&1)
    case $?:$ah_x in
    0:*) return 0 ;;
    1:) return 1 ;; # nothing is said when the time is up
    esac
    ah_unlocked=$(printf '%s\n' "${ah_x:-flock failed}" | head -n 1)
    exec 9>&-
    return 2
}
ah_claim() {
    ah_gate=$1/$2 ah_unlocked='' ah_holder='' ah_link='' ah_left=$(($3 * 5))
    ah_who
    while :; do
        ah_try
        case $? in
        0) break ;;
        2) # no link can be made: the disk is full, or has none. The lock alone is what there is
            ah_link=
            ah_flock "$3"
            return
            ;;
        esac
        [ "$ah_left" -gt 0 ] || return 1
        if sleep 0.2 2>/dev/null; then ah_left=$((ah_left - 1)); else
            sleep 1 # not every sleep knows parts of a second
            ah_left=$((ah_left - 5))
        fi
    done
    ah_flock "$3"
    case $? in
    1)
        ah_release
        ah_holder="what process ${ah_holder#process } had started"
        return 1
        ;;
    2)
        ah_left=@PROGRAM@
        while [ -n "$ah_head" ] && [ "$ah_left" -gt 0 ] && ! ah_is_old "$ah_gate.owner" @PROGRAM@; do
            sleep 1
            ah_left=$((ah_left - 1))
        done
        ;;
    esac
    return 0
}
ah_held() {
    [ -z "$ah_link" ] || { [ "$(readlink -- "$ah_link")" = "$ah_self" ] && [ ! -h "$ah_gate.$ah_self" ]; }
}
ah_release() {
    [ -n "${ah_link:-}" ] || return 0
    if ah_held; then
        set --
        for ah_x in $ah_links; do set -- "$@" "${ah_gate%/*}/$ah_x"; done
        rm -f -- "$@"
    fi
    ah_link=
}
