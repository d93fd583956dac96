# Licensed under the Apache License, Version 2.0; see the LICENSE file.
"""Reading a file or folder wherever it is, for expressions of a step."""

from __future__ import annotations

import asyncio
import shlex
from collections.abc import Mapping

from airflow_hybrid.config import Deployment
from airflow_hybrid.errors import TransferError
from airflow_hybrid.model import FileRef, Question
from airflow_hybrid.sites.connectors.locations import Locations
from airflow_hybrid.sites.files import web
from airflow_hybrid.sites.files.objects import is_url
from airflow_hybrid.sites.hosts.base import FOLDER_BYTES, answers_up_to
from airflow_hybrid.sites.hosts.job_folders import work_directory_of
from airflow_hybrid.sites.hosts.local import LocalHost
from airflow_hybrid.sites.hosts.other_machines import on_another_machine
from airflow_hybrid.sites.hosts.probing import probe

START_BYTES = 64 * 1024 + 1
"""what ``loadContents`` may read, and one byte more to detect larger files"""


async def read_start(uri: str, deployments: Mapping[str, Deployment]) -> bytes:
    """The first 64 KiB (+ 1 byte) of a file, wherever it is: for loadContents on a step's input.

    :raises SiteError: it cannot be read.
    """
    if is_url(uri):
        return await asyncio.to_thread(web.read_start, uri, START_BYTES)
    ref = FileRef.parse(uri)
    host = await Locations(deployments).host_of(ref)
    question = Question("contents", ref.path, work_directory_of(ref.path) or "")
    facts = await probe.facts(host, [question])
    if ref.path in facts.replaced:
        message = f"{ref.path} is not read: a symbolic link has replaced it"
        raise TransferError(message, where=host.title, retryable=False)
    contents = facts.contents.get(ref.path)
    if contents is None:
        elsewhere = on_another_machine(ref.path, uri) if isinstance(host, LocalHost) else None
        if elsewhere is not None:
            raise elsewhere
        raise TransferError(f"{ref.path} cannot be read: it does not exist, or is not a regular file", where=host.title)
    return contents


async def list_folder(uri: str, deployments: Mapping[str, Deployment]) -> list[tuple[str, bool]]:
    """The names in a folder, wherever it is, and whether each is a folder: for listings in a step's expressions.

    In a job's own outputs, links are neither followed nor listed.

    :raises SiteError: it cannot be listed.
    """
    ref = FileRef.parse(uri)
    host = await Locations(deployments).host_of(ref)
    work = work_directory_of(ref.path)
    if work is None:
        enter, follow = f"cd -- {shlex.quote(ref.path)} || exit", "-L"
    else:
        values = {"@PATH@": ref.path, "@WORK@": work, "@REST@": "/" + ref.path[len(work) :].lstrip("/")}
        enter, follow = _ENTER, ""
        for mark, value in values.items():
            enter = enter.replace(mark, shlex.quote(value))
    find = f"find {follow} . -mindepth 1 -maxdepth 1 \\( -type d -printf 'd%f\\0' -o ! -type l -printf 'f%f\\0' \\)"
    with answers_up_to(FOLDER_BYTES):
        result = await host.run(f"{enter}\n{find}", label="listing of an input")
    elsewhere = on_another_machine(ref.path, uri) if result.exit_code and isinstance(host, LocalHost) else None
    if elsewhere is not None:
        raise elsewhere
    result.check(f"cannot list {ref.path!r}")
    return sorted((entry[1:], entry[0] == "d") for entry in result.out.split("\0") if entry)


_ENTER = """cd -P -- @PATH@ || exit
w=$(cd -P -- @WORK@ && pwd -P && echo .)
w=${w%??}@REST@
[ "$(pwd -P && echo .)" = "$w
." ] || { echo 'a symbolic link has replaced it or a folder above it' >&2; exit 1; }"""
