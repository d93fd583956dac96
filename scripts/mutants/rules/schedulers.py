# Licensed under the Apache License, Version 2.0; see the LICENSE file.
"""Rules of ``airflow_hybrid/schedulers``: what queue systems said, and what they did not say."""

from __future__ import annotations

from scripts.mutants.mutant import Mutant

MUTANTS: tuple[Mutant, ...] = (
    Mutant(
        "alive in the accounting is alive while the controller does not answer",
        "schedulers/slurm.py",
        "if heard and not element.state.ended:",
        "if not element.state.ended:",
        "tests/unit/schedulers/test_slurm.py",
    ),
    Mutant(
        "a controller that failed has not said that a job is gone",
        "schedulers/slurm_answers.py",
        "if answer.code is None or (answer.code and not answer.complaints):\n        return False",
        "return True",
        "tests/unit/schedulers/test_slurm.py",
    ),
    Mutant(
        "complaints cut no line of an answer",
        "schedulers/shell/asking.sh",
        '        ah_err=$("$@" 2>&1 >&3 3>&-)\n',
        '        ah_err=\n        "$@" 2>&1\n',
        "tests/unit/schedulers/test_asking.py",
    ),
    Mutant(
        "maintenance is no refusal for good",
        "schedulers/batch.py",
        "return bool(self.for_good.search(refusal)) and not self.passing.search(refusal)",
        "return bool(self.for_good.search(refusal))",
        "tests/unit/schedulers/test_refusals.py",
    ),
    Mutant(
        "Slurm: an accounting that did not answer has not said that a job is gone",
        "schedulers/slurm_answers.py",
        "return answer.code in (0, 127) or",
        "return True or",
        "tests/unit/schedulers/test_slurm.py",
    ),
    Mutant(
        "PBS and Grid Engine: a queue that did not answer has not said that a job is gone",
        "schedulers/batch.py",
        "if answer.code is None or not self.answered([*answer.lines, *answer.complaints], answer.code):",
        "if False:",
        "tests/unit/schedulers/test_pbs.py tests/unit/schedulers/test_sge.py",
    ),
)
