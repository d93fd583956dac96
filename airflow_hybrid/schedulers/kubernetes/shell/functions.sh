# Licensed under the Apache License, Version 2.0; see the LICENSE file.
# shellcheck shell=sh
# Functions of a Kubernetes cluster for commands about batch directories (sites/batches/shell/common.sh says what they are).
#
# A storage's shell has no credentials: it asks the process that runs the command (ah_ask, sites/hosts/shell/dialogue.sh).
# shellcheck disable=SC2154 # ah_said: set by ah_ask
# shellcheck disable=SC2034 # ah_id: for the command

ah_need() { :; }
ah_find() {
    ah_id=
    ah_ask find "$1" || return 2
    ah_id=$ah_said
}
ah_cancel() {
    for ah_c; do ah_ask cancel "$ah_c" || {
        echo "$ah_said"
        return 1
    }; done
}
ah_cancel_name() { ah_cancel "$1"; }
