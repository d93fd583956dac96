# Licensed under the Apache License, Version 2.0; see the LICENSE file.
# shellcheck shell=sh
# Fetches with curl, verifies, renames. digest.sh and begin.sh (with what it needs) come before it.
#
# @TARGET@: the target path, quoted; @STORED@: s, if that is in the store; @DIGEST@: SHA-1 that it must have, '' for any.
# stdin: curl's configuration; unlike an argument, other processes cannot read it.
# stdout: `ok SIZE DIGEST`; `same SIZE DIGEST`: the existing copy is as new as the server's, and was not written to after it
# got its name; `redirect URL`, which is not followed.
# Exit codes: 71 there is no curl; 72 the digest differs; 73 an unexpected status; 1 it cannot be written; else that of curl.
# shellcheck disable=SC2154 # R, N, T: set by begin.sh
# shellcheck disable=SC2015 # both commands have to work
# shellcheck disable=SC3013 # dash, bash, busybox, ksh and zsh have -nt

begin || exit 1
trap 'cd /;ah_rm "$R" "$N"' EXIT
trap 'exit 143' HUP INT TERM PIPE
P=@TARGET@
command -v curl >/dev/null || exit 71
root "$P" @STORED@
way "$P" && (
    umask 077
    mkdir -p -- "${P%/*}"
) || exit 1
[ ! -f "$P" ] || [ "$P" -nt "${P%/*}" ] || set -- -z "$P"
r=$(curl -q -K - -fsS --proto =http,https --connect-timeout 10 --speed-time 60 --speed-limit 1 -R "$@" \
    -o "$T/f" -w '%{http_code} %{redirect_url}') || exit $?
case $r in
304*)
    if [ -f "$P" ]; then
        echo same "$(siz "$P")" "$(dig "$P")"
        exit 0
    fi
    ;;
3??' '?*)
    printf 'redirect %s\n' "${r#* }"
    exit 0
    ;;
2*) ;;
*)
    echo "the server answered with status ${r%% *}" >&2
    exit 73
    ;;
esac
if [ ! -e "$T/f" ] && [ -f "$P" ]; then
    echo same "$(siz "$P")" "$(dig "$P")"
    exit 0
fi
[ -e "$T/f" ] || : >"$T/f"
g=$(dig "$T/f") e=@DIGEST@
[ -z "$e" ] || [ "$g" = "$e" ] || {
    echo "digest $g" >&2
    exit 72
}
n=$(siz "$T/f")
free "$P" && [ ! -d "$P" ] && mv -f -- "$T/f" "$P" && echo ok "$n" "$g"
