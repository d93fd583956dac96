# Licensed under the Apache License, Version 2.0; see the LICENSE file.
"""Rules of ``airflow_hybrid/sites``: batches, staged files and programs at sites."""

from __future__ import annotations

from scripts.mutants.mutant import Mutant

MUTANTS: tuple[Mutant, ...] = (
    Mutant(
        "staging: what arrives has the checksum that it must have",
        "sites/files/shell/receive.sh",
        'if [ "$g" != "$5" ]; then',
        'if [ -z "$g" ]; then',
        "tests/unit/sites/files/test_data_mover.py tests/unit/sites/files/test_data_mover_scripts.py",
    ),
    Mutant(
        "values are quoted at the shell's edge",
        "sites/batches/script.py",
        "return shlex.quote(text)",
        "return f'\"{text}\"'",
        "tests/unit/sites/batches/runner/test_runner.py",
    ),
    Mutant(
        "a job whose runner was signalled: the scheduler has its word",
        "sites/batches/results.py",
        "return ending.exit_code in _SIGNALS or bool(ending.signal)",
        "return ending.exit_code in _SIGNALS",
        "tests/unit/sites/batches/slurm/test_slurm_ends.py -k signalled",
    ),
    Mutant(
        "a runner that is signalled says so",
        "sites/batches/shell/runner.sh",
        'trap "ah_signal=$ah_x" "$ah_x"',
        'trap : "$ah_x"',
        "tests/unit/sites/batches/runner/test_runner_ends.py -k signalled",
    ),
    Mutant(
        "a tool that hears of the end before its runner does is doubted",
        "sites/batches/shell/runner.sh",
        '[ -z "$ah_signal" ] || ah_doubt\n}',
        "}",
        "tests/unit/sites/batches/runner/test_runner_ends.py -k doubted",
    ),
    Mutant(
        "a job that ended just before one that was signalled is doubted",
        "sites/batches/shell/runner.sh",
        '[ -z "$ah_signal" ] || [ $((ah_t - ah_t0)) -gt 100 ] || ah_doubt',
        ":",
        "tests/unit/sites/batches/runner/test_runner_ends.py -k doubted",
    ),
    Mutant(
        "an element ends as its first job that failed",
        "sites/batches/shell/runner.sh",
        "*) ah_failed=$ah_code ;;",
        "*) ;;",
        "tests/unit/sites/batches/runner/test_runner_elements.py::test_an_element_ends_as_its_first_job_that_failed",
    ),
    Mutant(
        "an exit code survives a full file system",
        "sites/batches/shell/runner.sh",
        '{ echo "ended $1" >>"$ah_B/c/$ah_i"; } 2>/dev/null && return 0',
        "return 0",
        "tests/unit/sites/batches/runner/test_runner_ends.py -k full",
    ),
    Mutant(
        "a process that the kernel killed for lack of memory is no success",
        "sites/batches/results.py",
        "        if not ending.memory_kills:\n            return False\n",
        "        if not ending.memory_kills or not code:\n            return False\n",
        "tests/unit/sites/batches/slurm/test_slurm_ends.py -k memory",
    ),
    Mutant(
        "what is lost is ended before it is attempted again",
        "sites/batches/settling.py",
        "if case.batch.ids and any(result.state is JobState.LOST for result in results):",
        "if False:",
        "tests/unit/sites/batches/slurm/test_slurm_lost.py -k ended",
    ),
    Mutant(
        "locks of a host: no link that another user laid there",
        "sites/batches/shell/runner.sh",
        '[ ! -h "$ah_mine" ] && ',
        "",
        "tests/security/at_sites/test_shared_hosts.py",
    ),
    Mutant(
        "reuse: the environment of the location counts",
        "sites/reuse/programs.py",
        '"files": described, "environment": look.environment}',
        '"files": described}',
        "tests/unit/engine/reuse/test_reuse_outside.py::test_the_locations_environment_counts",
    ),
    Mutant(
        "reuse: a program is known by its content",
        "sites/reuse/programs.py",
        "described[path] = [fact.realpath, fact.size, fact.checksum]",
        "described[path] = [fact.realpath, fact.size]",
        "tests/unit/engine/reuse/test_reuse_outside.py::test_a_program_that_was_replaced_is_another_one",
    ),
    Mutant(
        "reuse: what interprets a script counts",
        "sites/reuse/programs.py",
        "paths.update(look.interpreters.get(path, ()))",
        "pass",
        "tests/unit/engine/reuse/test_reuse_outside.py::test_what_interprets_a_script_counts",
    ),
    Mutant(
        "reuse: what cannot be known runs",
        "sites/reuse/programs.py",
        "if outside.commands - look.commands or outside.files & look.unknown:",
        "if False:",
        "tests/unit/engine/reuse/test_reuse_outside.py::test_what_cannot_be_known_runs",
    ),
)
