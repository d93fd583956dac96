# Licensed under the Apache License, Version 2.0; see the LICENSE file.
# shellcheck shell=sh
# What a command that asks back is given: it asks whoever runs it, on stdout, and reads the answers on stdin.
#
# ah_ask WORD...: asks. Return code: 0 it is done; 1 it was refused; 2 that is not known; ah_said: the answer's text.
# ah_data: prints what the caller gives as stdin.
# @TOKEN@: a word that no job ever sees: a file's text may look like a question.
# stdout: a question is a line `#ask-TOKEN WORD...`. stdin: an answer is a line `CODE SIZE`, then SIZE bytes.
# shellcheck disable=SC2034 # ah_said: for the command

exec 3>&1 4<&0 </dev/null
# question -> exit code and ah_said
ah_ask() {
    printf '\n#ask-%s %s\n' @TOKEN@ "$*" >&3
    ah_said='nobody answers'
    read -r ah_code ah_size <&4 || return 2
    ah_said=$(head -c "$ah_size" <&4)
    return "$ah_code"
}
# what the caller gives as stdin
ah_data() {
    printf '\n#ask-%s data\n' @TOKEN@ >&3
    read -r ah_code ah_size <&4 && head -c "$ah_size" <&4
}
