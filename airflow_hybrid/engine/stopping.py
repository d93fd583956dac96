# Licensed under the Apache License, Version 2.0; see the LICENSE file.
"""The jobs of a task that nobody wants any more are cancelled: now, or as soon as their sites can be reached."""

from __future__ import annotations

import asyncio
import logging

from airflow_hybrid.engine import unended
from airflow_hybrid.engine.common import Logger
from airflow_hybrid.engine.execution import FragmentExecution
from airflow_hybrid.engine.spec import FragmentSpec
from airflow_hybrid.engine.unended import Unended
from airflow_hybrid.errors import HybridError, LoginRefusedError, SiteError
from airflow_hybrid.sites.hosts.per_loop import PerLoop
from airflow_hybrid.sites.patience.outages import Patience

log = logging.getLogger(__name__)
LATER = (
    "they are cancelled as soon as it answers: by a triggerer of this machine, a later try of the task, or"
    " `airflow hybrid cleanup`"
)
_UNDER_WAY: PerLoop[str, asyncio.Task[None]] = PerLoop()
"""by what the note says: cancellations that wait for a site"""


async def stop(spec: FragmentSpec, logger: Logger) -> Unended | None:
    """Cancel the jobs of a fragment, of its try and of earlier ones.

    :return: None: they are cancelled. A note: their site is away, see :func:`stop_later`.
    :raises HybridError: they cannot be cancelled, and could not later.
    """
    note = await asyncio.to_thread(unended.note, spec, logger)  # first: whoever is killed now has said it
    try:
        await FragmentExecution(spec, logger).cancel()
    except SiteError as error:
        if error.passes or isinstance(error, LoginRefusedError):
            logger.warning("the jobs of %s cannot be cancelled now: %s\n  %s", spec.step_path, error, LATER)
            return note
        raise
    await asyncio.to_thread(note.remove)
    logger.info("the jobs of %s were cancelled", spec.step_path)
    return None


def stop_later(note: Unended) -> None:
    """Cancel the jobs of a note in the background of this event loop, when their site answers."""
    here, name = _UNDER_WAY.here(), f"{note.spec.identity.directory} {note.spec.identity.try_number}"
    if name not in here:
        here[name] = asyncio.ensure_future(_stop_later(note))
        here[name].add_done_callback(lambda _: here.pop(name, None))


async def _stop_later(note: Unended) -> None:
    execution = FragmentExecution(note.spec, log)
    try:
        await Patience(log, at_first=True).through(execution.cancel, note.title)
    except HybridError as error:  # the note is left
        log.error(
            "the jobs of %s could not be cancelled: %s\n  `airflow hybrid cleanup` tries again", note.title, error
        )
        return
    await asyncio.to_thread(note.remove)
    log.info("the jobs of %s were cancelled", note.title)


async def stop_noted() -> None:
    """Cancel, in the background, what others have noted and could not cancel."""
    for note in await asyncio.to_thread(unended.noted, log):
        stop_later(note)


async def close() -> None:
    """End what is under way in this event loop; the notes are left."""
    while waiting := list(_UNDER_WAY.here().values()):
        for task in waiting:
            task.cancel()
        await asyncio.gather(*waiting, return_exceptions=True)
