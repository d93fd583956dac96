# Licensed under the Apache License, Version 2.0; see the LICENSE file.
"""A pytest plugin: each test of a CWL conformance suite is compiled, made a DAG, and run by Airflow's own parts.

``cwltest`` reads the suites and compares the outputs; its hook ``pytest_cwl_execute_test`` is answered here.
"""

from __future__ import annotations

import os
import re
import tempfile
import urllib.parse
from pathlib import Path
from typing import Any

import pytest
from cwltest import UNSUPPORTED_FEATURE
from cwltest.plugin import CWLItem, CWLYamlFile

from airflow_hybrid.model import CHAINS
from airflow_hybrid.runner.home import Home
from tests.conformance.results import Result, Results
from tests.conformance.sites import SITES, options

RESULT = "conformance"
PARTS = ("all", "combinations", "tags")
SUITE = re.compile(r"conformance_tests?(_v\d+\.\d+)?\.ya?ml")
NEED_CONTAINER = {
    "cwloutput_nolimit", "docker_entrypoint", "dockeroutputdir", "filesarray_secondaryfiles",
    "filesarray_secondaryfiles2", "glob_outside_outputs_fails", "initial_workdir_output", "iwd-container-entryname1",
    "iwd-container-entryname2", "iwd-container-entryname3", "iwd-container-entryname4", "iwd-passthrough2",
    "iwdr_dir_literal_real_file", "networkaccess", "networkaccess_disabled", "stdin_shorcut",
    "stdout_redirect_mediumcut_docker", "stdout_redirect_shortcut_docker",
}  # fmt: skip
"""v1.2: tests of documents that have DockerRequirement among their requirements (not hints)"""
SLEEP = {"timelimit_basic", "timelimit_zero_unlimited", "timelimit_zero_unlimited_wf", "timelimit_invalid_wf"}


def pytest_addoption(parser: pytest.Parser) -> None:
    group = parser.getgroup("conformance", "CWL conformance")
    group.addoption("--cwl-site", choices=SITES, default="local", help="where all steps run")
    group.addoption(
        "--cwl-part", choices=PARTS, default="all", help="all tests, or a part that covers the suite's tags"
    )
    group.addoption("--cwl-containers", help="auto (default at local), none (elsewhere), podman ...")
    group.addoption("--cwl-fuse", action="store_true", help="all workflows with `fuse: chains`")
    group.addoption("--cwl-version", default="", help="for the results' title")
    group.addoption("--cwl-results", help="folder for the table of results and the badges")


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    part = config.getoption("--cwl-part")
    if part == "all":
        return
    chosen = representative([item for item in items if isinstance(item, CWLItem)], part)
    config.hook.pytest_deselected(items=[item for item in items if item not in chosen])
    items[:] = chosen


def representative(items: list[CWLItem], part: str) -> list[CWLItem]:
    """The first test of each combination of tags (``combinations``), or that has a tag which none before it had
    (``tags``); none of those that need a container or mostly sleep.
    """
    seen: set[Any] = set()
    chosen = []
    for item in items:
        tags = frozenset(item.spec.get("tags", ["required"]))
        new = {tags} if part == "combinations" else tags
        if new <= seen or identifier(item) in NEED_CONTAINER | SLEEP:
            continue
        seen |= new
        chosen.append(item)
    return chosen


def identifier(item: CWLItem) -> str:
    """The test's name in its suite, without the place of the suite."""
    return urllib.parse.urldefrag(str(item.spec.get("id") or item.name))[1] or item.name


def pytest_collect_file(file_path: Path, parent: pytest.Collector) -> pytest.Collector | None:
    return CWLYamlFile.from_parent(parent, path=file_path) if SUITE.fullmatch(file_path.name) else None


