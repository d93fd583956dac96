# Licensed under the Apache License, Version 2.0; see the LICENSE file.
# shellcheck shell=sh
# Puts copies of what links lead to in their place; a link that leads nowhere stays.
#
# $1: the folder that was copied; $2: its copy; further: links in the copy.

from=$1 to=$2
shift 2
for link; do
    rest=${link#"$to"}
    [ -e "$from$rest" ] || continue
    rm -- "$link" && cp -R -L -- "$from$rest" "$link" || exit 1
done
