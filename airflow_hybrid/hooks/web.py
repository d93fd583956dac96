# Licensed under the Apache License, Version 2.0; see the LICENSE file.
"""Files from the web: fetched by the location that needs them, or, where it cannot, through this machine; and those of
object stores, always through this machine.
"""

from __future__ import annotations

import asyncio
import hashlib
import ipaddress
import logging
import re
import socket
import time
import urllib.error
import urllib.request
import weakref
from collections.abc import AsyncIterator
from typing import IO, Any
from urllib.parse import urlsplit

from airflow_hybrid.errors import TransferError
from airflow_hybrid.hooks import transfer_scripts as scripts
from airflow_hybrid.hooks.base import CHUNK_BYTES, Host
from airflow_hybrid.hooks.objects import is_object, open_object
from airflow_hybrid.hooks.store import incoming_root, is_content_addressed
from airflow_hybrid.hooks.transfer import TRANSFER_TIMEOUT_S

log = logging.getLogger(__name__)

OFFLINE_FOR_S = 600.0
"""how long a location that did not get out is not asked to fetch again"""
READ_TIMEOUT_S = 60.0
_NO_PROGRAM, _CHANGED = 71, 72
_NO_NETWORK = frozenset({4, 5, 6, 7, 28, 35})
"""curl: proxy or host not resolved, not connected, timeout, no TLS; wget: 4 network failure"""
_OFFLINE: weakref.WeakKeyDictionary[Host, float] = weakref.WeakKeyDictionary()


async def fetch(host: Host, url: str, path: str, digest: str | None, token: str) -> tuple[str, int, str]:
    """Make the file at ``url`` be at ``path``; -> route (``in place``, ``fetch`` or ``relay``), bytes, SHA-1.

    :param digest: SHA-1 that it must have; None if not known.
    :raises TransferError: the server refuses, or the content is another.
    """
    stored = is_object(url)
    if not stored:
        check_url(url)
    root = incoming_root(path)
    if is_content_addressed(path, digest):
        found = await host.run(scripts.look([(path, True)]), timeout_s=TRANSFER_TIMEOUT_S, label="probe of a copy")
        sight = scripts.parse_look(found.stdout, 1)[0]
        if sight.digest == digest and sight.digest:
            return "in place", sight.size, sight.digest
    if not stored and time.monotonic() >= _OFFLINE.get(host, 0.0):
        text = scripts.fetch(url, root, token, path, digest)
        result = await host.run(text, timeout_s=TRANSFER_TIMEOUT_S, label=f"fetch of {url}")
        if result.exit_code == 0:
            state, size, got = result.out.split()
            return ("in place" if state == "same" else "fetch"), int(size), got
        if result.exit_code == _CHANGED:
            raise _final(f"{url} has another content: {result.err.strip()}, not {digest}", host)
        if result.exit_code not in _NO_NETWORK | {_NO_PROGRAM}:
            raise TransferError(
                f"{url} cannot be fetched: {result.err.strip()[-600:] or f'exit code {result.exit_code}'}",
                where=host.title,
            )
        _OFFLINE[host] = time.monotonic() + OFFLINE_FOR_S
        log.info("%s does not get out to the web: %s goes through this machine", host.title, url)
    return "relay", *await _relay(host, url, path, digest, token, root)


async def _relay(host: Host, url: str, path: str, digest: str | None, token: str, root: str) -> tuple[int, str]:
    """Read here, write there; the copy gets its name only when both ends agree on its digest."""
    seen = hashlib.sha1(usedforsecurity=False)
    count = 0

    async def data(response: IO[bytes]) -> AsyncIterator[bytes]:
        nonlocal count
        while block := await asyncio.to_thread(response.read, CHUNK_BYTES):
            seen.update(block)
            count += len(block)
            yield block

    try:
        response, length = await asyncio.to_thread(_open, url)
    except (OSError, ValueError) as error:
        raise TransferError(f"{url} cannot be fetched, neither by {host.title} nor by this machine: {error}") from None
    try:
        result = await host.run(
            scripts.put(root, token), stdin=data(response), timeout_s=TRANSFER_TIMEOUT_S, label=f"receipt of {url}"
        )
    except OSError as error:
        await host.run(scripts.discard(root, token), label="removal of a part")
        raise TransferError(f"{url} broke off: {error}") from None
    finally:
        response.close()
    result.check(f"{url} cannot be written")
    got = seen.hexdigest()
    problem = None
    if result.out.split() != [str(count), got]:
        problem = f"{url} did not arrive whole: {count} bytes sent"
    elif length is not None and length != count:
        problem = f"{url} broke off after {count} of {length} bytes"
    elif digest is not None and digest != got:
        problem = f"{url} has another content: SHA-1 {got}, not {digest}"
    if problem:
        await host.run(scripts.discard(root, token), label="removal of a part")
        raise TransferError(problem, where=host.title)
    (await host.run(scripts.commit(root, token, path), label="rename of a copy")).check("cannot name a copy")
    return count, got


def read_start(url: str, size: int) -> bytes:
    """The first ``size`` bytes of what is at an URL, read by this machine. Blocking.

    :raises TransferError: it cannot be read.
    """
    try:
        response, _ = _open(url)
        with response:
            return response.read(size)
    except (OSError, ValueError) as error:
        raise TransferError(f"{url} cannot be read: {error}") from None


def check_url(url: str) -> None:
    """:raises TransferError: not http or https, or not a plain URL."""
    parts = urlsplit(url)
    if parts.scheme not in ("http", "https") or not parts.hostname or re.search(r"[\s\x00-\x1f\x7f]", url):
        raise TransferError(f"not an http(s) URL: {url!r}")


class _Checked(urllib.request.HTTPRedirectHandler):
    """Follows redirects to the web only."""

    def redirect_request(self, req: Any, fp: Any, code: int, msg: str, headers: Any, newurl: str) -> Any:
        _refuse_metadata_service(newurl)
        return super().redirect_request(req, fp, code, msg, headers, newurl)


def _open(url: str) -> tuple[IO[bytes], int | None]:
    if is_object(url):
        return open_object(url)
    _refuse_metadata_service(url)
    opener = urllib.request.build_opener(_Checked)
    response = opener.open(url, timeout=READ_TIMEOUT_S)
    length = response.headers.get("Content-Length")
    encoded = response.headers.get("Content-Encoding")
    return response, int(length) if length and not encoded else None


def _refuse_metadata_service(url: str) -> None:
    """Link-local addresses are those of cloud metadata services: their answers are this machine's secrets."""
    check_url(url)
    parts = urlsplit(url)
    port = parts.port or (443 if parts.scheme == "https" else 80)
    for *_, address in socket.getaddrinfo(parts.hostname, port, type=socket.SOCK_STREAM):
        if ipaddress.ip_address(str(address[0]).partition("%")[0]).is_link_local:
            raise ValueError(f"{parts.hostname} is a link-local address, which is not fetched from here")


def _final(text: str, host: Host) -> TransferError:
    error = TransferError(text, where=host.title)
    error.retryable = False
    return error
