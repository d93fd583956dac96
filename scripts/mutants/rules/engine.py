# Licensed under the Apache License, Version 2.0; see the LICENSE file.
"""Rules of ``airflow_hybrid/engine``: reuse, batches of an earlier try and places of tasks."""

from __future__ import annotations

from scripts.mutants.mutant import Mutant

MUTANTS: tuple[Mutant, ...] = (
    Mutant(
        "a batch that an earlier try left is taken by every step that has jobs in it",
        "engine/batches.py",
        "(met.ours | run.adopted) - {batch_name}",
        "(met.ours | run.adopted | set(met.others)) - {batch_name}",
        "tests/unit/engine/test_batches.py",
    ),
    Mutant(
        "reuse: only outputs that are there as they were",
        "engine/reuse/outputs.py",
        "if same and all(",
        "if True or all(",
        "tests/unit/engine/reuse/test_reuse.py::test_outputs_that_have_changed_are_not_reused",
    ),
    Mutant(
        "reuse: programs and files outside count",
        "engine/reuse/outputs.py",
        '"settings": settings, "used": used}',
        '"settings": settings}',
        "tests/unit/engine/reuse/test_reuse_outside.py::test_a_program_that_was_replaced_is_another_one",
    ),
    Mutant(
        "reuse: the container's image counts",
        "engine/reuse/outputs.py",
        '{"container": container, "settings"',
        '{"settings"',
        "tests/unit/engine/reuse/test_reuse_key.py::test_an_image_that_was_made_anew_is_another_one",
    ),
    Mutant(
        "reuse: what the hybrid file says of the place counts",
        "engine/reuse/outputs.py",
        '"settings": settings, "used": used}',
        '"used": used}',
        "tests/unit/engine/reuse/test_reuse_key.py::test_what_the_hybrid_file_says_of_the_place_counts",
    ),
    Mutant(
        "reuse: it has to be asked for",
        "engine/reuse/outputs.py",
        "next((answer for answer in answers if answer is not None), False)",
        "next((answer for answer in answers if answer is not None), True)",
        "tests/unit/engine/reuse/test_reuse.py::test_outputs_are_reused_where_it_is_asked_for",
    ),
    Mutant(
        "reuse: the document can forbid it",
        "engine/reuse/outputs.py",
        "if document is False:",
        "if False:",
        "tests/unit/engine/reuse/test_reuse.py::test_outputs_are_reused_where_it_is_asked_for",
    ),
    Mutant(
        "reuse: what changed while a job ran is not recorded",
        "engine/reuse/outputs.py",
        "if name in unchanged and now.used.get(name) == known.used]",
        "]",
        "tests/unit/engine/reuse/test_reuse_key.py::test_what_changed_while_a_job_ran_is_not_recorded",
    ),
    Mutant(
        "the same place: of another DAG run",
        "engine/spec.py",
        "hashlib.sha1(self.origin.encode(), usedforsecurity=False)",
        "hashlib.sha1(b'', usedforsecurity=False)",
        "tests/unit/engine/test_same_place.py",
    ),
    Mutant(
        "the same place: a permanent failure of an edited tool",
        "engine/retrying/verdicts.py",
        "permanent-{self.context.spec.digest}",
        "permanent-",
        "tests/unit/engine/test_same_place.py",
    ),
    Mutant(
        "a lost try runs no tool again that nobody asked for",
        "engine/batches.py",
        "return released or retries",
        "return True or retries",
        "tests/unit/engine/retrying/test_tries.py::test_a_lost_try_runs_no_tool_again_unless_somebody_asked",
    ),
    Mutant(
        "the task directory is that of one task instance of one Airflow",
        "engine/spec.py",
        "g{self.generation}-{digest}",
        "g{self.generation}-x",
        "tests/unit/engine/test_same_place.py",
    ),
)