class _Process:
    """The Airflow of this process: made when the first test runs."""

    def __init__(self, site: str, containers: str, fuse: bool) -> None:
        self._folder = tempfile.TemporaryDirectory(prefix="conformance-", ignore_cleanup_errors=True)
        self.home = Home(Path(self._folder.name), log_level="CRITICAL")
        self.home.ready()
        from airflow_hybrid.runner.dag_run import DagRunner

        self._runner = DagRunner()
        self._site, self._containers = site, containers
        self._fuse = CHAINS if fuse else None
        self._count = 0

    def run(self, document: str, job: str | None, outdir: str) -> tuple[int, Any, str]:
        """-> exit code as of cwl-runner, the output object, and the reason of a failure."""
        from airflow_hybrid.cwl.given.settings import load_inputs
        from airflow_hybrid.dag.hybrid_dag import HybridDag
        from airflow_hybrid.errors import HybridError, UnsupportedError

        self._count += 1
        dag_id = f"test_{os.getpid()}_{self._count}"
        try:
            dag = HybridDag(
                document,
                dag_id=dag_id,
                outdir=outdir,
                fileloc=self.home.add_file(dag_id, document),
                run_requirements="any",
                fuse=self._fuse,
                **options(self._site, str(self.home.work), self._containers),
            )
            result = self._runner.run(dag, {"job": load_inputs(job)} if job else {})
        except HybridError as error:
            return UNSUPPORTED_FEATURE if isinstance(error, UnsupportedError) else 1, None, str(error)
        if result.succeeded:
            return 0, result.outputs, ""
        unsupported = any(isinstance(error, UnsupportedError) for error in result.errors)
        reason = "\n".join(str(error) or repr(error) for error in result.errors)
        return UNSUPPORTED_FEATURE if unsupported else 1, None, reason or f"the run ended as {result.state}"

    def close(self) -> None:
        self._runner.close()
        self._folder.cleanup()


_process: list[_Process] = []
_last: dict[str, Any] = {"code": 0, "reason": ""}
"""what cwltest does not keep of the last test"""


class _Executor:
    def __init__(self, site: str, containers: str | None, fuse: bool) -> None:
        self.site = site
        self.fuse = fuse
        self.containers = containers or ("auto" if site == "local" else "none")

    def pytest_cwl_execute_test(self, config: Any, processfile: str, jobfile: str | None) -> tuple[int, Any]:
        if not _process:
            _process.append(_Process(self.site, self.containers, self.fuse))
        base = config.basedir
        code, outputs, reason = _process[0].run(
            _path(processfile, base), _path(jobfile, base) if jobfile else None, config.outdir
        )
        _last.update(code=code, reason=reason)
        return code, outputs

    @pytest.hookimpl(hookwrapper=True)
    def pytest_runtest_makereport(self, item: pytest.Item, call: Any) -> Any:
        outcome = yield
        if not isinstance(item, CWLItem) or call.when != "call":
            return
        report = outcome.get_result()
        reason = ""
        if report.failed:
            told = call.excinfo.value.args
            result = told[1] if len(told) > 1 else None
            kind = "unsupported" if _last["code"] == UNSUPPORTED_FEATURE else "failed"
            reason = _last["reason"] or (result.message if result is not None else str(call.excinfo.value))
        else:
            kind = "passed"
        found = Result(identifier(item), kind, reason, tuple(item.spec.get("tags", ["required"])), report.duration)
        report.user_properties.append((RESULT, found.to_json()))

    def pytest_sessionfinish(self) -> None:
        if _process:
            _process.pop().close()


class _Reporter:
    """In the process that reports: results of all tests, those of other processes included."""

    def __init__(self, config: pytest.Config) -> None:
        site = config.getoption("--cwl-site") + ("-fused" if config.getoption("--cwl-fuse") else "")
        self.results = Results(config.getoption("--cwl-version"), site)
        self._folder = config.getoption("--cwl-results")

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        for name, value in report.user_properties:
            if name == RESULT and isinstance(value, dict):
                self.results.add(Result.from_json(value))

    def pytest_terminal_summary(self, terminalreporter: Any) -> None:
        if self.results.all:
            terminalreporter.section("CWL conformance")
            for line in self.results.summary():
                terminalreporter.write_line(line)
            if self._folder:
                terminalreporter.write_line(f"written to {self.results.write(Path(self._folder))}")


def pytest_configure(config: pytest.Config) -> None:
    executor = _Executor(*(config.getoption(f"--cwl-{name}") for name in ("site", "containers", "fuse")))
    config.pluginmanager.register(executor)
    if not hasattr(config, "workerinput"):
        config.pluginmanager.register(_Reporter(config))


def _path(location: str, base: str) -> str:
    """An absolute path; a fragment (``#main``) stays."""
    if location.startswith("file://"):
        return urllib.parse.unquote(location[len("file://") :])
    return os.path.join(base, location)
