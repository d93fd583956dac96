# Licensed under the Apache License, Version 2.0; see the LICENSE file.
"""The rules that ``make mutants`` breaks are where it says they are; to break them takes long: on demand."""

from __future__ import annotations

import pytest

from scripts.mutants.breaking import ROOT
from scripts.mutants.mutant import Mutant
from scripts.mutants.rules import MUTANTS


@pytest.mark.parametrize("mutant", MUTANTS, ids=lambda mutant: mutant.name)
def test_a_mutant_changes_one_place_and_names_tests_that_exist(mutant: Mutant) -> None:
    assert (ROOT / "airflow_hybrid" / mutant.file).read_text().count(mutant.old) == 1
    assert mutant.new != mutant.old
    named = [word for word in mutant.tests.split() if word.startswith("tests/")]
    assert named and [word for word in named if not is_there(word)] == []


def is_there(test: str) -> bool:
    """Whether a file of tests, or ``file::function``, exists."""
    path, _, function = test.partition("::")
    file = ROOT / path
    return file.is_file() and (not function or f"def {function}(" in file.read_text())
