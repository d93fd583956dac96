# Licensed under the Apache License, Version 2.0; see the LICENSE file.
"""Outputs as answers: a file as it is, several as one tar stream. Memory is bounded by the size of a chunk."""

from __future__ import annotations

import tarfile
from collections.abc import Callable, Iterable, Iterator
from urllib.parse import quote

from fastapi.responses import StreamingResponse

from airflow_hybrid.web.folder import OpenOutput, RunFolder
from airflow_hybrid.web.recorded import OutputFile

_BINARY = "application/octet-stream"
_BLOCK = tarfile.BLOCKSIZE


def file_answer(output: OpenOutput, name: str) -> StreamingResponse:
    """An open file, which is closed at the end."""
    headers = {"Content-Disposition": attachment(name), "Content-Length": str(output.status.st_size)}
    return StreamingResponse(_content(output), media_type=_BINARY, headers=headers)


def tar_answer(
    opened: Callable[[], RunFolder], files: Iterable[OutputFile], start: str, name: str
) -> StreamingResponse:
    """Files and folders as a tar stream.

    :param opened: opens the run's folder; called when the stream begins.
    :param start: the part of their paths that is left out.
    """
    headers = {"Content-Disposition": attachment(name)}
    return StreamingResponse(_tar(opened, files, start), media_type=_BINARY, headers=headers)


def attachment(name: str) -> str:
    """``Content-Disposition`` (RFC 6266) for a name that a job chose: one visible name, not hidden, without folders."""
    visible = "".join(letter if letter.isprintable() and letter not in '/\\"' else "_" for letter in name)
    if visible.startswith("."):
        visible = "_" + visible[1:]
    plain = "".join(letter if letter.isascii() and letter not in "%;" else "_" for letter in visible)
    return f"attachment; filename=\"{plain}\"; filename*=UTF-8''{quote(visible, safe='')}"


def _content(output: OpenOutput) -> Iterator[bytes]:
    with output.stream:
        yield from output.chunks()


def _tar(opened: Callable[[], RunFolder], files: Iterable[OutputFile], start: str) -> Iterator[bytes]:
    with opened() as folder:
        for file in files:
            info = tarfile.TarInfo(file.path.removeprefix(start))
            if file.folder:
                info.type, info.mode = tarfile.DIRTYPE, 0o755
                yield _header(info)
                continue
            output = folder.open(file)
            info.size, info.mtime = output.status.st_size, int(output.status.st_mtime)
            info.mode = output.status.st_mode & 0o755
            yield _header(info)
            yield from _content(output)
            yield b"\0" * (-info.size % _BLOCK)
    # without these two blocks a reader sees that the stream was cut off
    yield b"\0" * (2 * _BLOCK)


def _header(info: tarfile.TarInfo) -> bytes:
    return info.tobuf(tarfile.PAX_FORMAT, "utf-8", "surrogateescape")
