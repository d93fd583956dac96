# Licensed under the Apache License, Version 2.0; see the LICENSE file.
"""What may be fetched from the web, and how: a name is looked up once, its addresses are checked, and one is used.

The URLs of inputs and documents are not trusted. A cloud's metadata service gives the machine's credentials to any
program on the machine that asks at a special address. We never connect to it, whatever name or form the address has,
and whatever redirects to it.
"""

from __future__ import annotations

import base64
import http.client
import ipaddress
import re
import socket
import urllib.error
import urllib.request
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import IO, Any, cast
from urllib.parse import unquote, urlsplit, urlunsplit

from airflow_hybrid import settings
from airflow_hybrid.errors import TransferError

MOST_REDIRECTS = 5
_NAME = re.compile(r"[a-z0-9_]([a-z0-9_.-]*[a-z0-9_])?")
_METADATA = tuple(
    ipaddress.ip_network(network)
    for network in (
        "169.254.0.0/16", "fe80::/10",  # link-local: most clouds
        "fd00:ec2::254/128", "fd20:ce::254/128",  # AWS, Google Cloud
        "100.100.100.200/32", "168.63.129.16/32", "192.0.0.192/32",  # Alibaba, Azure, Oracle
        "0.0.0.0/8", "::/128",  # "this host": means any of its addresses
    )
)  # fmt: skip
_HOLDS_IPV4 = tuple(
    ipaddress.ip_network(network)
    for network in ("::ffff:0:0/96", "::ffff:0:0:0/96", "64:ff9b::/96", "64:ff9b:1::/48", "::/96")
)
"""IPv6 addresses whose last 32 bits are the actual IPv4 address: mapped, SIIT, NAT64, compatible"""
_NAT64_OF_SITES = ipaddress.ip_network("64:ff9b:1::/48")
"""RFC 8215: the address may be at other positions, too (RFC 6052, 2.2)"""

_Address = ipaddress.IPv4Address | ipaddress.IPv6Address


class RefusedError(TransferError):
    """An address or URL must not be fetched."""

    retryable = False


@dataclass(frozen=True)
class WebAddress:
    """An ``http:`` or ``https:`` URL, parsed unambiguously.

    :ivar url: rebuilt from its parts, so that every program parses it in the same way; without user and password.
    :ivar host: name or numeric address, in lower case; ``user``: ``name:password``, or ``""``.
    """

    url: str
    scheme: str
    host: str
    port: int
    user: str

    @classmethod
    def parse(cls, url: str) -> WebAddress:
        """:raises RefusedError: not http or https, or not a plain URL."""
        try:
            parts = urlsplit(url)
            host, port = (parts.hostname or "").rstrip("."), parts.port
        except ValueError:
            raise RefusedError(f"not an http(s) URL: {url!r}") from None
        if parts.scheme not in ("http", "https") or re.search(r"[\s\x00-\x1f\x7f\\]", url):
            raise RefusedError(f"not an http(s) URL: {url!r}")
        host = _plain_host(host)
        if not host:
            raise RefusedError(f"the URL {url!r} has no valid host")
        shown = f"[{host}]" if ":" in host else host
        netloc = shown if port is None else f"{shown}:{port}"
        user = ":".join(unquote(part or "") for part in (parts.username, parts.password)) if "@" in parts.netloc else ""
        plain = urlunsplit((parts.scheme, netloc, parts.path or "/", parts.query, ""))
        return cls(plain, parts.scheme, host, port or (443 if parts.scheme == "https" else 80), user)

    @property
    def is_numeric(self) -> bool:
        return _numeric(self.host) is not None


def _plain_host(host: str) -> str:
    """A host in the form that all programs read the same way: dotted numbers, ASCII names; ``""``: none."""
    if ":" in host:
        number = _numeric(host)
        return str(number) if number is not None and "%" not in host else ""
    try:
        name = host.encode("ascii").decode() if host.isascii() else host.encode("idna").decode()
    except UnicodeError:
        return ""
    name = name.lower().rstrip(".")
    if not _NAME.fullmatch(name):
        return ""
    try:
        return socket.inet_ntoa(socket.inet_aton(name))  # 2852039166, 0xa9fea9fe, 0251.0376.0251.0376
    except OSError:
        return name


def _numeric(text: str) -> _Address | None:
    try:
        return ipaddress.ip_address(text)
    except ValueError:
        return None


def refuse_addresses(host: str, addresses: Iterable[str]) -> None:
    """:raises RefusedError: one of the host's addresses is that of a metadata service."""
    for text in addresses:
        number = _numeric(text.partition("%")[0])
        if number is None:
            raise RefusedError(f"{host} has the address {text!r}, which is not valid")
        problem = _problem(number)
        if problem:
            title = host if host == text else f"{host} ({text})"
            raise RefusedError(f"{title} is {problem}: nothing is fetched from there")


def _problem(address: _Address) -> str | None:
    for inner in (address, *_inner(address)):
        if any(inner in network for network in _METADATA if network.version == inner.version):
            return "a link-local address, or that of a cloud's metadata service"
        if inner.is_multicast:
            return "a multicast address"
        if settings.current().public_addresses_only and not inner.is_global:
            return f"not a public address ({settings.title_of('public_addresses_only')} is set)"
    return None


