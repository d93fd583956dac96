# usage: sh count.sh CHAPTER
# Prints the chapter's title and number of words, then each word and how often it occurs, most frequent first.
set -eu

tail -n +2 "$1" | tr 'A-Z' 'a-z' | tr -cs 'a-z' '\n' | sed '/^$/d' | sort > words

printf '# %s\t%d\n' "$(head -n 1 "$1" | cut -c 3-)" "$(wc -l < words)"
uniq -c words | sort -k 1,1nr -k 2,2 | awk '{ print $2 "\t" $1 }'
