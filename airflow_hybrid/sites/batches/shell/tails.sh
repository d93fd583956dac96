# Licensed under the Apache License, Version 2.0; see the LICENSE file.
# shellcheck shell=sh
# Prints the ends of files of a batch's jobs. A file is opened first; then it is seen which one that is, and only if it is
# the one that was meant, and no link led there, it is read: these files are the jobs' to replace.
#
# @B@: the batch directory; @FILES@: paths below it; both quoted. @SIZE@: bytes of each.
# stdout: for each file a line with the number of bytes, those bytes, and a line end. Exit code 1: there is no directory.

cd -P -- @B@ || exit 1
ah_at=$(pwd -P && echo .)
ah_at=${ah_at%??}
# a line in the place of what is not shown
ah_say() {
    printf '%s\n%s\n' "$((${#1} + 1))" "$1"
    echo
}
# shellcheck disable=SC2043 # the mark becomes several words
for ah_f in @FILES@; do
    if [ ! -e "$ah_f" ] && [ ! -L "$ah_f" ]; then
        printf '0\n\n'
        continue
    fi
    if [ -L "$ah_f" ] || [ ! -f "$ah_f" ]; then
        ah_say '(not shown: it is a link, or no regular file)'
        continue
    fi
    (
        command exec 3<"$ah_f" || exit 1
        [ "$(readlink -- /dev/fd/3 3<&3 && echo .)" = "$ah_at/$ah_f
." ] || exit 1
        ah_n=$(tail -c @SIZE@ -- /dev/fd/3 3<&3 | wc -c)
        echo "$((ah_n))"
        tail -c "$((ah_n))" -- /dev/fd/3 3<&3
        echo
    ) 2>/dev/null || ah_say '(not shown: a link is on its way, or it cannot be read)'
done
