# Licensed under the Apache License, Version 2.0; see the LICENSE file.
"""What one try of a task tells the next about its failed jobs: two files in the task directory.

``permanent-<digest>``: jobs failed for good. Airflow may start another try nevertheless (a worker dies before it could
end the task): that try fails at once, with the same message. ``judged``: the number of the last try that looked at its
failed jobs and found that they may be run again. What a later try has failed was looked at by nobody: the try was lost
before that. Whoever finds such jobs judges them first, so that lost tries never run a tool again without being asked.
"""

from __future__ import annotations

import functools
import re
import shlex
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from airflow_hybrid.engine.placing.context import FragmentContext
from airflow_hybrid.engine.placing.places import Place
from airflow_hybrid.errors import HybridError, JobFailedError, SiteError
from airflow_hybrid.model import JobState
from airflow_hybrid.removal import shell as removal

_CANCELLED = re.compile(r"\bcancelled\.([0-9]+)\b")


@dataclass(frozen=True)
class EarlierTries:
    """What the tries before this one did about their failed jobs.

    :ivar judged: the last one that judged them: they may be run again; 0: none.
    :ivar cancelled: the last one whose jobs were cancelled because its worker was stopped; 0: none.
    """

    judged: int = 0
    cancelled: int = 0

    def release(self, state: JobState, attempt: int) -> bool:
        """Whether a failed job of an earlier try may be run again, whatever its exit code."""
        return attempt <= self.judged or (state is JobState.CANCELLED and attempt <= self.cancelled)


class Verdicts:
    """The verdicts of a task's tries, kept at the places where its jobs may be."""

    def __init__(self, context: FragmentContext) -> None:
        self.context = context

    def _file(self, place: Place, name: str) -> str:
        return shlex.quote(f"{place.task_directory(self.context.spec.identity)}/{name}")

    @property
    def _permanent(self) -> str:
        """Name of the file of a permanent failure; another document, other inputs or a clear have another."""
        cleared = self.context.spec.identity.cleared
        return f"permanent-{self.context.spec.digest}" + (f"-{cleared}" if cleared else "")

    async def read(self) -> EarlierTries:
        """What earlier tries have left.

        :raises JobFailedError: an earlier try failed for good.
        """
        earlier = EarlierTries(judged=self.context.spec.identity.cleared)  # whoever clears a task has judged its jobs

        async def read(place: Place) -> None:
            nonlocal earlier
            number, permanent = self._file(place, "judged"), self._file(place, self._permanent)
            marks = f"(cd {self._file(place, '.')} 2>/dev/null && echo cancelled.*) || echo"
            text = f"cat {number} 2>/dev/null || :; echo; {marks}; cat {permanent} 2>/dev/null || :"
            result = await place.host.run(text, label="read of the last try's verdict")
            judged, cancelled, message = (*result.out.split("\n", 2), "", "")[:3]
            if message:
                raise JobFailedError(
                    "an earlier try failed for good, so nothing was run again:\n" + message,
                    retryable=False,
                    hint="clear the task to run it again",
                )
            numbers = [int(number) for number in _CANCELLED.findall(cancelled)]
            judged_here = int(judged) if judged.isdecimal() else 0
            earlier = EarlierTries(max(earlier.judged, judged_here), max(earlier.cancelled, *numbers, 0))

        await at_each_place(self.context, read)
        return earlier

    async def write(self, error: HybridError) -> None:
        """Note how the try's failed jobs were judged.

        If that is not possible, the log says so, and the next try judges them again.
        """
        number = str(self.context.spec.identity.try_number)
        name, content = ("judged", number) if error.retryable else (self._permanent, str(error))

        async def write(place: Place) -> None:
            directory = place.task_directory(self.context.spec.identity)
            text = f"{removal.functions()}{removal.make(directory)} && cat > {self._file(place, name)}"
            await place.host.run(text, stdin=content.encode(), label="note of the try's verdict")

        try:
            await at_each_place(self.context, write)
        except SiteError as problem:
            self.context.log.warning("the verdict about failed jobs could not be noted: %s", problem)


async def at_each_place(context: FragmentContext, action: Callable[[Place], Awaitable[None]]) -> None:
    """Do something at each place; an unavailable place is skipped if there are others."""
    places = await context.places.all()
    for place in places:
        try:
            if place.down is None:
                once = functools.partial(action, place)
                await (place.patiently(once) if len(places) == 1 else once())
        except SiteError as error:
            if len(places) == 1:
                raise
            place.failed(error)
