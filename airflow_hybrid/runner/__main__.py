# Licensed under the Apache License, Version 2.0; see the LICENSE file.
"""``airflow-hybrid-runner DOCUMENT [JOB]``: a CWL runner with the interface of ``cwl-runner``.

Only the output object is written to stdout; logs go to stderr. Modules are imported only when needed: an invalid
document is refused without importing Airflow.
"""

from __future__ import annotations

import argparse
import gc
import json
import logging
import os
import signal
import sys
import tempfile
import traceback
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from airflow_hybrid import settings
from airflow_hybrid.errors import ConfigError, HybridError, JobFailedError, UnsupportedError
from airflow_hybrid.model.locations import is_uri, local_path, path_or_uri
from airflow_hybrid.model.walking import map_files
from airflow_hybrid.removal.here import NotRemovedError, make_folder, remove_folder
from airflow_hybrid.runner import arguments
from airflow_hybrid.runner.arguments import (
    DIFFERENT,
    FAILURE,
    INTERRUPTED,
    PROGRAM_VARIABLE,
    SUCCESS,
    UNREAD,
    UNSUPPORTED,
)
from airflow_hybrid.runner.home import CACHE_VARIABLE, Home, cache_directory
from airflow_hybrid.runner.stdout import is_written, stdout_kept
from airflow_hybrid.settings.sources import OnlyVariables
from airflow_hybrid.version import __version__

if TYPE_CHECKING:
    from airflow_hybrid.config import Deployment, HybridFile
    from airflow_hybrid.crates.unpacking import UnpackedCrate
    from airflow_hybrid.dag.hybrid_dag import HybridDag
    from airflow_hybrid.model import CwlObject, WorkflowGraph
    from airflow_hybrid.runner.dag_run import RunResult
    from airflow_hybrid.runner.progress.shown import ShownProgress

PROG = os.environ.pop(PROGRAM_VARIABLE, "airflow-hybrid-runner")
"""environment variable: the program's name in messages; not passed to jobs"""
_DEFAULTS: dict[str, Any] = {
    "outdir": ".", "existing": "replace", "basedir": None, "quiet": False, "verbose": False, "hybrid_file": None,
    "workflow": None, "serial": False, "tmpdir_prefix": None, "leave_tmpdir": False, "validate": False,
    "no_progress": False, "tool_help": False, "prov": None, "with_outputs": False, "with_inputs": False,
    "report": None,
}  # fmt: skip


_GC_OF_START, _GC_OF_RUN = (1_000_000, 50, 50), (100_000, 50, 50)
"""new objects before a garbage collection, and collections of younger objects before one of older ones"""
_RETRIES = ("retries", "retry_delay", "retry_exponential_backoff", "max_retry_delay")
"""options of the workflow's ``dag`` that also hold here"""


class _NotGatheredError(JobFailedError):
    """All jobs are done, but their outputs are only in the run's folder."""


def main(argv: list[str] | None = None, home_type: type[Home] = Home) -> int:
    """Run the document; -> the exit code.

    :param home_type: makes the run's Airflow ready.
    """
    parser = arguments.parser(PROG)
    args = parser.parse_args(sys.argv[1:] if argv is None else argv)
    for name, value in _DEFAULTS.items():
        if not hasattr(args, name):
            setattr(args, name, value)
    if args.version:
        print(f"{PROG} {__version__}")
        return SUCCESS
    if args.document is None:
        parser.error("which document? (--help says more)")
    signal.signal(signal.SIGTERM, _interrupt)
    settings.read_from(OnlyVariables())
    os.environ.setdefault(CACHE_VARIABLE, str(cache_directory()))
    with stdout_kept() as stdout:
        try:
            outputs, code = _run(args, home_type)
        except UnsupportedError as error:
            return _said(error, UNSUPPORTED)
        except HybridError as error:
            return _said(error, FAILURE)
        except KeyboardInterrupt:
            print(f"{PROG}: interrupted", file=sys.stderr)
            return INTERRUPTED
        except Exception as error:
            return _unforeseen(error, args.verbose)
        if outputs is not None and not is_written(stdout, json.dumps(outputs, indent=4) + "\n"):
            return UNREAD
    return code


def script(argv: list[str] | None = None, home_type: type[Home] = Home) -> None:
    """The console script."""
    # while Airflow is imported, nearly all objects stay: Python's default looks through them hundreds of times in vain
    gc.set_threshold(*_GC_OF_START)
    code = main(argv, home_type)
    sys.stdout.flush()
    os.dup2(2, 1)  # what libraries print at exit is not output
    sys.exit(code)


def _interrupt(number: int, frame: Any) -> None:
    raise KeyboardInterrupt


def _said(error: HybridError, code: int) -> int:
    print(f"{PROG}: {error}", file=sys.stderr)
    return code


