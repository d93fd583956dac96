#!/bin/sh
# machine.sh NAME OWN HOME SHARED COMMAND... - runs COMMAND on what looks like another machine: another host name, a /tmp
# and an AIRFLOW_HOME of its own. All of it is in the folder OWN. Of this machine's /tmp it sees the folder SHARED, in
# which OWN and HOME are, and this project; of HOME, it has the same airflow.cfg and, without OWN_LOGS, the same logs.
# To be called by unshare --mount --uts.
set -eu
name=$1 own=$2 home=$3 shared=$4
shift 4
there=$own/tmp${shared#/tmp}
mkdir -p "$there" "$own/home/logs" "$home/logs"
cp "$home/airflow.cfg" "$own/home/"
mount --bind "$shared" "$there"
project=$(cd "$(dirname "$0")/../../.." && pwd)
case $project in /tmp/*)
    mkdir -p "$own$project"
    mount --bind "$project" "$own$project"
    ;;
esac
[ -n "${OWN_LOGS-}" ] || mount --bind "$home/logs" "$own/home/logs"
mount --rbind "$own/home" "$there${home#"$shared"}"
mount --rbind "$own/tmp" /tmp
hostname "$name"
cd "$home"
exec "$@"
