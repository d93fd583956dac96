# Licensed under the Apache License, Version 2.0; see the LICENSE file.
# shellcheck shell=sh
# Writes an archive of an image to a folder that the nodes of a cluster see, unless it exists. A part of obtain.sh.
#
# @NEW@, @PATH@: its temporary and its final name, quoted; @CLEAR_NEW@, @CLEAR_PATH@: commands that remove them; @SAVE@:
# writes @NEW@.
# shellcheck disable=SC2154 # ah_state, ah_log: set by obtain.sh

if [ ! -s @PATH@ ] || [ "$ah_state" = obtained ]; then
    if ! (@CLEAR_NEW@ && @SAVE@ && @CLEAR_PATH@ && mv -- @NEW@ @PATH@) >"$ah_log" 2>&1 </dev/null; then
        echo "#ah failed"
        tail -c 2000 "$ah_log"
        exit 0
    fi
fi
