# Licensed under the Apache License, Version 2.0; see the LICENSE file.
"""Breaks one rule after the other in a copy of the package, and sees a test fail: ``make mutants``.

A rule that can be broken without a test failing is not tested. Prints one row of a Markdown table per rule, with the
tests that noticed; exit code 1 if one of them was not noticed, 2 if a test fails before anything was broken. The copy
is in a temporary folder; the code itself is never touched. What is broken may remove or overwrite things: run by root,
the tests see this machine's files and change none of them (``tests/apart``). ``python -m scripts.mutants WORD`` runs
only those whose name has the word in it.
"""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path

from scripts.mutants.breaking import failing
from scripts.mutants.mutant import Mutant
from scripts.mutants.rules import MUTANTS


def named(mutants: list[Mutant]) -> list[str]:
    """The files and functions that mutants name, each once."""
    words = [word for mutant in mutants for word in mutant.tests.split() if word.startswith("tests/")]
    return list(dict.fromkeys(words))


def main(words: list[str]) -> int:
    chosen = [mutant for mutant in MUTANTS if not words or any(word in mutant.name for word in words)]
    with tempfile.TemporaryDirectory(prefix="mutant-") as folder:
        red = failing(Path(folder), named(chosen))
    if red:
        print(f"mutants: these tests fail before a rule is broken: {', '.join(red)}", file=sys.stderr)
        return 2
    survived = 0
    print("| rule that was broken | where | tests that noticed |\n|---|---|---|", flush=True)
    for mutant in chosen:
        with tempfile.TemporaryDirectory(prefix="mutant-") as folder:
            tests = failing(Path(folder), mutant.tests.split(), mutant)
        survived += not tests
        said = ", ".join(f"`{test}`" for test in dict.fromkeys(t.split("[")[0] for t in tests)) or "**none**"
        print(f"| {mutant.name} | `{mutant.file}` | {said} |", flush=True)
    return 1 if survived else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
