# Licensed under the Apache License, Version 2.0; see the LICENSE file.
"""The folder with a run's outputs: only what the run has proved to be its output can be opened.

Proof is the record in the folder (:mod:`airflow_hybrid.operators.gather.record`): the run, the path, and the inode,
size and time of the file. Paths are opened one component after the other, and no link is followed.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import BinaryIO

from fastapi import HTTPException, status

from airflow_hybrid.errors import TransferError
from airflow_hybrid.operators.gather.record import OutdirRecord
from airflow_hybrid.printable import printable
from airflow_hybrid.sites.files.nofollow import folder_at, opened_at
from airflow_hybrid.web.recorded import OutputFile, RecordedOutputs

CHUNK_BYTES = 1 << 18
_FOLDER = os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC


@dataclass(frozen=True)
class OpenOutput:
    """An open file of a run, for reading; ``status``: as it was when it was opened."""

    stream: BinaryIO
    status: os.stat_result

    def chunks(self) -> Iterator[bytes]:
        """The content.

        :raises OSError: it was changed meanwhile. What has been sent cannot be called back: the connection is cut off.
        """
        left = self.status.st_size
        while left > 0:
            data = self.stream.read(min(CHUNK_BYTES, left))
            left -= len(data)
            # before the last piece is sent: whoever gets all of it takes it for complete
            if not data or (left == 0 and self._is_changed()):
                raise OSError("an output was changed while it was sent")
            yield data

    def _is_changed(self) -> bool:
        now = os.fstat(self.stream.fileno())
        return (now.st_size, now.st_mtime_ns) != (self.status.st_size, self.status.st_mtime_ns)


class RunFolder:
    """The open folder of a run's outputs, a context manager.

    :param run: as the record names the run (:func:`airflow_hybrid.operators.context.run.run_token`).
    :raises HTTPException: this machine cannot read the folder, or it holds no record (404).
    """

    def __init__(self, outputs: RecordedOutputs, run: str) -> None:
        self.outdir = outputs.outdir
        self.run = run
        if outputs.is_store:
            problem = f"the outputs are in an object store, below {printable(self.outdir)}: get them from there"
            raise HTTPException(status.HTTP_404_NOT_FOUND, problem)
        try:
            self._number = os.open(self.outdir, _FOLDER)
        except (OSError, ValueError) as error:  # a path may have a NUL in it
            raise self._unreachable(getattr(error, "strerror", None) or str(error)) from None
        try:
            self._record = OutdirRecord(self._number, self.outdir)
        except (OSError, TransferError) as error:
            os.close(self._number)
            raise self._unreachable(str(error)) from None

    def __enter__(self) -> RunFolder:
        return self

    def __exit__(self, *_: object) -> None:
        os.close(self._number)

    def open(self, file: OutputFile) -> OpenOutput:
        """Open a file; the caller closes its stream.

        :raises HTTPException: it is not there (404), or is not what the run put there (409).
        """
        try:
            number = self._open(file.path)
        except FileNotFoundError:
            problem = f"{self._shown(file)} has been removed since the run ended"
            raise HTTPException(status.HTTP_404_NOT_FOUND, problem) from None
        except OSError as error:
            problem = f"this API server cannot read {self._shown(file)}: {error.strerror}"
            raise HTTPException(status.HTTP_404_NOT_FOUND, problem) from None
        except TransferError:
            raise self._unproved(file) from None
        found = os.fstat(number)
        if not self._record.proves(file.path, found, self.run):
            os.close(number)
            raise self._unproved(file)
        return OpenOutput(os.fdopen(number, "rb"), found)

    def check(self, files: Iterable[OutputFile]) -> None:
        """Check that each file can be opened, before any is sent.

        :raises HTTPException: as :meth:`open`.
        """
        for file in files:
            if not file.folder:
                self.open(file).stream.close()

    def _open(self, path: str) -> int:
        *above, name = path.split("/")
        current = os.dup(self._number)
        try:
            for folder in above:
                inner = folder_at(current, _one_name(folder), path)
                os.close(current)
                current = inner
            return opened_at(current, _one_name(name), path)
        finally:
            os.close(current)

    def _shown(self, file: OutputFile) -> str:
        return printable(f"{self.outdir}/{file.path}")

    def _unproved(self, file: OutputFile) -> HTTPException:
        problem = (
            f"{self._shown(file)} is not what the run put there: it was there before, or has been changed or replaced"
            " since. It is not sent; it can be read on the machine that has it"
        )
        return HTTPException(status.HTTP_409_CONFLICT, problem)

    def _unreachable(self, reason: str) -> HTTPException:
        problem = (
            f"this API server cannot read the run's outputs in {printable(self.outdir)}: {printable(reason)}. They are"
            " on the machine of the worker that ran task 'outputs'; to have them here, both must see the same folder"
            " under the same path"
        )
        return HTTPException(status.HTTP_404_NOT_FOUND, problem)


def _one_name(name: str) -> str:
    if name in ("", ".", ".."):
        raise TransferError("not a path below the folder")
    return name
