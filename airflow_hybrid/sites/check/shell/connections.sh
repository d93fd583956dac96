# Licensed under the Apache License, Version 2.0; see the LICENSE file.
# shellcheck shell=sh
# Prints how many SSH connections this user has to this host, from everywhere, and how many sessions are open in them;
# nothing where we are not there by SSH.
#
# A connection is a process of sshd that is this user's and has none of sshd below it (root's is also the one that
# listens); a session is a process below that. Subsystems that sshd serves itself (internal-sftp) have no process.

[ -z "$SSH_CONNECTION" ] || ps -u "$(id -u)" -o pid= -o ppid= -o comm= 2>/dev/null | awk '
{ parent[$1] = $2 }
$3 ~ /^sshd/ { is_sshd[$1] = 1; has_sshd[$2] = 1 }
END {
    for (p in is_sshd) connections += !(p in has_sshd)
    for (p in parent) sessions += !(p in is_sshd) && (parent[p] in is_sshd) && !(parent[p] in has_sshd)
    print connections + 0, sessions + 0
}'
