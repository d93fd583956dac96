# Licensed under the Apache License, Version 2.0; see the LICENSE file.
# shellcheck shell=sh
# Reads a profile, and unsets variables that change what programs do.
#
# @PROFILE@: its path, as a word in double quotes; @NAMES@: variables.
# Exit code 127: it cannot be read.

ah_profile=@PROFILE@
[ -r "$ah_profile" ] || {
    printf 'the profile %s of the deployment cannot be read\n' "$ah_profile" >&2
    exit 127
}
# shellcheck disable=SC1090 # the site's
. "$ah_profile" >/dev/null </dev/null
set +Ceuf
unset ah_profile @NAMES@
[ -z "${POSIXLY_CORRECT+x}" ] || unset POSIXLY_CORRECT
