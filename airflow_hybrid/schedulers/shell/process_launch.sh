# Licensed under the Apache License, Version 2.0; see the LICENSE file.
# shellcheck shell=sh
# The launcher of a batch on a plain host: writes its id and becomes the batch's script. process_stat.sh stands above it.
#
# @DIRECTORY@: the batch directory, quoted; @COMMAND@: a command line.
# Its id, in `jobid.0`: BOOT-ID:PROCESS:START-TIME. File descriptor 9 is the lock of the submit command, which waits for
# it. Exit code 73: the directory cannot be entered or written to.
# shellcheck disable=SC2154 # ah_started: set by ah_stat
# shellcheck disable=SC2034 # ah_line: what stands behind the id

ah_B=@DIRECTORY@
cd "$ah_B" || exit 73
[ ! -s jobid.0 ] || exit 0 # another host had taken the submit over, and its launcher runs the jobs
read -r ah_pid ah_line </proc/self/stat
ah_stat "$ah_pid"
read -r ah_boot </proc/sys/kernel/random/boot_id
{ echo "$ah_boot:$ah_pid:$ah_started" >|jobid.0.new && mv -f jobid.0.new jobid.0; } || exit 73
exec 9>&- # the submit script waits for this
unset ah_line ah_state ah_session
exec @COMMAND@
