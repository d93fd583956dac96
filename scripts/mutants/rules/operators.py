# Licensed under the Apache License, Version 2.0; see the LICENSE file.
"""Rules of ``airflow_hybrid/operators``: chunks, run requirements and gathered outputs."""

from __future__ import annotations

from scripts.mutants.mutant import Mutant

MUTANTS: tuple[Mutant, ...] = (
    Mutant(
        "scatter: a chunk begins where the one before ended",
        "operators/plan.py",
        '[{"lo": low, "hi": min(total, low + size)} for low in range(0, total, size)]',
        '[{"lo": low, "hi": min(total, low + size + 1)} for low in range(0, total, size)]',
        "tests/unit/operators/test_operators.py",
    ),
    Mutant(
        "run requirements: checked where they are used, too",
        "operators/steps/fragment.py",
        "job_requirements.check_allowed(brought or [], setup.run_requirements)",
        "pass",
        "tests/security/documents/test_run_requirements.py",
    ),
    Mutant(
        "outputs: replaced only as the record describes them",
        "operators/gather/record.py",
        "return line is not None and run in (None, line.run) and line.describes(status)",
        "return line is not None and run in (None, line.run)",
        "tests/unit/operators/gather/test_into.py",
    ),
    Mutant(
        "outputs: of another run they stay",
        "operators/gather/record.py",
        "return line is not None and run in (None, line.run) and line.describes(status)",
        "return line is not None and line.describes(status)",
        "tests/unit/operators/gather/test_into.py",
    ),
    Mutant(
        "outputs: no input is replaced, whatever its path",
        "operators/gather/kept.py",
        "if (status.st_dev, status.st_ino) in self._identities:\n            return True",
        "if False:\n            return True",
        "tests/unit/operators/gather/test_kept.py",
    ),
    Mutant(
        "outputs: no input that could not be seen is replaced",
        "operators/gather/kept.py",
        "if posixpath.join(self._outdir, path) in self._paths:",
        "if False:",
        "tests/unit/operators/gather/test_kept.py",
    ),
    Mutant(
        "outputs: a record leads nowhere outside of its folder",
        "operators/gather/record.py",
        "if line is not None and _is_below(line.path):",
        "if line is not None:",
        "tests/unit/operators/gather/test_into.py",
    ),
    Mutant(
        "outputs: of tries that were killed only our folders go",
        "operators/gather/gathering.py",
        "        remove_folder(folder)\n",
        "        __import__('shutil').rmtree(folder, ignore_errors=True)\n",
        "tests/unit/operators/gather/test_failed.py",
    ),
)
