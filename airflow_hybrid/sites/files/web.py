# Licensed under the Apache License, Version 2.0; see the LICENSE file.
"""Files from the web, which the location fetches itself or, if it cannot, gets through this machine; and files of
object stores, always through this machine.
"""

from __future__ import annotations

import asyncio
import hashlib
import logging
import time
import weakref
from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import IO
from urllib.parse import urljoin

from airflow_hybrid import settings
from airflow_hybrid.errors import TransferError
from airflow_hybrid.internet import MOST_REDIRECTS, WebAddress, open_url, refuse_addresses
from airflow_hybrid.printable import printable, redacted
from airflow_hybrid.sites.files import scripts
from airflow_hybrid.sites.files.objects import is_object, open_object
from airflow_hybrid.sites.files.requests import IN_PLACE
from airflow_hybrid.sites.files.store import incoming_root, is_content_addressed
from airflow_hybrid.sites.hosts.base import CHUNK_BYTES, Host

log = logging.getLogger(__name__)

OFFLINE_FOR_S = 600.0
"""how long a location that did not reach the web is not asked again"""
_NO_PROGRAM, _CHANGED = 71, 72
_NO_NETWORK = frozenset({5, 6, 7, 28, 35})
"""curl: proxy or host not resolved, not connected, timeout, no TLS"""
_OFFLINE: weakref.WeakKeyDictionary[Host, float] = weakref.WeakKeyDictionary()


@dataclass(frozen=True)
class _Copy:
    """A copy to make at a location.

    :ivar digest: SHA-1 that it must have; None if unknown.
    :ivar transfer: id of this transfer.
    """

    url: str
    path: str
    digest: str | None
    transfer: str

    @property
    def root(self) -> str:
        """The folder in which it is made."""
        return incoming_root(self.path)


async def fetch(host: Host, url: str, path: str, digest: str | None, transfer: str) -> tuple[str, int, str]:
    """Bring the file at ``url`` to ``path``; -> route (``in place``, ``fetch`` or ``relay``), bytes, SHA-1.

    :param digest: SHA-1 that it must have; None if unknown.
    :raises TransferError: the server refuses, or the content differs.
    """
    stored = is_object(url)
    if not stored:
        WebAddress.parse(url)
    copy = _Copy(url, path, digest, transfer)
    if is_content_addressed(path, digest):
        answer = await host.run(
            scripts.look([(path, True)]), timeout_s=settings.current().transfer_timeout, label="probe of a copy"
        )
        sight = scripts.parse_look(answer.stdout, 1)[0]
        if sight.digest == digest and sight.digest:
            return IN_PLACE, sight.size, sight.digest
    if not stored and time.monotonic() >= _OFFLINE.get(host, 0.0):
        fetched = await _fetch_there(host, copy)
        if fetched is not None:
            return fetched
        _OFFLINE[host] = time.monotonic() + OFFLINE_FOR_S
        log.info("%s does not reach the web: %s goes through this machine", host.title, redacted(url))
    return "relay", *await _relay(host, copy)


async def _fetch_there(host: Host, copy: _Copy) -> tuple[str, int, str] | None:
    """Let the location fetch it; -> route, bytes, SHA-1; None if it does not reach the web, or has no curl.

    :raises TransferError: the server refuses, the content differs, or the address is not allowed.
    """
    current = copy.url
    for _ in range(MOST_REDIRECTS + 1):
        address = WebAddress.parse(current)
        number = await _address_there(host, address)
        if number is None:
            return None
        result = await host.run(
            scripts.fetch(copy.root, copy.transfer, copy.path, copy.digest),
            stdin=scripts.curl_config(address, number),
            timeout_s=settings.current().transfer_timeout,
            label=f"fetch of {redacted(current)}",
        )
        if result.exit_code == _CHANGED:
            raise TransferError(
                f"the content of {copy.url} differs: {printable(result.err.strip())}, not {copy.digest}",
                where=host.title,
                retryable=False,
            )
        if result.exit_code in _NO_NETWORK | {_NO_PROGRAM}:
            return None
        if result.exit_code != 0:
            complaint = printable(result.err.strip()[-600:]) or f"exit code {result.exit_code}"
            raise TransferError(f"{copy.url} cannot be fetched: {complaint}", where=host.title)
        state, _, details = result.out.strip().partition(" ")
        if state != "redirect":
            size, sha1 = details.split()
            return (IN_PLACE if state == "same" else "fetch"), int(size), sha1
        current = urljoin(current, details)
    raise TransferError(f"{copy.url} is redirected more than {MOST_REDIRECTS} times", where=host.title, retryable=False)


async def _address_there(host: Host, address: WebAddress) -> str | None:
    """A web server's address, as the location resolves it; None if it cannot.

    :raises RefusedError: the address is not allowed.
    """
    if address.is_numeric:
        refuse_addresses(address.host, [address.host])
        return address.host
    result = await host.run(scripts.addresses(address.host), label=f"look-up of {address.host}")
    numbers = result.out.split()
    if result.exit_code != 0 or not numbers:
        return None
    refuse_addresses(address.host, numbers)
    return next((number for number in numbers if "." in number), numbers[0])


async def _relay(host: Host, copy: _Copy) -> tuple[int, str]:
    """Read here, write there; the copy is renamed only if both ends have the same digest."""
    url, discard = copy.url, scripts.discard(copy.root, copy.transfer)
    hasher = hashlib.sha1(usedforsecurity=False)
    count = 0

    async def data(response: IO[bytes]) -> AsyncIterator[bytes]:
        nonlocal count
        while block := await asyncio.to_thread(response.read, CHUNK_BYTES):
            hasher.update(block)
            count += len(block)
            yield block

    try:
        response, length = await asyncio.to_thread(_open, url)
    except (OSError, ValueError) as error:
        raise TransferError(f"{url} cannot be fetched, neither by {host.title} nor by this machine: {error}") from None
    try:
        result = await host.run(
            scripts.put(copy.root, copy.transfer),
            stdin=data(response),
            timeout_s=settings.current().transfer_timeout,
            label=f"receipt of {redacted(url)}",
        )
    except OSError as error:
        await host.run(discard, label="removal of a part")
        raise TransferError(f"{url} broke off: {error}") from None
    finally:
        response.close()
    result.check(f"{url} cannot be written")
    sha1 = hasher.hexdigest()
    problem = None
    if result.out.split() != [str(count), sha1]:
        problem = f"{url} did not arrive completely: {count} bytes were sent"
    elif length is not None and length != count:
        problem = f"{url} broke off after {count} of {length} bytes"
    elif copy.digest not in (None, sha1):
        problem = f"the content of {url} differs: SHA-1 {sha1}, not {copy.digest}"
    if problem:
        await host.run(discard, label="removal of a part")
        raise TransferError(problem, where=host.title)
    named = await host.run(scripts.commit(copy.root, copy.transfer, copy.path), label="rename of a copy")
    named.check("a copy cannot be renamed")
    return count, sha1


def read_start(url: str, size: int) -> bytes:
    """The first ``size`` bytes at a URL, read by this machine. Blocking.

    :raises TransferError: it cannot be read.
    """
    try:
        response, _ = _open(url)
        with response:
            return response.read(size)
    except (OSError, ValueError) as error:
        raise TransferError(f"{url} cannot be read: {error}") from None


def _open(url: str) -> tuple[IO[bytes], int | None]:
    if is_object(url):
        return open_object(url)
    response = open_url(url)
    length = response.headers.get("Content-Length")
    encoded = response.headers.get("Content-Encoding")
    return response, int(length) if length and not encoded else None