def _unforeseen(error: Exception, verbose: bool) -> int:
    """An unexpected error is also reported as one message; its traceback is for bug reports."""
    if verbose:
        traceback.print_exception(error)
    hint = "this error is unexpected: run again with --verbose, and report what that prints"
    print(f"{PROG}: {type(error).__name__}: {error}\n  -> {hint}", file=sys.stderr)
    return FAILURE


def _run(args: argparse.Namespace, home_type: type[Home]) -> tuple[CwlObject | None, int]:
    """-> the outputs, and the exit code."""
    if not args.document.endswith(".zip"):
        return _run_document(args, home_type), SUCCESS
    from airflow_hybrid.runner.crates import tell_differences, unpacked

    with unpacked(args.document, args.tmpdir_prefix, PROG) as crate:
        args.document = crate.document
        outputs = _run_document(args, home_type, crate)
        is_other = outputs is not None and tell_differences(crate, outputs)
        return outputs, DIFFERENT if is_other else SUCCESS


def _run_document(
    args: argparse.Namespace, home_type: type[Home], crate: UnpackedCrate | None = None
) -> CwlObject | None:
    """:param crate: the recorded run that is run again."""
    from airflow_hybrid.cwl.documents.graphs import load_graph

    args.document = path_or_uri(args.document)
    job_of = arguments.job_document(args.document)
    if job_of is not None:
        args.document, job = job_of
        args.inputs = [job, *args.inputs]
    graph = load_graph(args.document)
    inputs = arguments.read_inputs(graph, args, PROG)
    if args.prov is not None or args.report:  # after the inputs, among which options may be
        from airflow_hybrid.runner.about import check_targets

        check_targets(args)
    if crate is not None:
        from airflow_hybrid.runner.crates import inputs_of

        inputs = inputs_of(crate, inputs)
    if args.validate:
        if inputs:
            arguments.checked_inputs(graph, inputs, None, PROG, quiet=args.quiet)
        print(f"{args.document} is valid CWL.", file=sys.stderr)
        return None
    sites = _sites(args, graph)
    inputs = arguments.checked_inputs(graph, inputs, sites.get("inputs"), PROG, quiet=args.quiet)
    arguments.try_folder(args.outdir)
    keeps = bool(args.leave_tmpdir)
    prefix = args.tmpdir_prefix or os.path.join(tempfile.gettempdir(), "airflow-hybrid-")
    folder = make_folder(os.path.dirname(prefix) or ".", os.path.basename(prefix))
    try:
        return _as_dag(args, inputs, sites, folder, home_type)
    except _NotGatheredError:
        keeps = True
        raise
    finally:
        if keeps:
            print(f"{PROG}: the run's files are in {folder}", file=sys.stderr)
        else:
            try:
                remove_folder(folder)
            except NotRemovedError as error:  # this does not change the run's result
                print(f"{PROG}: {error}", file=sys.stderr)


def _sites(args: argparse.Namespace, graph: WorkflowGraph) -> dict[str, Any]:
    """Where the steps run: as the hybrid file says for the workflow, else on this machine."""
    if args.hybrid_file is None:
        return {}
    from airflow_hybrid.config import load_hybrid_file

    hybrid = load_hybrid_file(args.hybrid_file)
    name: str | None = args.workflow
    if name is None:
        name = _workflow_of(graph, hybrid)
    if name is None or name not in hybrid.workflows:
        raise ConfigError(
            f"which of its workflows is meant? It has {', '.join(hybrid.workflows) or 'none'}",
            where=args.hybrid_file,
            hint="choose one with --workflow NAME",
        )
    workflow = hybrid.workflows[name]
    default_args: dict[str, Any] = workflow.dag.get("default_args", {})
    return {
        "bindings": workflow.bindings,
        "deployments": hybrid.deployments,
        "links": hybrid.links,
        "inputs": workflow.settings,
        "reuse": workflow.reuse,
        "fuse": workflow.fuse,
        "default_args": {name: value for name, value in default_args.items() if name in _RETRIES},
    }


def _workflow_of(graph: WorkflowGraph, hybrid: HybridFile) -> str | None:
    """The name of the hybrid file's only workflow for the document; else of its only workflow."""
    source = os.path.realpath(local_path(graph.source) or graph.source)
    same = [
        name
        for name, workflow in hybrid.workflows.items()
        if os.path.realpath(workflow.file.partition("#")[0]) == source
    ]
    candidates = same or list(hybrid.workflows)
    return candidates[0] if len(candidates) == 1 else None


