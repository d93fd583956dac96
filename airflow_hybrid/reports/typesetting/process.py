# Licensed under the Apache License, Version 2.0; see the LICENSE file.
"""Typst in a process of its own: ``python -P -m airflow_hybrid.reports.typesetting.process``.

Typst is native code that gets names which anybody may have chosen, so it must not be able to end a task or to read a
file. On stdin is a request as JSON: the name of a document of this folder, its data, and the format. On stdout is the
file. While Typst works, the process can open no file and no socket: it may have no further descriptor. Only if Typst's
own fonts have no letter for a character (Chinese, Japanese, Korean, Thai, emoji), those of the machine may be read.
"""

from __future__ import annotations

import json
import resource
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

_FOLDER = Path(__file__).parent
_NO_LETTER = "could not be displayed with"
"""part of the problem that a PDF/A with a character has which no font can show"""
_CHECKED = "a-2b"
_PIXELS_PER_INCH = 192


def main() -> None:
    request: dict[str, Any] = json.load(sys.stdin.buffer)
    source = b"".join((_FOLDER / f"{name}.typ").read_bytes() for name in ("common", request["document"]))
    sys.stdout.buffer.write(_typeset(source, request["data"], request["format"]))


def _typeset(source: bytes, data: Mapping[str, Any], kind: str) -> bytes:
    import typst

    for is_of_machine in (False, True):
        fonts = typst.Fonts(include_system_fonts=is_of_machine)
        document = _Document(source, fonts)
        with _descriptors(None if is_of_machine else 3):
            try:
                checked = document.compiled(data, "pdf", _CHECKED)
            except typst.TypstError as error:
                if _NO_LETTER not in str(error):
                    raise
                continue
            return checked if kind == "pdf" else document.compiled(data, kind)
    return document.compiled({**data, "has_boxes": True}, kind)


class _Document:
    """:param source: in Typst's language; it has no names and no texts of a run."""

    def __init__(self, source: bytes, fonts: Any) -> None:
        self._source = source
        self._fonts = fonts

    def compiled(self, data: Mapping[str, Any], kind: str, *standards: str) -> bytes:
        import typst

        to_file: Any = typst.compile  # its hints want the name of each format
        content: bytes = to_file(
            self._source,
            root=str(_FOLDER),
            font_paths=self._fonts,
            format=kind,
            ppi=_PIXELS_PER_INCH,
            sys_inputs={"data": json.dumps(data)},
            timestamp=data["at"],
            pdf_standards=list(standards),
            package_path=str(_FOLDER),
            package_cache_path=str(_FOLDER),
        )
        return content


@contextmanager
def _descriptors(most: int | None) -> Iterator[None]:
    """Let the process have no descriptors but the first ones: nothing can be opened, and nobody be connected to.

    :param most: None: as many as before.
    """
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (soft if most is None else most, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


if __name__ == "__main__":
    main()
