# Licensed under the Apache License, Version 2.0; see the LICENSE file.
# shellcheck shell=sh
# t: writes files as one tar stream; its exit code is tar's.
#
# @NAMES@: their paths below `/`, quoted; @CREATE@: tar's option, `-c`, or `-ch` to follow symbolic links.

cd / || exit 1
if tar --null -T /dev/null -cf /dev/null 2>/dev/null; then
    t() { printf '%s\0' @NAMES@ | tar @CREATE@ --null -T - -f -; }
else
    t() {
        set -- @NAMES@
        tar @CREATE@f - "$@"
    }
fi
