# Licensed under the Apache License, Version 2.0; see the LICENSE file.
"""One status command per host, scheduler and interval, for all batches of the process.

The command counts the exit-code files of every watched batch and, less often, then asks the scheduler for a limited
time, so that a scheduler that hangs does not delay finished jobs. If the command fails, every batch is *unknown*, never
*gone*.
"""

from __future__ import annotations

import asyncio
import contextvars
import logging
import shlex
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace

from airflow_hybrid import settings, shell_text
from airflow_hybrid.amounts import counted
from airflow_hybrid.errors import SiteError, StatusUnknownError
from airflow_hybrid.schedulers.base import QueueView, Scheduler
from airflow_hybrid.sites.batches.commands import evidence_snippet
from airflow_hybrid.sites.hosts.base import Host, answers_up_to
from airflow_hybrid.sites.hosts.per_loop import PerLoop
from airflow_hybrid.sites.patience.outages import Outage, given_up

log = logging.getLogger(__name__)
END_S = 1.0
"""when a poll that has not ended is cancelled again: ``asyncio.wait_for`` of Python 3.11 may lose a cancellation"""
MOST_BATCHES = 200
"""batches in one command, whose text is one argument of a process (at most 128 KiB)"""
FASTEST_S, SLOWEST_S = 0.3, 10.0
LOOK_S = 0.005
"""time between two looks at young batches that take no command"""
YOUNG_S, MOST_LOOKED_AT = 1.0, 2
"""how old, and how many, they are at most"""
PER_BATCH_S = 0.05
"""added to the interval per batch, so that many batches are polled less often"""
STATUS_BYTES = 32 << 20
"""about 100,000 jobs in the longest format that a queue prints"""
HOPELESS_S = 120.0
"""how long a scheduler must report that a batch can never run before that is believed"""


class NeverStartsError(Exception):
    """Nothing of the batch is running, and the scheduler reports that nothing ever will."""


@dataclass(frozen=True)
class Progress:
    """How far a batch is, in jobs, for the user interface.

    :ivar reasons: why jobs are not running, in the scheduler's words; reasons that do not pass by themselves are
        explained.
    :ivar unknown: why the state is unknown at the moment, or ``""``.
    :ivar words: the reasons in the scheduler's words only.
    :ivar failed: how many of the finished ones ended with another exit code than 0, or were not started; the document
        may call such a code a success.
    """

    total: int
    finished: int
    running: int = 0
    pending: int = 0
    reasons: tuple[str, ...] = ()
    unknown: str = ""
    words: tuple[str, ...] = ()
    failed: int = 0

    def __str__(self) -> str:
        parts = [f"{self.finished} of {counted(self.total, 'job')} ended"]
        if self.unknown:
            return f"{parts[0]}; the state of the others is unknown: {self.unknown}"
        parts += [f"{count} {word}" for count, word in ((self.running, "running"), (self.pending, "pending")) if count]
        why = f" ({'; '.join(self.reasons)})" if self.reasons and self.pending else ""
        return ", ".join(parts) + why


@dataclass(frozen=True)
class _Count:
    """The status command's answer about one batch directory.

    :ivar exit_codes: how many jobs left an exit code; -1: the directory does not exist.
    :ivar failed: how many of them left another one than 0.
    :ivar evidence: the directory's content, if all jobs left one.
    """

    exit_codes: int
    failed: int
    evidence: str | None

    @classmethod
    def of(cls, text: str) -> _Count:
        numbers, _, evidence = text.partition("\n")
        exit_codes, _, failed = numbers.partition(" ")
        return cls(int(exit_codes), int(failed or 0), evidence or None)


