# Licensed under the Apache License, Version 2.0; see the LICENSE file.
# shellcheck shell=sh
# ah_look FOLDER FILE UPDATED: prints `+` and the first entry of a folder that is newer than a file, if any, and a NUL.
# If the file UPDATED exists, it takes precedence over FILE.

ah_look() {
    ah_late=
    if [ -e "$3" ]; then set -- "$1" "$3"; fi
    if [ -e "$2" ]; then ah_late=$(find "$1" -newer "$2" -print 2>/dev/null | sed -n '1s/^/+/p'); fi
    printf '%s\0' "$ah_late"
}