def _as_dag(
    args: argparse.Namespace, inputs: CwlObject, sites: dict[str, Any], folder: Path, home_type: type[Home]
) -> CwlObject:
    from airflow_hybrid.runner.progress.shown import shown_progress

    home = home_type(folder, log_level=_log_level(args))
    with shown_progress(is_wanted=not (args.quiet or args.no_progress)) as shown:
        dag, result = _run_dag(args, inputs, sites, home, shown)
    if args.prov is not None or args.report:
        from airflow_hybrid.runner.about import write_about

        write_about(args, dag, result, PROG)
    if result.succeeded and result.outputs is not None:
        outputs: CwlObject = _with_paths(result.outputs)
        return outputs
    raise _failure(result, folder, bool(args.leave_tmpdir))


def _run_dag(
    args: argparse.Namespace, inputs: CwlObject, sites: dict[str, Any], home: Home, shown: ShownProgress
) -> tuple[HybridDag, RunResult]:
    home.ready()
    logging.getLogger().setLevel(_log_level(args))
    # importing these loads Airflow, whose home has to be ready
    from airflow_hybrid.operators.base import HybridTask
    from airflow_hybrid.runner.dag_run import DagRunner
    from airflow_hybrid.triggers.hybrid import HybridTrigger

    dag = _dag(args, sites, home)
    # each error is reported once, at the end
    HybridTask.tells_errors = HybridTrigger.tells_errors = False
    HybridTask.waits = HybridTrigger.waits = False
    runner = DagRunner(shown.of(dag))
    gc.freeze()
    gc.set_threshold(*_GC_OF_RUN)
    try:
        return dag, runner.run(dag, {"job": inputs})
    finally:
        runner.close()


def _log_level(args: argparse.Namespace) -> str:
    if args.quiet:
        return "ERROR"
    return "INFO" if args.verbose else "WARNING"


def _dag(args: argparse.Namespace, sites: dict[str, Any], home: Home) -> HybridDag:
    """The DAG of the document, with the hybrid file's settings for it."""
    from airflow_hybrid.dag.hybrid_dag import HybridDag
    from airflow_hybrid.model import CHAINS, requirements
    from airflow_hybrid.model.outline import DAG_OF_RUNNER

    document = args.document
    serial = bool(args.serial)
    options = {**sites, "deployments": _deployments(sites.get("deployments"), home, serial)}
    if options.get("fuse") is None and not serial:  # a task's jobs may run at the same time
        options["fuse"] = CHAINS
    return HybridDag(
        document if is_uri(document) else os.path.abspath(document),
        dag_id=DAG_OF_RUNNER,
        outdir="{% raw %}" + os.path.abspath(args.outdir) + "{% endraw %}",
        existing_outputs=args.existing,
        fileloc=home.add_file(DAG_OF_RUNNER, document),
        run_requirements=requirements.ANY,  # the person who runs it also wrote the inputs
        **options,
    )


def _deployments(config: Any, home: Home, serial: bool) -> dict[str, Deployment]:
    """The hybrid file's deployments; jobs of local ones run in the run's folder, in parallel."""
    from airflow_hybrid.config import parse_deployments
    from airflow_hybrid.model import LOCAL_DEPLOYMENT

    deployments = dict(parse_deployments(config or {}))
    for name, deployment in deployments.items():
        if deployment.type != LOCAL_DEPLOYMENT:
            continue
        workdir = deployment.workdir
        if workdir is None and not deployment.config.get("run_as"):
            workdir = str(home.work / name)
        # in triggers, which run in parallel
        is_parallel = not serial if deployment.deferrable is None else deployment.deferrable
        # all tasks run in this process: there are no workers that others could be
        settings = {key: value for key, value in deployment.config.items() if key != "queue"}
        deployments[name] = replace(deployment, config=settings, workdir=workdir, deferrable=is_parallel)
    return deployments


def _failure(result: RunResult, folder: Path, is_kept: bool) -> HybridError:
    """One error for a failed run.

    :param is_kept: the run's folder stays, so paths in it remain valid.
    """
    from airflow_hybrid.operators.values import OUTPUTS_TASK
    from airflow_hybrid.runner.told import failure_message

    for error in result.errors:
        if isinstance(error, UnsupportedError):
            return error
    not_gathered = any(failure.task_id == OUTPUTS_TASK for failure in result.failures)
    is_kept = is_kept or not_gathered
    message = failure_message(result.failures, result.succeeded_jobs, None if is_kept else str(folder))
    kind = _NotGatheredError if not_gathered else JobFailedError
    return kind(message or f"the run ended as {result.state}", retryable=False)


def _with_paths(value: Any) -> Any:
    """Local files and folders also with ``path``, as cwltool prints them."""
    return map_files(_with_path, value)


def _with_path(file: CwlObject) -> CwlObject:
    path = local_path(str(file.get("location", "")))
    if path is not None:
        file["path"] = path
    return file


if __name__ == "__main__":
    script()
