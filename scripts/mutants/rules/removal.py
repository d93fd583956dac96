# Licensed under the Apache License, Version 2.0; see the LICENSE file.
"""Rules of ``airflow_hybrid/removal``: what is removed, here and at sites."""

from __future__ import annotations

from scripts.mutants.mutant import Mutant

MUTANTS: tuple[Mutant, ...] = (
    Mutant(
        "removing at a site: only what carries our marker",
        "removal/shell/functions.sh",
        'if [ -z "$ah_ours" ] && ! ah_marked; then',
        "if false; then",
        "tests/unit/removal/test_shell.py",
    ),
    Mutant(
        "removing at a site: the marker is a file with our line",
        "removal/shell/functions.sh",
        "&& [ \"$ah_mark\" = '@LINE@' ]",
        "",
        "tests/unit/removal/test_shell.py",
    ),
    Mutant(
        "removing at a site: never through a link",
        "removal/shell/functions.sh",
        "[ ! -h \"./$ah_name\" ] || ah_no 'it is a symbolic link'",
        ":",
        "tests/unit/removal/test_shell.py",
    ),
    Mutant(
        "removing at a site: never through what became a link",
        "removal/shell/functions.sh",
        '[ "$PWD" = "$ah_want" ] || ah_no \'a folder was replaced by a symbolic link\'',
        ":",
        "tests/unit/removal/test_shell.py",
    ),
    Mutant(
        "removing at a site: no mounted file system",
        "removal/shell/functions.sh",
        "ah_unmounted || exit",
        ":",
        "tests/unit/removal/test_shell.py",
    ),
    Mutant(
        "removing here: only what carries our marker",
        "removal/here.py",
        'if line != f"{MARKER_LINE}\\n".encode():',
        "if False:",
        "tests/unit/removal/test_here.py",
    ),
    Mutant(
        "removing here: no mounted folder",
        "removal/here.py",
        "if _mount_of(handle) != mount:",
        "if False:",
        "tests/unit/removal/test_here.py",
    ),
)
