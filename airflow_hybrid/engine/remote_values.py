# Licensed under the Apache License, Version 2.0; see the LICENSE file.
"""Reading a file or folder wherever it is, for expressions of a step."""

from __future__ import annotations

import asyncio
import shlex
from collections.abc import Mapping

from airflow_hybrid.config import Deployment
from airflow_hybrid.hooks import web
from airflow_hybrid.hooks.data_mover import DataMover
from airflow_hybrid.hooks.objects import is_url
from airflow_hybrid.model import FileRef

START_BYTES = 64 * 1024 + 1
"""what ``loadContents`` may want, and one byte by which more is noticed"""


async def read_start(uri: str, deployments: Mapping[str, Deployment]) -> bytes:
    """The first 64 KiB (+ 1 byte) of a file, wherever it is: for loadContents on a step's input.

    :raises SiteError: it cannot be read.
    """
    if is_url(uri):
        return await asyncio.to_thread(web.read_start, uri, START_BYTES)
    ref = FileRef.parse(uri)
    host = await DataMover(deployments).host_of(ref)
    result = await host.run(f"head -c {START_BYTES} < {shlex.quote(ref.path)}", label="read of an input")
    return result.check(f"cannot read {ref.path!r}").stdout


async def list_folder(uri: str, deployments: Mapping[str, Deployment]) -> list[tuple[str, bool]]:
    """Names in a folder, wherever it is, and whether each is a folder: for listings in a step's expressions.

    :raises SiteError: it cannot be listed.
    """
    ref = FileRef.parse(uri)
    host = await DataMover(deployments).host_of(ref)
    command = (
        f"find -L {shlex.quote(ref.path)} -mindepth 1 -maxdepth 1 \\( -type d -printf 'd%f\\0' -o -printf 'f%f\\0' \\)"
    )
    result = await host.run(command, label="listing of an input")
    result.check(f"cannot list {ref.path!r}")
    return sorted((entry[1:], entry[0] == "d") for entry in result.out.split("\0") if entry)
