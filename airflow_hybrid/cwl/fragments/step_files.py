# Licensed under the Apache License, Version 2.0; see the LICENSE file.
"""Files for expressions of a step: their contents and listings are read where they are."""

from __future__ import annotations

import io
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import IO, Any, TypeVar

from cwltool.errors import WorkflowException
from cwltool.stdfsaccess import StdFsAccess

from airflow_hybrid.cwl.documents.default_files import refusal
from airflow_hybrid.cwl.documents.trust.roots import REFUSED, located
from airflow_hybrid.errors import SiteError
from airflow_hybrid.model import percent_decoded, percent_encoded
from airflow_hybrid.model.walking import location_of

T = TypeVar("T")
Reader = Callable[[str], bytes]
"""Contents of a File by its location: the first 64 KiB + 1 byte; may block; raises an exception on failure."""
Lister = Callable[[str], Sequence[tuple[str, bool]]]
"""Entries of a Directory by its location: (name, is a directory)."""


@dataclass(frozen=True)
class FileAccess:
    """How files of steps are read.

    :ivar read: contents of a File; None: reading is impossible. ``list_folder``: likewise, the entries of a Directory.
    """

    read: Reader | None = None
    list_folder: Lister | None = None


NO_ACCESS = FileAccess()


class StepFs(StdFsAccess):  # type: ignore[misc, unused-ignore]
    """File access of step-level expressions and ExpressionTools: contents and listings by location.

    :param document: the step's, for the files that it may not name.
    """

    def __init__(self, access: FileAccess, document: Any = None) -> None:
        super().__init__("")
        self._refused = {location_of(item).rstrip("/"): item for item in located(document) if item.get(REFUSED)}
        self._reader, self._lister = access.read, access.list_folder
        self.lists = access.list_folder is not None
        self.raised: list[Exception] = []
        self._directories: dict[str, bool] = {}

    def _ask(self, ask: Callable[[str], T], location: str) -> T:
        """Keep a site's exception and raise it later: cwltool treats every exception as an error of the document."""
        for refused, item in self._refused.items():
            if location.rstrip("/") == refused or location.startswith(f"{refused}/"):
                raise WorkflowException(refusal(item).message)
        try:
            return ask(location)
        except SiteError as error:
            self.raised.append(error)
            raise WorkflowException(str(error)) from error

    def open(self, fn: str, mode: str) -> IO[Any]:
        if self._reader is None:
            raise WorkflowException(
                f"an expression reads the contents of {percent_decoded(fn)}, which cannot be read here"
            )
        data = self._ask(self._reader, fn)
        return io.BytesIO(data) if "b" in mode else io.StringIO(data.decode())

    def listdir(self, fn: str) -> list[str]:
        if self._lister is None:
            raise WorkflowException(
                f"an expression reads the listing of {percent_decoded(fn)}, which cannot be read here"
            )
        locations = []
        for name, directory in self._ask(self._lister, fn):
            location = f"{fn.rstrip('/')}/{percent_encoded(name)}"
            self._directories[location] = directory
            locations.append(location)
        return locations

    def isdir(self, fn: str) -> bool:
        return self._directories.get(fn, False)

    def isfile(self, fn: str) -> bool:
        return not self._directories.get(fn, True)

    def exists(self, fn: str) -> bool:
        return fn in self._directories

    def size(self, fn: str) -> int:
        raise OSError(f"the size of {fn} is not known")

    def glob(self, pattern: str) -> list[str]:
        raise OSError("nothing can be globbed here")

    def realpath(self, path: str) -> str:
        return path
