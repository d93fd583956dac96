# Licensed under the Apache License, Version 2.0; see the LICENSE file.
"""Run jobs of a finished fragment again whose outputs are lost: the same fragment is entered once more.

Nothing else than a try of the task does that: what it finds in the task directory it takes over, and what is missing it
runs, under the same lock. So several tasks that miss the same file start its job once, and wait for it together.
"""

from __future__ import annotations

import posixpath
from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field

from airflow_hybrid.amounts import times
from airflow_hybrid.cwl.fragments.fragment_run import Part
from airflow_hybrid.cwl.jobs.job import PendingJob
from airflow_hybrid.engine.step_run import JobProgress, StepRun
from airflow_hybrid.errors import TransferError
from airflow_hybrid.model import CwlObject, FileRef
from airflow_hybrid.model.walking import files
from airflow_hybrid.sites.batches.directory import attempt_of
from airflow_hybrid.sites.files.unchanged import Recorded, differences


@dataclass
class Again:
    """Which jobs of a fragment are run again.

    A job whose outputs are still as it left them is taken over. In a fragment of one tool, jobs that nobody misses are
    left out, whatever became of their outputs; elsewhere later jobs may need them.

    :ivar lost: by a job's key, the batch that made the outputs that are lost.
    :ivar instances: the instances that these jobs belong to; None: any.
    :ivar most: how often a job may be run again.
    :ivar originals: by the location of a file that was made again, that of the first one. Jobs that use either have the
        same name; so a job is known by it whatever became of its inputs.
    :ivar ran: keys of the jobs that were run again, by this process or another one.
    """

    lost: Mapping[str, str]
    instances: frozenset[int] | None = None
    most: int = 1
    originals: dict[str, str] = field(default_factory=dict)
    ran: set[str] = field(default_factory=set)
    _first_batch: dict[str, str] = field(default_factory=dict)
    """by a job's key: the batch that made its outputs first"""
    _lost_batches: Counter[str] = field(default_factory=Counter)
    """by a job's key: how many batches have made outputs that are lost by now"""

    def left_out(self, jobs: Sequence[PendingJob]) -> list[PendingJob]:
        """Of jobs of a fragment of one tool, those that nobody misses."""
        # what such a job is made from may be another file by now; its number stays
        numbers = {key.partition("-")[0] for key in self.lost}
        return [job for job in jobs if job.key.partition("-")[0] not in numbers]

    def part(self, first: int, *, single: bool) -> Part:
        """The part of the fragment that is entered.

        :param first: see :class:`Part`; ``single``: whether it is a fragment of one tool, whose jobs are numbered.
        """
        return Part(first, None if single else self.instances, self.originals)

    def note(self, run: StepRun, outputs: Mapping[str, CwlObject]) -> None:
        """Note outputs of jobs that were run again.

        :param outputs: by the job's key.
        """
        for key, value in outputs.items():
            job = run.jobs[key]
            batch = self._first_batch.get(key, posixpath.basename(posixpath.dirname(job.ran_in)))
            folder = posixpath.join(posixpath.dirname(posixpath.dirname(job.ran_in)), batch, key)
            if folder == job.ran_in:
                continue
            self.ran.add(key)
            for file in files(value):
                ref = FileRef.of(str(file.get("location", "")))
                if ref is not None and ref.path.startswith(f"{job.ran_in}/"):
                    original = f"{folder}{ref.path[len(job.ran_in) :]}"
                    self.originals[ref.uri] = FileRef(ref.deployment, ref.location, original).uri

    def attempt(self, batches: Collection[str], cancelled: int) -> int:
        """The number of the attempt by which lost jobs are run again: whoever misses them finds the same one.

        :param batches: names of those that are in the task directory.
        :param cancelled: the last attempt that was cancelled there; 0: none.
        """
        known = [attempt_of(name) for name in (*batches, *self.lost.values())]
        return max([*known, cancelled], default=0) + 1

    async def still_there(self, run: StepRun, batch: str, jobs: Sequence[JobProgress]) -> list[JobProgress]:
        """The jobs, ended in a batch, that count: the outputs of the others are lost, and they are to be run again.

        :param batch: its name.
        :raises SiteError: the place does not answer.
        :raises TransferError: the outputs of a job have been lost too often.
        """
        succeeded = [job for job in jobs if job.succeeded and not self._is_lost(job.key, batch)]
        folders = [Recorded(job.outdir, "d") for job in succeeded]
        lost_folders = await differences(run.place.host, folders) if folders else {}
        kept = [job for job in jobs if not job.succeeded]
        for job in jobs:
            if not job.succeeded:
                continue
            if self._is_lost(job.key, batch) or job.outdir in lost_folders:
                self._lose(job, run)
                job.result = None
            else:
                kept.append(job)
        return kept

    def _is_lost(self, key: str, batch: str) -> bool:
        """Whether a batch is the one that is known to be lost, or an earlier one: that was lost before."""
        return key in self.lost and attempt_of(batch) <= attempt_of(self.lost[key])

    def _lose(self, job: JobProgress, run: StepRun) -> None:
        self._first_batch.setdefault(job.key, posixpath.basename(posixpath.dirname(job.ran_in)))
        self._lost_batches[job.key] += 1
        if self._lost_batches[job.key] > self.most:
            again = f"were made again {times(self.most)}, and are lost once more"
            raise TransferError(
                f"the outputs of {job.job.label} {again}: {job.outdir}",
                where=run.place.title,
                hint="does something remove or change files in the work directory? See `recovery: {replay: ...}`",
                retryable=False,
            )
