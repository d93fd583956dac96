# Licensed under the Apache License, Version 2.0; see the LICENSE file.
# shellcheck shell=sh
# Brings an image to a location, unless it is there. removal/shell/functions.sh and
# sites/hosts/shell/claim.sh come before it.
#
# @MAKE@: a command that makes the folder of archives, @FOLDER@, quoted; @DIGEST@: the name of its lock and log; @PERMITTED@:
# commands that say whether the image may be used, and why not; @PRESENT@: whether it is there; @OBTAIN@: gets it; @ARCHIVE@:
# archive.sh, or nothing.
# @WAIT@: seconds for which somebody else may bring it.
# stdout: `#ah present`, `#ah obtained`, `#ah refused` or `#ah failed`, and why; before that may stand `N WHY`: files cannot be
# locked there. Exit code 73: the folder cannot be used.
# shellcheck disable=SC2154 # ah_holder, ah_unlocked: set by ah_claim

{ @MAKE@ && cd @FOLDER@; } || exit 73
trap ah_release EXIT
ah_claim . @DIGEST@.lock @WAIT@ || {
    echo "#ah failed"
    echo "its folder is claimed: $ah_holder"
    exit 0
}
[ -z "$ah_unlocked" ] || echo "N $ah_unlocked"
export USER="${USER:-$(id -un)}"
ah_log=@DIGEST@.log
ah_state=present
if ! ah_said=$(
    exec 2>&1 </dev/null
    @PERMITTED@
); then
    echo "#ah refused"
    printf '%s\n' "$ah_said"
    exit 0
fi
if ! { @PRESENT@; }; then
    if (
        @OBTAIN@
    ) >"$ah_log" 2>&1 </dev/null; then
        ah_state=obtained
    else
        echo "#ah failed"
        tail -c 2000 "$ah_log"
        exit 0
    fi
fi
@ARCHIVE@
echo "#ah $ah_state"