@dataclass(eq=False)
class Watch:
    """A batch that a caller waits for. ``done`` is set when all jobs ended or the queue no longer has the batch.

    :ivar context: the caller's context: Airflow assigns log lines to tasks by a context variable, and all tasks share
        the poll.
    """

    directory: str
    ids: tuple[str, ...]
    total: int
    progress: Callable[[Progress], None] | None
    done: asyncio.Future[None]
    since: float = field(default_factory=time.monotonic)
    last: Progress | None = None
    counted: int = 0
    failed: int = 0
    evidence: str | None = None
    views: tuple[QueueView, ...] = ()
    hopeless_since: float | None = None
    context: contextvars.Context = field(default_factory=contextvars.copy_context)

    def count(self, count: _Count) -> None:
        """Note how many jobs left an exit code. The watch ends if all did, or if the directory no longer exists."""
        self.counted, self.failed = max(self.counted, count.exit_codes), count.failed
        if count.exit_codes < 0 or count.exit_codes >= self.total:
            self.evidence = count.evidence
            self.resolve()

    def resolve(self) -> None:
        """End the watch: the queue no longer has the batch."""
        if not self.done.done():
            self.done.set_result(None)

    def fail(self, error: Exception) -> None:
        """Raise an error in the caller that waits."""
        if not self.done.done():
            self.done.set_exception(error)

    def tell(self, progress: Progress) -> None:
        """Report a change; an error in the listener does not disturb the poll."""
        if progress == self.last:
            return
        self.last = progress
        if self.progress is not None:
            try:
                self.context.run(self.progress, progress)
            except Exception:
                log.exception("reporting the progress of %s failed", self.directory)


