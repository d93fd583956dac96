# Licensed under the Apache License, Version 2.0; see the LICENSE file.
# shellcheck shell=sh
# Prints a piece of a regular file below a folder. The file is opened first; then it is seen which one that is, and only if
# it is the one that was meant, and no link below the folder led there, it is read: the file is a job's to replace.
#
# @ROOT@: the folder; @FILE@: path of the file below it; @ABOVE@: path of a folder above the file; all quoted.
# @START@: offset of the piece; negative: from the end of the file. @SIZE@: the most bytes.
# stdout: a line `#piece SIZE START` with the size of the file, then the bytes; or one of the lines `#gone` (also what is above
# it), `#none` (that is there), `#other` (a link, or no regular file), `#closed` (it may not be read).

cd -P -- @ROOT@ 2>/dev/null || {
    echo '#gone'
    exit 0
}
ah_at=$(pwd -P && echo .)
ah_at=${ah_at%??}
ah_f=@FILE@
if [ ! -e "./$ah_f" ] && [ ! -L "./$ah_f" ]; then
    if [ -d ./@ABOVE@ ]; then
        echo '#none'
    else
        echo '#gone'
    fi
    exit 0
fi
if [ -L "./$ah_f" ] || [ ! -f "./$ah_f" ]; then
    echo '#other'
    exit 0
fi
command exec 3<"./$ah_f" || {
    echo '#closed'
    exit 0
}
[ "$(readlink -- /dev/fd/3 3<&3 && echo .)" = "${ah_at%/}/$ah_f
." ] || {
    echo '#other'
    exit 0
}
ah_n=$(wc -c 3<&3 </dev/fd/3)
ah_n=$((ah_n))
ah_s=@START@
[ "$ah_s" -ge 0 ] || ah_s=$((ah_n + ah_s))
[ "$ah_s" -ge 0 ] || ah_s=0
[ "$ah_s" -le "$ah_n" ] || ah_s=$ah_n
echo "#piece $ah_n $ah_s"
tail -c "+$((ah_s + 1))" -- /dev/fd/3 3<&3 | head -c @SIZE@
