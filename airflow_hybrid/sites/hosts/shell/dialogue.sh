# Licensed under the Apache License, Version 2.0; see the LICENSE file.
# shellcheck shell=sh
# Functions for a command that asks back: it prints questions for the process that runs it, and reads answers from stdin.
#
# ah_ask WORD...: asks. Return code: 0 done; 1 refused; 2 unknown; ah_said: the answer's text.
# ah_data: prints the stdin that the caller gave.
# @TOKEN@: a word that no job sees, because a file's text may look like a question.
# stdout: a question is a line `#ask-TOKEN WORD...`. stdin: an answer is a line `CODE SIZE`, then SIZE bytes.
# shellcheck disable=SC2034 # ah_said: for the command

exec 3>&1 4<&0 </dev/null
# question -> exit code and ah_said
ah_ask() {
    printf '\n#ask-%s %s\n' @TOKEN@ "$*" >&3
    ah_said='no answer'
    read -r ah_code ah_size <&4 || return 2
    ah_said=$(head -c "$ah_size" <&4)
    return "$ah_code"
}
# the stdin that the caller gave
ah_data() {
    printf '\n#ask-%s data\n' @TOKEN@ >&3
    read -r ah_code ah_size <&4 && head -c "$ah_size" <&4
}
