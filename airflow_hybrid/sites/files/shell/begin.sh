# Licensed under the Apache License, Version 2.0; see the LICENSE file.
# shellcheck shell=sh
# begin: makes the temporary folder of a transfer. removal/shell/functions.sh and place.sh come before it.
#
# @ROOT@: the folder that it is made in, quoted; @NAME@: its name, plain; @MAKE@: a command that makes $R.
# Sets R, N and T=$R/$N.

R=@ROOT@ N=@NAME@
T=$R/$N
begin() { @MAKE@ && ah_new "$T"; }
