# Licensed under the Apache License, Version 2.0; see the LICENSE file.
"""The contract of a queue of jobs: submitted once, never lost, never called a success without evidence."""

from __future__ import annotations

import asyncio
import os
import shlex
import signal
import time

import pytest

from airflow_hybrid.errors import CancelledError
from airflow_hybrid.model import JobState
from airflow_hybrid.removal import shell as removal
from airflow_hybrid.testing.hosts import ODD_NAMES
from airflow_hybrid.testing.site import (
    Contract,
    MakeConnector,
    Site,
    contract,
    in_another_process,
    new_folder,
    opened,
    remove,
)

POLL_S = 0.5


def sh(text: str) -> tuple[str, ...]:
    """The argument vector of a job that is shell text."""
    return ("sh", "-c", text)


class JobsContract(Contract):
    """What :class:`airflow_hybrid.sites.batches.queue.JobQueue` promises, at the locations of a connector."""

    @contract
    async def test_jobs_run_and_their_results_come_in_order(self, site: Site) -> None:
        batch = site.batch("a1-order", [sh(f"echo {i}; exit {i % 3}") for i in range(6)])
        results = await site.run(batch)
        assert [r.exit_code for r in results] == [0, 1, 2, 0, 1, 2]
        assert [r.state for r in results[:3]] == [JobState.COMPLETED, JobState.FAILED, JobState.FAILED]
        assert await site.read(results[4].stdout_path) == "4\n"

    @contract
    async def test_a_failed_job_brings_the_end_of_its_stderr(self, site: Site) -> None:
        (result,) = await site.run(site.batch("a1-stderr", [sh("echo what went wrong >&2; exit 9")]))
        assert (result.exit_code, result.stderr_tail.strip()) == (9, "what went wrong")

    @contract
    async def test_a_command_that_is_not_there_fails(self, site: Site) -> None:
        (result,) = await site.run(site.batch("a1-none", [("/no/such program",)]))
        assert result.state is JobState.FAILED and result.exit_code != 0

    @contract
    async def test_a_job_that_is_killed_is_no_success(self, site: Site) -> None:
        # process 1 of a container cannot be killed from within: there it says what a killed one would have given
        (result,) = await site.run(site.batch("a1-killed", [sh("kill -9 $$; exit 137")]))
        assert result.state is not JobState.COMPLETED and result.exit_code in (None, 128 + 9)

    @contract
    async def test_the_stdin_of_a_job_is_empty_or_its_own(self, site: Site) -> None:
        first, second = await site.run(site.batch("a1-stdin", [("cat",), sh("cat; echo end")]))
        assert (first.exit_code, await site.read(second.stdout_path)) == (0, "end\n")
        content = f"{site.folder}/own input"
        await site.sh(f"echo hello >{shlex.quote(content)}")
        (result,) = await site.run(
            site.batch("a1-own", [("cat",)], job={"stdin": content}, known_batches=("a1-stdin",))
        )
        assert await site.read(result.stdout_path) == "hello\n"

    @contract
    async def test_arguments_and_variables_arrive_as_they_are(self, site: Site) -> None:
        names = [name for name in ODD_NAMES if "\udcff" not in name]
        commands = [(*sh('printf "%s|%s" "$1" "$ODD"'), "sh", name) for name in names]
        odd = "a'b\"c $X `id` \\ *\nnew line"
        results = await site.run(site.batch("a1-odd", commands, job={"environment": {"ODD": odd}}))
        for name, result in zip(names, results, strict=True):
            assert await site.read(result.stdout_path) == f"{name}|{odd}"

    @contract
    async def test_output_goes_where_the_job_says(self, site: Site) -> None:
        batch = site.batch("a1-out", [sh("echo out; echo err >&2")], job={"stdout": "my out.txt", "stderr": "e.txt"})
        (result,) = await site.run(batch)
        assert result.stdout_path.endswith("/out/my out.txt")
        assert (await site.read(result.stdout_path), await site.read(result.stderr_path)) == ("out\n", "err\n")

    @contract
    async def test_a_time_limit_ends_a_job_by_that_name(self, site: Site) -> None:
        (result,) = await site.run(site.batch("a1-limit", [("sleep", "100")], job={"walltime_s": 2}))
        assert result.state is JobState.TIMEOUT

    @contract
    async def test_a_large_batch_runs_every_job_once(self, site: Site) -> None:
        ran = f"{site.folder}/ran"
        text = f'echo "$1" >>{shlex.quote(ran)}; echo "$1"'
        batch = site.batch("a1-large", [("sh", "-c", text, "sh", str(i)) for i in range(self.large)])
        results = await site.run(batch)
        assert {r.exit_code for r in results} == {0}
        assert sorted(map(int, (await site.read(ran)).split())) == list(range(self.large))

    # --- once, and never lost ----------------------------------------------------------------------------------------

    @contract
    async def test_a_batch_is_submitted_once_however_often_it_is_repeated(self, site: Site) -> None:
        ran = f"{site.folder}/ran"
        batch = site.batch("a1-once", [sh(f"echo + >>{shlex.quote(ran)}; sleep 1")] * 2)
        reports = await asyncio.gather(*(site.queue.submit(batch) for _ in range(4)))
        again = await site.queue.submit(batch)
        assert len({report.scheduler_ids for (report,) in [*reports, again]}) == 1
        await site.queue.wait(batch.directory)
        (after,) = await site.queue.submit(batch)
        assert after.results == {key: 0 for key in batch.keys}, "what has ended is told, not run again"
        assert await site.read(ran) == "+\n+\n"

    @contract
    async def test_a_lost_reply_submits_nothing_twice(self, site: Site) -> None:
        ran = f"{site.folder}/ran"
        batch = site.batch("a1-reply", [sh(f"echo + >>{shlex.quote(ran)}")] * 2)
        with site.lost_reply() as lost:
            await site.queue.submit(batch)
        results = await site.queue.wait(batch.directory)
        assert lost, "no reply was lost: is submit a command at the location?"
        assert [r.exit_code for r in results] == [0, 0] and await site.read(ran) == "+\n+\n"

    @contract
    async def test_nothing_is_submitted_beside_a_batch_that_is_not_known(self, site: Site) -> None:
        first = site.batch("a1-first", [sh("exit 0")])
        await site.run(first)
        second = site.batch("a2-second", [sh("exit 0")])
        (report,) = await site.queue.submit(second)
        assert (report.name, report.results) == ("a1-first", {first.keys[0]: 0})
        (report,) = await site.queue.submit(site.batch("a2-second", [sh("exit 0")], known_batches=("a1-first",)))
        assert report.name == "a2-second"
        await site.queue.wait(second.directory)
        assert sorted(r.name for r in await site.queue.inspect(site.task)) == ["a1-first", "a2-second"]

    def test_jobs_are_found_again_after_the_process_that_submitted_them_was_killed(
        self, make_connector: MakeConnector
    ) -> None:
        name = new_folder()
        commands = [sh(f"echo + >>../../ran; sleep 3; exit {i}") for i in range(2)]

        async def submit_and_wait() -> None:
            async with opened(make_connector, self.service, name) as site:
                await site.run(site.batch("a1-killed", commands))

        async def until_submitted() -> None:
            async with opened(make_connector, self.service, name) as site:
                for _ in range(120):
                    reports = await site.queue.inspect(site.task)
                    if reports and reports[0].scheduler_ids:
                        return
                    await asyncio.sleep(POLL_S)
            raise AssertionError("nothing was submitted")

        async def attach() -> None:
            async with opened(make_connector, self.service, name) as site:
                try:
                    batch = site.batch("a1-killed", commands)
                    (report,) = await site.queue.submit(batch)
                    results = await site.queue.wait(report.directory)
                    assert [r.exit_code for r in results] == [0, 1]
                    assert await site.read(f"{batch.directory}/ran") == "+\n+\n", "each job ran once"
                finally:
                    await remove(site)

        pid = in_another_process(make_connector, submit_and_wait)
        try:
            asyncio.run(until_submitted())
        finally:
            os.kill(pid, signal.SIGKILL)
            os.waitpid(pid, 0)
        asyncio.run(attach())

    @contract
    async def test_a_job_that_vanished_is_no_success(self, site: Site) -> None:
        # it ends all that watches over it, as a host does that is switched off
        batch = site.batch("a1-vanish", [sh("sleep 1; kill -9 0; exit 137")])
        (result,) = await site.run(batch)
        assert result.state.ended and result.state is not JobState.COMPLETED
        assert result.exit_code != 0 and result.reason

    @contract
    async def test_a_batch_whose_files_are_gone_is_lost(self, site: Site) -> None:
        batch = site.batch("a1-gone", [sh("sleep 2; kill -9 0")])
        await site.queue.submit(batch)
        waiting = asyncio.ensure_future(site.queue.wait(batch.directory))
        await asyncio.sleep(0.5)
        await site.sh(removal.functions() + removal.remove(batch.directory))
        (result,) = await waiting
        assert (result.state, result.exit_code) == (JobState.LOST, None)

    # --- cancel ------------------------------------------------------------------------------------------------------

    @contract
    async def test_cancel_ends_jobs_and_keeps_new_ones_out(self, site: Site) -> None:
        beat = f"{site.folder}/beat"
        batch = site.batch("a1-cancel", [sh(f"while :; do echo >>{shlex.quote(beat)}; sleep 0.2; done")])
        await site.queue.submit(batch)
        waiting = asyncio.ensure_future(site.queue.wait(batch.directory))
        deadline = time.monotonic() + 120
        while (await site.host.run(f"test -s {shlex.quote(beat)}")).exit_code:
            assert time.monotonic() < deadline, "the job never started"
            await asyncio.sleep(POLL_S)
        await site.queue.cancel(site.task)
        (result,) = await waiting
        assert result.state.ended and result.state is not JobState.COMPLETED
        first = await site.sh(f"wc -c <{shlex.quote(beat)}")
        await asyncio.sleep(1.5)
        assert await site.sh(f"wc -c <{shlex.quote(beat)}") == first, "the job still runs"
        with pytest.raises(CancelledError):
            await site.queue.submit(site.batch("a2-late", [sh("exit 0")], known_batches=("a1-cancel",)))

    @contract
    async def test_cancel_may_come_first_and_again(self, site: Site) -> None:
        await site.queue.cancel(site.task)
        await site.queue.cancel(site.task)
        with pytest.raises(CancelledError):
            await site.queue.submit(site.batch("a1-late", [sh("exit 0")]))

    # --- outputs -----------------------------------------------------------------------------------------------------

    @contract
    async def test_outputs_are_seen_with_size_checksum_and_where_links_lead(self, site: Site) -> None:
        text = "mkdir 'd r'; printf hello >'d r/a file'; ln -s /etc/passwd out-of-here; ln -s 'd r/a file' inside"
        batch = site.batch("a1-facts", [sh(text)])
        await site.run(batch)
        tree = f"{batch.directory}/{batch.keys[0]}/out"
        facts = await site.queue.facts(trees=[tree])
        file = facts.files[f"{tree}/d r/a file"]
        assert (file.kind, file.size) == ("f", 5)
        assert file.checksum == "sha1$aaf4c61ddcc5e8a2dabede0f3b482cd9aea9434d"
        assert facts.files[f"{tree}/d r"].kind == "d"
        assert facts.files[f"{tree}/out-of-here"].realpath == "/etc/passwd"
        assert facts.files[f"{tree}/inside"].realpath == f"{tree}/d r/a file"