def _inner(address: _Address) -> Iterator[ipaddress.IPv4Address]:
    """The IPv4 addresses inside an IPv6 address."""
    if isinstance(address, ipaddress.IPv4Address):
        return
    if address.sixtofour is not None:
        yield address.sixtofour
    if address.teredo is not None:
        yield from address.teredo
    number = int(address)
    if any(address in network for network in _HOLDS_IPV4) and number > 1:
        yield ipaddress.IPv4Address(number & 0xFFFFFFFF)
    if (number >> 32) & 0xFDFFFFFF == 0x00005EFE:  # ISATAP (RFC 5214), in any network
        yield ipaddress.IPv4Address(number & 0xFFFFFFFF)
    if address in _NAT64_OF_SITES:
        # after a prefix of 48, 56 or 64 bits; bits 64 to 71 are skipped
        upper, lower = number >> 64, number >> 24 & 0xFFFFFFFFFF
        for inner in ((upper & 0xFFFF) << 16 | lower >> 16 & 0xFFFF, (upper & 0xFF) << 24 | lower >> 8, lower):
            if inner & 0xFFFFFFFF >= 1 << 24:  # skip zeros: no address is there
                yield ipaddress.IPv4Address(inner & 0xFFFFFFFF)


# --- fetching from this machine ------------------------------------------------------------------------------------


def _connect(address: tuple[str, int], timeout: Any, source: Any = None) -> socket.socket:
    """As :func:`socket.create_connection`, to a checked address: the name is not looked up again."""
    host, port = address
    answers = socket.getaddrinfo(host.strip("[]"), port, type=socket.SOCK_STREAM)
    numbers = list(dict.fromkeys(str(entry[4][0]) for entry in answers))
    refuse_addresses(host, numbers)
    problem: OSError | None = None
    for number in numbers:
        try:
            return socket.create_connection((number, port), timeout, source)
        except OSError as error:
            problem = error
    raise problem or OSError(f"{host} has no address")


class _Http(http.client.HTTPConnection):
    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._create_connection = _connect


class _Https(http.client.HTTPSConnection):
    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._create_connection = _connect


class _HttpHandler(urllib.request.HTTPHandler):
    def http_open(self, req: urllib.request.Request) -> http.client.HTTPResponse:
        return self.do_open(cast(Any, _Http), req)


class _HttpsHandler(urllib.request.HTTPSHandler):
    def https_open(self, req: urllib.request.Request) -> http.client.HTTPResponse:
        return self.do_open(cast(Any, _Https), req)


class _Redirects(urllib.request.HTTPRedirectHandler):
    max_redirections = MOST_REDIRECTS

    def __init__(self, judge: Callable[[str], None]) -> None:
        self._judge = judge

    def redirect_request(  # noqa: PLR0913 - urllib's own signature
        self, req: Any, fp: Any, code: int, msg: str, headers: Any, newurl: str
    ) -> Any:
        self._judge(newurl)
        return super().redirect_request(req, fp, code, msg, headers, _judged(newurl).url)


def _judged(url: str) -> WebAddress:
    """The parsed URL; if a proxy will connect, its name is looked up and checked here.

    :raises RefusedError: as :func:`open_url`.
    """
    address = WebAddress.parse(url)
    proxied = address.scheme in urllib.request.getproxies() and not urllib.request.proxy_bypass(address.host)
    if address.is_numeric:
        refuse_addresses(address.host, [address.host])
    elif proxied:
        try:
            answers = socket.getaddrinfo(address.host, address.port, type=socket.SOCK_STREAM)
        except OSError:
            return address  # only the proxy knows the name
        refuse_addresses(address.host, (str(entry[4][0]) for entry in answers))
    return address


def open_url(url: str, *, judge: Callable[[str], None] = lambda url: None, method: str = "GET") -> Any:
    """Open an ``http(s)`` URL from this machine; -> :class:`http.client.HTTPResponse`. Blocking.

    Every address is checked, including those of redirects, and only a checked address is used. (A proxy from the
    environment connects by itself: it has to refuse link-local addresses itself.)

    :param judge: raises an exception for a URL, after a redirect, that must not be opened.
    :raises RefusedError: not http(s), or an address that must not be used.
    :raises OSError: it cannot be opened.
    """
    address = _judged(url)
    opener = urllib.request.OpenerDirector()
    for handler in (
        urllib.request.ProxyHandler(),
        _HttpHandler(),
        _HttpsHandler(),
        _Redirects(judge),
        urllib.request.HTTPErrorProcessor(),
        urllib.request.HTTPDefaultErrorHandler(),
    ):
        opener.add_handler(handler)
    request = urllib.request.Request(address.url, method=method)
    if address.user:
        token = base64.b64encode(address.user.encode()).decode()
        request.add_unredirected_header("Authorization", f"Basic {token}")
    try:
        return opener.open(request, timeout=settings.current().web_timeout)
    except urllib.error.HTTPError as error:
        raise OSError(f"the server says {error.code} {error.reason}") from None
    except urllib.error.URLError as error:
        raise (error.reason if isinstance(error.reason, OSError) else OSError(str(error.reason))) from None
    except http.client.HTTPException as error:
        raise OSError(f"the server's answer is not HTTP: {type(error).__name__}") from None


def read_all(source: IO[bytes], limit: int, title: str) -> bytes:
    """The whole content of a stream.

    :raises RefusedError: more than ``limit`` bytes.
    """
    data = source.read(limit + 1)
    if len(data) > limit:
        raise RefusedError(f"{title} has more than {limit} bytes")
    return data
