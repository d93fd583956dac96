# Licensed under the Apache License, Version 2.0; see the LICENSE file.
"""Breaks one rule after the other in a copy of the package, and sees a test fail: ``make mutants``.

A rule that can be broken without a test failing is not tested. Prints one row of a Markdown table per rule, with the
tests that noticed; exit code 1 if one of them was not noticed, 2 if a test fails before anything was broken. The copy
is in a temporary folder; the code itself is never touched. What is broken may remove or overwrite things: run by root,
the tests see this machine's files and change none of them (``tests/apart``). ``python -m scripts.mutants WORD`` runs
only those whose name has the word in it.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[1]


@dataclass(frozen=True)
class Mutant:
    """One broken rule.

    :ivar file: in ``airflow_hybrid``; ``old`` stands there exactly once, and becomes ``new``.
    :ivar tests: where it is to be noticed: arguments of pytest.
    """

    name: str
    file: str
    old: str
    new: str
    tests: str


MUTANTS = (
    Mutant(
        "secondaryFiles: the order in which they are declared",
        "cwl/jobs/outputs.py",
        'publish(entry, site, to_uri) for entry in item["secondaryFiles"]]',
        'publish(entry, site, to_uri) for entry in reversed(item["secondaryFiles"])]',
        "tests/unit/cwl/jobs/test_job.py tests/unit/cwl/jobs/test_fragment.py",
    ),
    Mutant(
        "secondaryFiles: beside their primary file",
        "cwl/locations/path_mapper.py",
        'return all(self._in_place(other, here) for other in item.get("secondaryFiles", ()))',
        "return True",
        "tests/unit/cwl/jobs/test_job.py",
    ),
    Mutant(
        "scatter: the shape of a nested cross product",
        "cwl/values/scatter.py",
        'nested = step.scatter_method == "nested_crossproduct" and len(dims) > 1',
        "nested = False",
        "tests/unit/cwl/values/test_inputs.py tests/unit/cwl/jobs/test_fragment.py",
    ),
    Mutant(
        "scatter: the last port is the fastest, over chunks too",
        "cwl/values/scatter.py",
        "zip(step.scatter, dims, strict=True):\n        stride",
        "reversed(list(zip(step.scatter, dims, strict=True))):\n        stride",
        "tests/unit/cwl/values/test_inputs.py tests/unit/cwl/jobs/test_fragment.py",
    ),
    Mutant(
        "scatter: a chunk begins where the one before ended",
        "operators/plan.py",
        '[{"lo": low, "hi": min(total, low + size)} for low in range(0, total, size)]',
        '[{"lo": low, "hi": min(total, low + size + 1)} for low in range(0, total, size)]',
        "tests/unit/operators/test_operators.py",
    ),
    Mutant(
        "pickValue: chooses before a default does",
        "cwl/values/inputs.py",
        'if len(port.sources) <= 1 and not document.keys() & {"linkMerge", "pickValue"}:',
        'if len(port.sources) <= 1 or document.get("pickValue"):',
        "tests/unit/cwl/values/test_inputs.py tests/unit/cwl/jobs/test_fragment.py",
    ),
    Mutant(
        "linkMerge: merge_flattened flattens",
        "cwl/values/inputs.py",
        'parameter: Any = {**document, "id": port.name, "type": "Any", "source": keys}',
        'parameter: Any = {**document, "id": port.name, "type": "Any", "source": keys, "linkMerge": "merge_nested"}',
        "tests/unit/cwl/values/test_inputs.py tests/unit/cwl/jobs/test_fragment.py",
    ),
    Mutant(
        "when: a step that does not run gives null and counts as skipped",
        "cwl/fragments/fragment_run.py",
        'if status == "success" and not self.context.ran and not self.empty:',
        "if False:",
        "tests/unit/cwl/jobs/test_fragment.py",
    ),
    Mutant(
        "loop: all iterations of a loop of loops",
        "cwl/jobs/runtime.py",
        'if step.get("loop") and step.get("outputMethod") == "all_iterations":',
        "if False:",
        "tests/unit/cwl/fragments/test_loops.py",
    ),
    Mutant(
        "loop: an endless one ends",
        "cwl/jobs/runtime.py",
        "if iteration <= bound:",
        "if True:",
        "tests/unit/cwl/fragments/test_loops.py -k endless --timeout=60",
    ),
    Mutant(
        "exit codes: the tool says what they mean",
        "cwl/jobs/job.py",
        "if exit_code in self.tool.tool.get(field, ()):",
        "if False:",
        "tests/unit/cwl/jobs/test_job.py",
    ),
    Mutant(
        "a site's error is no failure of the document",
        "cwl/fragments/step_files.py",
        "            self.raised.append(error)\n",
        "",
        "tests/unit/cwl/fragments/test_loops.py",
    ),
    Mutant(
        "staging: what arrives has the checksum that it must have",
        "sites/files/shell/receive.sh",
        'if [ "$g" != "$5" ]; then',
        'if [ -z "$g" ]; then',
        "tests/unit/sites/files/test_data_mover.py tests/unit/sites/files/test_data_mover_scripts.py",
    ),
    Mutant(
        "outputs: their real path is in the job's directory",
        "cwl/locations/paths.py",
        'raise CwlError(f"output {path} is a symbolic link to {real}, outside the job\'s output directory")',
        "return path",
        "tests/unit/cwl/jobs/test_job.py tests/unit/engine/test_hostile_documents.py",
    ),
    Mutant(
        "outputs: a glob stays in the job's directory",
        "cwl/locations/file_access.py",
        'if ".." in parts or rest.startswith("/"):',
        "if False:",
        "tests/unit/cwl/jobs/test_job.py",
    ),
    Mutant(
        "expressions hand on only what they were given",
        "cwl/documents/trust.py",
        'if not location.startswith("_:") and not self._has(location):',
        "if False:",
        "tests/unit/engine/test_hostile_documents.py",
    ),
    Mutant(
        "documents name only what is below their roots",
        "cwl/documents/trust.py",
        "root = next((folder for folder in self._folders if is_below(path, folder)), None)",
        'root = "/"',
        "tests/unit/engine/test_hostile_documents.py",
    ),
    Mutant(
        "values are quoted at the shell's edge",
        "sites/batches/script.py",
        "return shlex.quote(text)",
        "return f'\"{text}\"'",
        "tests/unit/sites/batches/test_job_directory_runner.py",
    ),
    Mutant(
        "a batch that an earlier try left is taken by every step that has jobs in it",
        "engine/batches.py",
        "(met.ours | run.adopted) - {token}",
        "(met.ours | run.adopted | set(met.others)) - {token}",
        "tests/unit/engine/test_batches.py",
    ),
    Mutant(
        "a job whose runner was signalled: the scheduler has its word",
        "sites/batches/results.py",
        "return ending.exit_code in _SIGNALS or bool(ending.signal)",
        "return ending.exit_code in _SIGNALS",
        "tests/unit/sites/batches/test_queue_slurm.py -k signalled",
    ),
    Mutant(
        "a runner that is signalled says so",
        "sites/batches/shell/runner.sh",
        'trap "ah_signal=$ah_x" "$ah_x"',
        'trap : "$ah_x"',
        "tests/unit/sites/batches/test_job_directory_runner.py -k signalled",
    ),
    Mutant(
        "a tool that hears of the end before its runner does is doubted",
        "sites/batches/shell/runner.sh",
        '[ -z "$ah_signal" ] || ah_doubt\n}',
        "}",
        "tests/unit/sites/batches/test_job_directory_runner.py -k doubted",
    ),
    Mutant(
        "a job that ended just before one that was signalled is doubted",
        "sites/batches/shell/runner.sh",
        '[ -z "$ah_signal" ] || [ $((ah_t - ah_t0)) -gt 100 ] || ah_doubt',
        ":",
        "tests/unit/sites/batches/test_job_directory_runner.py -k doubted",
    ),
    Mutant(
        "an element ends as its first job that failed",
        "sites/batches/shell/runner.sh",
        "*) ah_failed=$ah_code ;;",
        "*) ;;",
        "tests/unit/sites/batches/test_job_directory_runner.py -k element",
    ),
    Mutant(
        "an exit code survives a full file system",
        "sites/batches/shell/runner.sh",
        '{ echo "ended $1" >>"$ah_B/c/$ah_i"; } 2>/dev/null && return 0',
        "return 0",
        "tests/unit/sites/batches/test_job_directory_runner.py -k full",
    ),
    Mutant(
        "a process that the kernel killed for lack of memory is no success",
        "sites/batches/results.py",
        "        if not ending.memory_kills:\n            return False\n",
        "        if not ending.memory_kills or not code:\n            return False\n",
        "tests/unit/sites/batches/test_queue_slurm.py -k memory",
    ),
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
        "what is lost is ended before it is attempted again",
        "sites/batches/settling.py",
        "if case.batch.ids and any(result.state is JobState.LOST for result in results):",
        "if False:",
        "tests/unit/sites/batches/test_queue_slurm.py -k lost",
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
        "return bool(self.for_good.search(said)) and not self.passing.search(said)",
        "return bool(self.for_good.search(said))",
        "tests/unit/schedulers/test_refusals.py",
    ),
    Mutant(
        "reuse: only outputs that are there as they were",
        "engine/reuse/outputs.py",
        "if same and all(",
        "if True or all(",
        "tests/unit/engine/reuse/test_reuse.py::test_outputs_that_have_changed_are_not_reused",
    ),
    Mutant(
        "reuse: the content of inputs counts",
        "cwl/jobs/reuse.py",
        "        contents[location] = f\"{item['class']} {digest}\"",
        "        contents[location] = item['class']",
        "tests/unit/engine/reuse/test_reuse.py::test_a_directory_is_known_by_what_is_in_it",
    ),
    Mutant(
        "images: a name is one by the grammar of registries",
        "model/image_names.py",
        "if len(name) > MAX_NAME or not grammar.fullmatch(rest):",
        "if len(name) > MAX_NAME:",
        "tests/security/documents/test_images.py",
    ),
    Mutant(
        "roots: Airflow's own files are below none",
        "cwl/documents/own_folders.py",
        "return not any(is_below(path, folder) for folder in of_the_user)",
        "return False",
        "tests/security/documents/test_roots.py",
    ),
    Mutant(
        "run requirements: checked where they are used, too",
        "operators/hybrid.py",
        "job_requirements.check_allowed(brought or [], self.setup.run_requirements)",
        "pass",
        "tests/security/documents/test_run_requirements.py",
    ),
    Mutant(
        "locks of a host: no link that another user laid there",
        "sites/batches/shell/runner.sh",
        '[ ! -h "$ah_mine" ] && ',
        "",
        "tests/security/at_sites/test_shared_hosts.py",
    ),
    Mutant(
        "reuse: the inputs count",
        "cwl/jobs/reuse.py",
        '"inputs": _content(job.inputs, contents),',
        '"inputs": None,',
        "tests/unit/engine/reuse/test_reuse_pairs.py::test_jobs_that_differ_in_one_place_have_different_keys",
    ),
    Mutant(
        "reuse: the built job counts",
        "cwl/jobs/reuse.py",
        '"script": _replaced(dataclasses.asdict(script), paths),',
        '"script": None,',
        "tests/unit/engine/reuse/test_reuse_key.py::test_every_field_of_the_built_job_counts",
    ),
    Mutant(
        "reuse: the tool counts",
        "cwl/jobs/reuse.py",
        "tool = plain_data(job.tool.tool)",
        "tool = {'id': job.tool.tool['id']}",
        "tests/unit/engine/reuse/test_reuse_pairs.py::test_jobs_that_differ_in_one_place_have_different_keys",
    ),
    Mutant(
        "reuse: requirements and hints count",
        "cwl/jobs/reuse.py",
        "for rule in [*job.tool.hints, *job.tool.requirements]]",
        "for rule in []]",
        "tests/unit/engine/reuse/test_reuse_key.py::test_what_the_workflow_around_it_requires_counts",
    ),
    Mutant(
        "reuse: the CWL version counts",
        "cwl/jobs/reuse.py",
        "tool.pop(STEP_PATH, None)",
        "tool.pop(STEP_PATH, None), tool.pop('airflow_hybrid:cwlVersion', None)",
        "tests/unit/engine/reuse/test_reuse_pairs.py::test_jobs_that_differ_in_one_place_have_different_keys",
    ),
    Mutant(
        "reuse: files that the tool names count",
        "cwl/jobs/reuse.py",
        '"files of the tool": [contents.get(location, location) for location in tool.locations],',
        '"files of the tool": [],',
        "tests/unit/engine/reuse/test_reuse_key.py::test_a_file_that_the_tool_names_counts",
    ),
    Mutant(
        "reuse: granted resources count",
        "cwl/jobs/reuse.py",
        '"granted": job.granted,',
        '"granted": None,',
        "tests/unit/engine/reuse/test_reuse_key.py::test_what_a_job_was_granted_counts",
    ),
    Mutant(
        "reuse: the place counts",
        "cwl/jobs/reuse.py",
        '"place": place,',
        '"place": None,',
        "tests/unit/engine/reuse/test_reuse_pairs.py::test_what_the_place_says_makes_a_difference",
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
    Mutant(
        "reuse: it has to be asked for",
        "engine/reuse/outputs.py",
        "next((answer for answer in said if answer is not None), False)",
        "next((answer for answer in said if answer is not None), True)",
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
        "the same place: of an edited tool or other inputs",
        "cwl/fragments/fragment_run.py",
        'hashlib.sha256(f"{self._fragment.owner}{made_from}".encode())',
        "hashlib.sha256(b'')",
        "tests/unit/engine/test_same_place.py",
    ),
    Mutant(
        "the same place: a permanent failure of an edited tool",
        "engine/execution.py",
        "/permanent-{self.context.spec.digest}",
        "/permanent-",
        "tests/unit/engine/test_same_place.py",
    ),
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
        "[ ! -h \"./$ah_name\" ] || ah_no 'a link is in its place'",
        ":",
        "tests/unit/removal/test_shell.py",
    ),
    Mutant(
        "removing at a site: never through what became a link",
        "removal/shell/functions.sh",
        '[ "$PWD" = "$ah_want" ] || ah_no \'a folder became a link\'',
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
    Mutant(
        "outputs: replaced only as the record describes them",
        "operators/gather/record.py",
        "return line is not None and run in (None, line.run) and line.describes(found)",
        "return line is not None and run in (None, line.run)",
        "tests/unit/operators/gather/test_into.py",
    ),
    Mutant(
        "outputs: of another run they stay",
        "operators/gather/record.py",
        "return line is not None and run in (None, line.run) and line.describes(found)",
        "return line is not None and line.describes(found)",
        "tests/unit/operators/gather/test_into.py",
    ),
    Mutant(
        "outputs: no input is replaced, whatever its path",
        "operators/gather/kept.py",
        "if (found.st_dev, found.st_ino) in self._identities:\n            return True",
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
    Mutant(
        "the task directory is that of one task instance of one Airflow",
        "engine/spec.py",
        "/g{self.generation}-{mark}",
        "/g{self.generation}-x",
        "tests/unit/engine/test_same_place.py",
    ),
    Mutant(
        "locations: a path that is not normal is refused",
        "model/locations.py",
        'if path != "/" and (path.startswith("//") or posixpath.normpath(path) != path.rstrip("/")):',
        "if False:",
        "tests/security/values/test_locations.py",
    ),
    Mutant(
        "locations: a file has no query that could hide what it is",
        "model/locations.py",
        'if "?" in rest or "#" in rest:',
        "if False:",
        "tests/security/values/test_locations.py",
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


def mutate(mutant: Mutant, package: Path) -> None:
    """Break the rule in a copy of the package.

    :raises ValueError: the text is not there exactly once.
    """
    file = package / mutant.file
    text = file.read_text()
    if text.count(mutant.old) != 1:
        raise ValueError(f"{mutant.name}: {mutant.file} has {text.count(mutant.old)} times: {mutant.old}")
    file.write_text(text.replace(mutant.old, mutant.new))


def failing(folder: Path, tests: list[str], mutant: Mutant | None = None) -> list[str]:
    """The tests that fail in a copy of the package, the first ones; with a mutant, in one that it broke.

    :raises RuntimeError: pytest could not run them.
    """
    shutil.copytree(ROOT / "airflow_hybrid", folder / "airflow_hybrid", ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copytree(ROOT / "tests", folder / "tests", ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("pyproject.toml", "dags", "scripts"):
        (folder / name).symlink_to(ROOT / name)
    if mutant is not None:
        mutate(mutant, folder / "airflow_hybrid")
    folder.chmod(0o711)  # some tests run as another user
    (folder / "tmp").mkdir()
    apart = [str(ROOT / "tests/apart")] if os.geteuid() == 0 else []
    done = subprocess.run(
        [*apart, sys.executable, "-m", "pytest", "-q", "--maxfail=3", "-p", "no:cacheprovider", *tests],
        cwd=folder,
        env={**os.environ, "PYTHONPATH": str(folder), "TMPDIR": str(folder / "tmp")},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode not in (0, 1):
        raise RuntimeError(f"{mutant or tests}: pytest could not run:\n{done.stdout[-3000:]}{done.stderr[-3000:]}")
    return re.findall(r"^FAILED \S*?([^/\s:]+::\S+)", done.stdout, re.MULTILINE)


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
