# Writes each chapter to chapter-NN.txt; what stands before the first heading is left out.
/^# / {
    if (chapter) close(chapter)
    chapter = sprintf("chapter-%02d.txt", ++n)
}
chapter { print > chapter }
END {
    if (!n) {
        print "no chapter in the book: no line starts with \"# \"" > "/dev/stderr"
        exit 1
    }
}
