# Licensed under the Apache License, Version 2.0; see the LICENSE file.
"""``airflow hybrid logs RUN STEP[INDEX]``: what a job has written to its standard output or error."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any

from airflow.cli.cli_config import ActionCommand, Arg

from airflow_hybrid.cli.jobs import ARG_DAG, ARG_RUN

if TYPE_CHECKING:
    import argparse
    from collections.abc import AsyncIterator

    from airflow_hybrid.runs.found_jobs import FoundJob, Stream
    from airflow_hybrid.runs.job_files import JobFiles
    from airflow_hybrid.runs.jobs import RunKey

FOLLOW_S = 2.0
"""between two looks at a file that is followed"""
LOOKS = 3
"""looks at the file between two questions whether the job has ended"""
_LONGEST_LINE = 1 << 16

_Arg: Any = Arg  # it has no type hints
ARG_JOB = _Arg(("job",), metavar="STEP[INDEX]", help="the job: /align[3], or /align if the step has one job")
ARG_STDOUT = _Arg(("--stdout",), action="store_true", help="its standard output")
ARG_STDERR = _Arg(("--stderr",), action="store_true", help="its standard error (the default)")
ARG_TAIL = _Arg(("--tail",), type=int, metavar="N", help="only the last N lines")
ARG_FOLLOW = _Arg(("-f", "--follow"), action="store_true", help="go on with what it writes, until it has ended")
ARG_TRY = _Arg(("--try",), type=int, dest="attempt", metavar="N", help="the task's try that ran it (the last one)")


def logs_command() -> ActionCommand:
    """The command, for Airflow's parser."""
    return ActionCommand(
        name="logs",
        help="Show what a job has written to its standard output or error",
        description="Show the standard error (or output) of a job of a DAG run, read where it ran; also of a job that"
        " is running. `airflow hybrid jobs RUN` lists the jobs.",
        func=show_logs,
        args=(ARG_RUN, ARG_JOB, ARG_DAG, ARG_STDOUT, ARG_STDERR, ARG_TAIL, ARG_FOLLOW, ARG_TRY),
    )


def show_logs(args: argparse.Namespace) -> None:
    """Write the file to stdout; on a terminal, without what could control it."""
    import asyncio
    import os

    from airflow.utils.session import create_session

    from airflow_hybrid.errors import HybridError
    from airflow_hybrid.runs.job_files import job_files_of_run
    from airflow_hybrid.runs.jobs import find_run

    if args.stdout and args.stderr:
        raise SystemExit("either --stdout or --stderr")
    if args.tail is not None and args.tail < 0:
        raise SystemExit(f"--tail {args.tail}: not a number of lines")
    # Connections are in Airflow's database, as for `airflow connections test`
    os.environ.setdefault("_AIRFLOW_PROCESS_CONTEXT", "server")
    stream: Stream = "stdout" if args.stdout else "stderr"
    try:
        with create_session() as session:
            run = find_run(session, args.run_id, args.dag_id)
            files = job_files_of_run(session, run)
        asyncio.run(_show(_Reading(files, run, stream, args)))
    except HybridError as error:
        raise SystemExit(str(error)) from None
    except (KeyboardInterrupt, BrokenPipeError):
        raise SystemExit(130) from None


class _Reading:
    """A file that is read piece by piece."""

    def __init__(self, files: JobFiles, run: RunKey, stream: Stream, args: argparse.Namespace) -> None:
        self.files = files
        self.run = run
        self.stream = stream
        self.args = args
        self.job = self.find()

    def find(self) -> FoundJob:
        """The job, as Airflow's database has it now."""
        from airflow.utils.session import create_session

        from airflow_hybrid.overviews.steps import check_wanted
        from airflow_hybrid.runs.found_jobs import find_job, step_of_name
        from airflow_hybrid.runs.jobs import jobs_of_run
        from airflow_hybrid.runs.outline import outline_of_run

        with create_session() as session:
            jobs = jobs_of_run(session, self.run)
            check_wanted(step_of_name(self.args.job), outline_of_run(session, self.run))
            return find_job(jobs, self.args.job, self.args.attempt)

    async def pieces(self) -> AsyncIterator[bytes]:
        """What the job has written, and then what it writes."""
        from airflow_hybrid.sites.files.pieces import NoFileError

        position, looks, may_write = -1, 0, bool(self.args.follow and self.job.batches)
        while True:
            try:
                if position < 0:
                    position = 0 if self.args.tail is None else await self._start_of_lines(self.args.tail)
                piece = await self.files.read(self.job, self.stream, position)
            except NoFileError as error:
                if not (may_write and error.folder_is_there):
                    raise
            else:
                if piece.start < position:
                    sys.stderr.write("the file is shorter now: it is shown from its new end\n")
                yield piece.data
                position = piece.end
                if piece.more and piece.data:
                    continue
            if not may_write:
                return
            await _pause()
            looks += 1
            if looks % LOOKS == 0:
                self.job = self.find()
                may_write = not await self.files.is_over(self.job)  # if so, it is read once more

    async def _start_of_lines(self, count: int) -> int:
        """Where the last lines of the file begin; it is read from its end."""
        from airflow_hybrid.runs.job_files import PIECE_BYTES

        piece = await self.files.read(self.job, self.stream, -PIECE_BYTES)
        size, start, data = piece.size, piece.start, piece.data
        if not count:
            return size
        lines = data.removesuffix(b"\n").count(b"\n")
        while lines < count and start > 0:
            before = max(0, start - PIECE_BYTES)
            piece = await self.files.read(self.job, self.stream, before, start - before)
            data, start = piece.data, piece.start
            lines += data.count(b"\n")
        if lines < count:
            return start
        ends = [at for at, byte in enumerate(data) if byte == 10 and start + at < size - 1]
        return start + ends[lines - count] + 1


async def _pause() -> None:
    import asyncio

    sys.stdout.flush()
    await asyncio.sleep(FOLLOW_S)


async def _show(reading: _Reading) -> None:
    from airflow_hybrid.sites.closing import close_all

    show, is_empty = _Terminal() if sys.stdout.isatty() else None, True
    try:
        async for data in reading.pieces():
            is_empty = is_empty and not data
            if show is None:
                sys.stdout.buffer.write(data)
            else:
                sys.stdout.write(show.text(data))
        if show is not None:
            sys.stdout.write(show.rest())
        sys.stdout.flush()
        if is_empty and reading.args.tail != 0:
            of, other = ("output", "--stderr") if reading.stream == "stdout" else ("error", "--stdout")
            sys.stderr.write(f"the job has written nothing to its standard {of}; see {other}\n")
    finally:
        await close_all()


class _Terminal:
    """Bytes of a job as text that is safe for a terminal, a line at a time."""

    def __init__(self) -> None:
        self._left = b""

    def text(self, data: bytes) -> str:
        """The lines that are complete."""
        from airflow_hybrid.printable import as_terminals_show, printable_lines, readable, whole_letters

        data = self._left + data
        end = data.rfind(b"\n") + 1 or (whole_letters(data) if len(data) > _LONGEST_LINE else 0)
        self._left = data[end:]
        return printable_lines(as_terminals_show(readable(data[:end])))

    def rest(self) -> str:
        """What is left, without a line end."""
        from airflow_hybrid.printable import as_terminals_show, printable_lines, readable

        return printable_lines(as_terminals_show(readable(self._left)))
