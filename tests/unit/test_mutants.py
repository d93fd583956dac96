# Licensed under the Apache License, Version 2.0; see the LICENSE file.
"""The rules that ``make mutants`` breaks are where it says they are; to break them takes long: on demand."""

from __future__ import annotations

from pathlib import Path

import pytest

from scripts.mutants import MUTANTS, ROOT, Mutant


@pytest.mark.parametrize("mutant", MUTANTS, ids=lambda mutant: mutant.name)
def test_a_mutant_changes_one_place_and_names_tests_that_exist(mutant: Mutant) -> None:
    assert (ROOT / "airflow_hybrid" / mutant.file).read_text().count(mutant.old) == 1
    assert mutant.new != mutant.old
    files = [word for word in mutant.tests.split() if word.endswith(".py")]
    assert files and all((Path(ROOT) / file).is_file() for file in files)
