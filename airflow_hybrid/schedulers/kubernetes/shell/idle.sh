# Licensed under the Apache License, Version 2.0; see the LICENSE file.
# shellcheck shell=sh
# The command of a storage's pod: it ends when the pod has not been used for a while.
#
# @ALIVE@: a file that every command touches; @IDLE_S@, @IDLE_MIN@: how long the pod waits for a command, in seconds and in
# minutes (for a find without seconds).

trap 'exit 0' TERM
: >@ALIVE@
while :; do
    sleep 10 &
    wait $!
    [ -n "$(find @ALIVE@ -newermt '-@IDLE_S@ seconds' 2>/dev/null || find @ALIVE@ -mmin -@IDLE_MIN@)" ] || exit 0
done
