# Licensed under the Apache License, Version 2.0; see the LICENSE file.
"""Outages are waited for, the same in every phase; what is no outage, or lasts too long, is one clear error."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Awaitable, Callable

import pytest

from airflow_hybrid.errors import (
    AuthenticationError,
    CommandEnd,
    CommandError,
    HostKeyError,
    HostUnreachableError,
    SiteError,
    StatusUnknownError,
    SubmitError,
    TransferError,
    UnknownHostError,
)
from airflow_hybrid.schedulers.slurm import SlurmScheduler
from airflow_hybrid.sites.batches.answers import Verdict, VerdictKind
from airflow_hybrid.sites.batches.refusals import submit_error
from airflow_hybrid.sites.hosts.base import CommandResult
from airflow_hybrid.sites.hosts.ssh.problems import Attempt, explained
from airflow_hybrid.sites.patience import outages
from airflow_hybrid.sites.patience.outages import Patience
from tests.unit.engine.execution import Log

CUT = HostUnreachableError("no connection to u@hpc:22: Connection refused", where="hpc")


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(outages, "FIRST_S", 0.01)
    monkeypatch.setattr(outages, "_ANSWERED", set())


def failing(*errors: SiteError) -> Callable[[], Awaitable[str]]:
    """Fails with each of some errors in turn, and then answers."""
    left = list(errors)

    async def action() -> str:
        if left:
            raise left.pop(0)
        return "answer"

    return action


async def test_an_outage_is_waited_for_and_told_once() -> None:
    log, told = Log(), list[SiteError | None]()

    async def tell(error: SiteError | None) -> None:
        told.append(error)

    outages.answered("hpc")
    patience = Patience(log, limit_s=3600, tell=tell)
    assert await patience.through(failing(CUT, CUT, CUT), "hpc") == "answer"
    assert told == [CUT, None]
    assert [re.sub(r"[\d-]{10} [\d:]{5} UTC|(?<=after )\d+", "T", line) for line in log.lines] == [
        "hpc: no connection to u@hpc:22: Connection refused\n"
        "  The task waits since T, until T at most, without using retries, and goes on by itself when there is an"
        " answer. Jobs that were submitted go on meanwhile",
        "hpc answers again, after T s",
    ]


async def test_each_change_of_the_reason_is_a_line_and_counts_are_none() -> None:
    log = Log()
    errors = [HostUnreachableError(f"it was down {second} s ago") for second in range(5)] + [CUT, CUT]
    await Patience(log, at_first=True).through(failing(*errors), "hpc")
    lines = [line.splitlines()[0] for line in log.lines]
    assert lines[:-1] == ["it was down 0 s ago", str(CUT)]


async def test_after_max_unreachable_there_is_one_error_that_is_not_retried() -> None:
    with pytest.raises(SiteError) as caught:
        await Patience(Log(), limit_s=0.1, at_first=True).through(failing(*[CUT] * 1000), "hpc")
    said = re.sub(r"\(since [\d:-]+ [\d:]+ UTC:", "(since T:", str(caught.value))
    assert said == (
        "hpc: no connection to u@hpc:22: Connection refused (since T: `max_unreachable` is over)\n"
        "  -> when the site is back, clear the task: it finds the jobs that were submitted, and what they have made"
    )
    assert not caught.value.retryable
    assert not caught.value.passes


async def test_who_hands_the_wait_on_gets_the_error_as_it_is() -> None:
    with pytest.raises(HostUnreachableError) as caught:
        await Patience(Log(), limit_s=0, at_first=True, final=False).through(failing(CUT), "hpc")
    assert caught.value is CUT


@pytest.mark.parametrize("at_first", [True, False])
async def test_a_site_that_has_never_answered_is_waited_for_by_tasks_and_not_at_a_terminal(at_first: bool) -> None:
    waits = Patience(Log(), at_first=at_first).through(failing(CUT), "hpc")
    if at_first:
        assert await waits == "answer"
        return
    with pytest.raises(HostUnreachableError):
        await waits


async def test_a_name_that_nobody_knows_is_an_error_at_once_unless_it_was_known_before() -> None:
    gone = UnknownHostError("no connection to u@hcp:22: Name or service not known")
    patience = Patience(Log(), at_first=True)
    with pytest.raises(UnknownHostError):
        await patience.through(failing(gone), "hpc")
    await patience.through(failing(), "hpc")  # it was not asked anything
    with pytest.raises(UnknownHostError):
        await patience.through(failing(gone), "hpc")
    outages.answered("hpc")
    assert await patience.through(failing(gone), "hpc") == "answer"


async def test_of_two_outages_the_one_that_lasts_is_told_when_the_other_is_over() -> None:
    told = list[str | None]()

    async def tell(error: SiteError | None) -> None:
        told.append(None if error is None else error.message)

    patience, over = Patience(Log(), at_first=True, tell=tell), asyncio.Event()

    async def lasting() -> None:
        if not over.is_set():
            raise HostUnreachableError("b is down")

    waits = asyncio.ensure_future(patience.through(lasting, "b"))
    await asyncio.sleep(0.05)
    await patience.through(failing(HostUnreachableError("a is down")), "a")
    over.set()
    await waits
    assert told == ["b is down", "a is down", "b is down", None]


def refusal(words: str) -> SiteError:
    answer = CommandResult("hpc", "sbatch", 1, b"", b"")
    return submit_error(Verdict(VerdictKind.REFUSED, words), SlurmScheduler(), answer, "hpc")  # type: ignore[return-value]


def timed_out(exit_code: int | None) -> CommandError:
    return CommandError("no answer", CommandEnd("hpc", "look", exit_code))


@pytest.mark.parametrize(
    ("error", "passes"),
    [
        (CUT, True),
        (StatusUnknownError("squeue: error: slurm_receive_msg: Socket timed out"), True),
        (timed_out(None), True),
        (timed_out(2), False),
        (AuthenticationError("refused"), False),
        (HostKeyError("another key"), False),
        (TransferError("the disk is full"), False),
        (SubmitError("refused"), False),
        (
            refusal("sbatch: error: The partition is in maintenance"),
            True,
        ),
        (refusal("sbatch: error: QOSMaxSubmitJobPerUserLimit"), True),
        (refusal("sbatch: error: Batch job submission failed: Invalid partition name specified"), False),
        (refusal("sbatch: error: something that nobody knows"), False),
    ],
    ids=str,
)
def test_what_is_an_outage(error: SiteError, passes: bool) -> None:
    assert error.passes is passes


@pytest.mark.parametrize(("number", "kind"), [(-2, UnknownHostError), (-3, HostUnreachableError)])
def test_no_answer_from_a_name_server_is_an_outage_and_its_no_is_not(number: int, kind: type[SiteError]) -> None:
    import socket

    error = explained(socket.gaierror(number, "said so"), Attempt("u@hpc:22", None, 30, None))  # type: ignore[arg-type]
    assert type(error) is kind
