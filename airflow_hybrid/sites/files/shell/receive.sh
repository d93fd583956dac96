# Licensed under the Apache License, Version 2.0; see the LICENSE file.
# shellcheck shell=sh
# Reads a tar stream, verifies every item, and renames the good ones. digest.sh and begin.sh (with what it needs) come
# before it.
#
# Items that arrived completely before a stream broke are kept. The temporary folder is removed in any case; what a killed
# receiver left is removed after two days by another one.
# @CALLS@: for each item `k INDEX KIND NAME TARGET DIGEST [s]`: KIND `f` or `d`, its name in the stream, its target (s: in the
# store); @INCOMING@: the prefix of temporary folders; @UNPACK@: a command that unpacks stdin.
# stdout: for each item `INDEX ok`, `INDEX bad DIGEST` (`-`: it is missing) or `INDEX unnamed`; then `end CODE FREE`: tar's
# exit code, and free KiB of the disk.
# shellcheck disable=SC2154 # R, N, T: set by begin.sh
# shellcheck disable=SC2086,SC2046 # words that may be missing: s, -T, what is left of the disk
# shellcheck disable=SC2015 # both commands have to work
# shellcheck disable=SC2329 # items calls k, which is another one each time
# shellcheck disable=SC2317 # the same

begin || {
    echo end 1
    exit 1
}
trap 'cd /;ah_rm "$R" "$N"' EXIT
trap 'exit 143' HUP INT TERM PIPE
mkdir -- "$T/x" "$T/o" && cd -- "$T/x" || {
    echo end 1
    exit 1
}
for t in "$R"/@INCOMING@*; do
    [ -z "$(find "$t" -prune -type d -mtime +2 2>/dev/null)" ] || ah_rm "$R" "${t##*/}" 2>/dev/null
done
mkdir ../a
f=
mv -T ../a ../b 2>/dev/null && f=-T
@UNPACK@
c=$?
chmod -R u+rwX . 2>/dev/null
find . ! -type f ! -type d -exec rm -f {} + 2>/dev/null
items() {
    @CALLS@
}
# folders of the targets
k() {
    root "$4" $6
    [ -d "${4%/*}" ] || { way "$4" 2>/dev/null && printf '%s\0' "${4%/*}/."; }
}
items | (
    umask 077
    xargs -0 -r mkdir -p --
)
# digests of files, all at once
k() { [ "$2" != f ] || [ ! -f "$3" ] || printf '%s\0' "$3"; }
items | xargs -0 -r sha1sum -- >../sums || :
p=0
if command -v perl >/dev/null; then p=1; fi
exec 3<../sums 5>../names
k() {
    g=
    root "$4" $6
    if ! way "$4"; then
        [ "$2" != f ] || [ ! -f "$3" ] || read -r g _ <&3
        echo "$1 unnamed"
        return
    fi
    if [ "$2" = d ]; then
        [ ! -d "$3" ] || g=$(dig "$3")
    elif [ -f "$3" ]; then
        read -r g _ <&3
        g=${g#\\}
    fi
    if [ "$g" != "$5" ]; then
        echo "$1 bad ${g:--}"
        return
    fi
    if [ "$2" = d ] && [ -d "$4" ]; then
        if [ "$(dig "$4")" = "$5" ]; then
            echo "$1 ok"
            return
        fi
        free "$4" && mv -- "$4" "../o/$1" || {
            echo "$1 unnamed"
            return
        }
    fi
    if [ "$2" = f ] && [ -d "$4" ]; then
        echo "$4: is a directory" >&2
        echo "$1 unnamed"
        return
    fi
    if ! free "$4"; then
        if [ "$2" = f ] && [ "$(dig "$4")" = "$5" ]; then echo "$1 ok"; else echo "$1 unnamed"; fi
        return
    fi
    if [ "$p$2" = 1f ]; then
        printf '%s\0' "$1" "$3" "$4" >&5
        return
    fi
    if mv -f $f -- "$3" "$4" || { [ "$2" = d ] && [ "$(dig "$4")" = "$5" ]; }; then echo "$1 ok"; else echo "$1 unnamed"; fi
}
items
exec 5>&-
# all files in one process if there is perl: mv costs a process per file
# shellcheck disable=SC2016 # the text is perl's
[ $p = 0 ] || perl -e '$/="\0";while(defined($i=<STDIN>)){$s=<STDIN>;$t=<STDIN>;chomp($i,$s,$t);print rename($s,$t)?"$i ok\n":"$i unnamed\n"}' <../names
echo end $c $(df -Pk . 2>/dev/null | awk 'NR==2{print $4}')
