# usage: sh summarise.sh TOP MIN_LETTERS COUNTS...
# Prints a Markdown table of the chapters and a chart of the TOP most frequent words with MIN_LETTERS or more.
set -eu
top=$1 min_letters=$2
shift 2

cat <<TABLE
# Words of the book

| chapter | words | most frequent |
|---------|------:|---------------|
TABLE
for counts; do
    awk -F '\t' -v min="$min_letters" '
        /^# / { title = substr($1, 3); words = $2; next }
        length($1) >= min && shown < 3 { list = list (shown++ ? ", " : "") $1 " (" $2 ")" }
        END { printf "| %s | %d | %s |\n", title, words, list }
    ' "$counts"
done

printf '\nThe %d most frequent words with %d letters or more:\n\n' "$top" "$min_letters"
cat "$@" |
    awk -F '\t' -v min="$min_letters" '
        !/^# / && length($1) >= min { n[$1] += $2 }
        END { for (word in n) print word "\t" n[word] }
    ' |
    sort -t "$(printf '\t')" -k 2,2nr -k 1,1 |
    awk -F '\t' -v top="$top" '
        NR <= top {
            bar = ""
            for (i = 0; i < $2; i++) bar = bar "#"
            printf "    %-14s %3d  %s\n", $1, $2, bar
        }
    '