class Poller:
    """Watches batches at one host and scheduler while there are any. Belongs to one event loop."""

    def __init__(self, host: Host, scheduler: Scheduler, slowest_s: float = SLOWEST_S) -> None:
        self.host = host
        self.scheduler = scheduler
        self.slowest_s = slowest_s
        # a real scheduler takes longer than that anyway
        self.fastest_s = host.poll_s if scheduler.status_interval_s <= FASTEST_S else FASTEST_S
        self.per_batch_s = PER_BATCH_S if self.fastest_s >= FASTEST_S else 0.0
        self.commands = 0
        self.queries = 0
        self.drained: set[str] = set()
        self._watches: set[Watch] = set()
        self._task: asyncio.Task[None] | None = None
        self._failures = 0
        self._problem = ""
        self._silences = 0
        self._lost: Outage | None = None
        self._silence: Outage | None = None
        self._asked_at = 0.0
        self._wake = asyncio.Event()

    async def watch(
        self, directory: str, ids: Sequence[str], total: int, progress: Callable[[Progress], None] | None
    ) -> str | None:
        """Return when all jobs of the batch left an exit code, or the queue no longer has the batch.

        :return: the batch directory's content (for :func:`.answers.parse_evidence`) if all jobs left an exit code: the
            command that counted them has read it already.
        :raises NeverStartsError: what is left of it can never run, in the scheduler's words.
        :raises SiteError: only errors that repetition does not heal (a wrong host key, a refused login).
        """
        watch = Watch(directory, tuple(ids), total, progress, asyncio.get_running_loop().create_future())
        self._watches.add(watch)
        self._wake.set()
        if self._task is None or self._task.done():
            self._task = asyncio.ensure_future(self._run())
            _RUNNING.here()[self._task] = self._task
            self._task.add_done_callback(_RUNNING.here().pop)
        try:
            await watch.done
        finally:
            self._watches.discard(watch)
            self.drained.discard(directory)
            if watch.views and not any(view.pending for view in watch.views):
                self.drained.add(directory)
        return watch.evidence

    async def _run(self) -> None:
        while self._watches:
            self._wake.clear()
            if await self._pause(self._interval(time.monotonic())):
                await asyncio.sleep(self.fastest_s)  # a new batch: others may follow at once
            watches = [watch for watch in self._watches if not watch.done.done()]
            for start in range(0, len(watches), MOST_BATCHES):
                await self._poll(watches[start : start + MOST_BATCHES])

    async def _pause(self, seconds: float) -> bool:
        """Wait; not for long if a young batch has ended meanwhile, where the host sees that without a command.

        :return: whether there is a new batch.
        """
        end = time.monotonic() + seconds
        while (left := end - time.monotonic()) > 0:
            seen = await self._seen_to_end()
            if seen:
                return False
            if seen is not None:
                left = LOOK_S
            try:
                await asyncio.wait_for(self._wake.wait(), left)
            except asyncio.TimeoutError:
                continue
            return True
        return False

    async def _seen_to_end(self) -> bool | None:
        """Whether one of a few young batches has ended; None: the host does not see that without a command."""
        now = time.monotonic()
        if len(self._watches) > MOST_LOOKED_AT or any(now - watch.since > YOUNG_S for watch in self._watches):
            return None
        for watch in list(self._watches):
            ended = await self.host.entries(f"{watch.directory}/ec")
            if ended is None or ended >= watch.total:
                return None if ended is None else True
        return False

    def _interval(self, now: float) -> float:
        """A tenth of the age of the youngest batch, so that short jobs are noticed soon and long ones are cheap; longer
        if there are many batches.
        """
        youngest = min((now - watch.since for watch in self._watches), default=0.0)
        wait = min(self.slowest_s, max(self.fastest_s, youngest / 10, len(self._watches) * self.per_batch_s))
        return max(wait, min(30.0, 0.5 * 2 ** min(self._failures, 6))) if self._failures else wait

    async def _poll(self, watches: list[Watch]) -> None:
        now = time.monotonic()
        ask = self._is_time_to_ask(watches, now)
        ids = sorted({id_ for watch in watches for id_ in watch.ids})
        self.commands += 1
        try:
            counts, scheduler_answer = await self._ask(watches, ids if ask else [])
            for watch, count in zip(watches, counts, strict=True):
                watch.count(count)
            if ask:
                self._asked_at, self.queries = now, self.queries + 1
                self._hear(scheduler_answer, ids, watches, now)
        except SiteError as error:
            if not error.retryable:
                self._fail(watches, error)
                return
            # the scheduler may hang where nothing can end it: count files before it is asked again
            if ask:
                self._asked_at, self._silences = now, self._silences + 1
            self._unknown(watches, error)
            return
        except Exception as error:  # a bug must reach the callers, not vanish in a task
            self._fail(watches, error)
            return
        if self._failures:
            log.info("%s: answers again", self.host.title)
        self._failures, self._lost = 0, None
        for watch in watches:
            watch.tell(self._progress(watch))

    def _is_time_to_ask(self, watches: list[Watch], now: float) -> bool:
        """Whether to ask the scheduler this time, not only to count files."""
        gap = self.scheduler.status_interval_s
        if gap > FASTEST_S:  # files are counted twice as often as a real scheduler is asked
            gap = max(gap, 2 * self._interval(now))
        if self._silences:
            gap = max(gap, min(30.0, 2.0**self._silences))
        return now - self._asked_at >= gap and any(now - watch.since >= min(1.0, gap) for watch in watches)

    async def _ask(self, watches: list[Watch], ids: Sequence[str]) -> tuple[list[_Count], str]:
        """Count the exit codes of each batch, and ask the scheduler about some ids (none: it is not asked).

        :return: the counts, in the order of the watches, and the scheduler's answer.
        """
        counting = "".join(f"ah_count {shlex.quote(watch.directory)} {watch.total}\n" for watch in watches)
        question = f"printf '\\n#asked\\n'\n{self.scheduler.status_command(ids)}" if ids else ""
        functions = shell_text.filled(__package__, "count.sh", {"EVIDENCE": evidence_snippet("ah_d")})
        with answers_up_to(STATUS_BYTES):
            answer = await self.host.run(
                f"{functions}{counting}{question}",
                timeout_s=settings.current().status_timeout,
                label=f"{self.scheduler.name} status",
            )
        count_text, _, scheduler_answer = answer.out.partition("\n#asked\n")
        counts = [_Count.of(part) for part in count_text.split("\n#n ")[1:]]
        if answer.exit_code != 0 or len(counts) != len(watches):
            raise StatusUnknownError(
                f"the status command failed (exit code {answer.exit_code}): {answer.err.strip()[-500:]}",
                where=self.host.title,
            )
        return counts, scheduler_answer

    def _hear(self, text: str, ids: Sequence[str], watches: list[Watch], asked_at: float) -> None:
        """Process the scheduler's answer, or note that there was none."""
        try:
            views = self.scheduler.parse_status(text, ids) if ids else {}
        except StatusUnknownError as error:
            if not self._silences:
                log.warning("%s: the state of %d batches is unknown: %s", self.host.title, len(watches), error)
            self._silences, self._problem = self._silences + 1, error.message
            self._silence = self._silence or Outage()
            self._end_if_too_long(watches, error, self._silence)
            return
        if self._silences:
            log.info("%s: %s answers again", self.host.title, self.scheduler.name)
        self._silences, self._problem, self._silence = 0, "", None
        self._judge(watches, views, asked_at)

    def _judge(self, watches: list[Watch], views: dict[str, QueueView], asked_at: float) -> None:
        for watch in watches:
            watch.views = tuple(views[id_] for id_ in watch.ids if id_ in views)
            if not watch.views and watch.since <= asked_at:
                watch.resolve()
            reasons = {reason for view in watch.views for reason in view.reasons}
            if any(view.running for view in watch.views) or not all(map(self.scheduler.hopeless, reasons or {""})):
                watch.hopeless_since = None
            elif watch.hopeless_since is None:
                watch.hopeless_since = asked_at
            elif asked_at - watch.hopeless_since >= HOPELESS_S:
                watch.fail(NeverStartsError("; ".join(sorted(reasons))))

    def _progress(self, watch: Watch) -> Progress:
        finished = min(watch.counted, watch.total)
        running = min(sum(view.running for view in watch.views), watch.total - finished)
        reasons = {reason for view in watch.views for reason in view.reasons if reason not in ("", "None")}
        return Progress(
            total=watch.total,
            finished=max(0, finished),
            running=running,
            pending=watch.total - max(0, finished) - running,
            reasons=tuple(sorted(self.scheduler.explain(reason) or reason for reason in reasons)),
            unknown=self._problem,
            words=tuple(sorted(reasons)),
            failed=min(watch.failed, max(0, finished)),
        )

    def _unknown(self, watches: list[Watch], error: SiteError) -> None:
        self._failures += 1
        if self._failures == 1:
            log.warning("%s: the state of %d batches is unknown: %s", self.host.title, len(watches), error)
        for watch in watches:
            progress = self._progress(watch)
            watch.tell(replace(progress, running=0, pending=0, unknown=error.message))
        self._lost = self._lost or Outage()
        self._end_if_too_long(watches, error, self._lost)

    def _end_if_too_long(self, watches: list[Watch], error: SiteError, outage: Outage) -> None:
        if outage.is_too_long:
            self._fail(watches, given_up(error, outage.since))

    def _fail(self, watches: list[Watch], error: Exception) -> None:
        for watch in watches:
            watch.fail(error)


_POLLERS: PerLoop[tuple[str, str, str], Poller] = PerLoop()
"""key: deployment, key of the host, and name of the scheduler"""
_RUNNING: PerLoop[asyncio.Task[None], asyncio.Task[None]] = PerLoop()
"""running tasks of pollers, also of those that are no longer in :data:`_POLLERS`"""


def poller(host: Host, scheduler: Scheduler, slowest_s: float = SLOWEST_S) -> Poller:
    """The running event loop's poller for a host and scheduler."""
    pollers = _POLLERS.here()
    key = (host.deployment, host.key, scheduler.name)
    current = pollers.get(key)
    if current is None or not current._watches:  # an idle one may hold a host that was closed
        current = pollers[key] = Poller(host, scheduler, slowest_s)
    return current


async def end_pollers() -> None:
    """End all polls of the running event loop, including commands that are still running."""
    while running := list(_RUNNING.here()):
        for task in running:
            task.cancel()
        await asyncio.wait(running, timeout=END_S)
