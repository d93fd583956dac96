# Licensed under the Apache License, Version 2.0; see the LICENSE file.
"""Metadata services, link-local addresses, redirects to them, and secrets of URLs: with a real web server."""

from __future__ import annotations

import http.server
import io
import socket
import threading
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from airflow_hybrid import internet
from airflow_hybrid.cwl.documents.compile import compile_document
from airflow_hybrid.errors import CwlError, TransferError
from airflow_hybrid.internet import RefusedError, WebAddress, open_url, refuse_addresses
from airflow_hybrid.sites.files import scripts, web
from airflow_hybrid.sites.hosts.local import LocalHost

PROBLEM = "a link-local address, or that of a cloud's metadata service: nothing is fetched from there"


class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        server: Any = self.server
        server.asked.append((self.path, self.headers.get("Authorization")))
        if self.path.startswith("/to/"):
            self.send_response(302)
            self.send_header("Location", server.target)
            self.end_headers()
            return
        body = server.pages.get(self.path.partition("?")[0])
        self.send_response(404 if body is None else 200)
        self.send_header("Content-Length", str(len(body or b"")))
        self.end_headers()
        self.wfile.write(body or b"")

    do_HEAD = do_GET  # noqa: N815

    def log_message(self, *args: Any) -> None:
        pass


@pytest.fixture
def server() -> Iterator[Any]:
    made: Any = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    made.asked, made.pages, made.target = [], {"/page": b"from the web"}, "/page"
    threading.Thread(target=made.serve_forever, daemon=True).start()
    made.base = f"http://localhost:{made.server_port}"
    yield made
    made.shutdown()
    made.server_close()


async def fetched(url: str, target: Path) -> tuple[str, int, str]:
    return await web.fetch(LocalHost("here"), url, str(target), None, "0123")


ADDRESSES = [
    ("http://169.254.169.254/latest", "169.254.169.254"),
    ("http://2852039166/", "169.254.169.254"),
    ("http://0xA9FEA9FE/", "169.254.169.254"),
    ("http://0251.0376.0251.0376/", "169.254.169.254"),
    ("http://169.254.43518/", "169.254.169.254"),
    ("http://169.254.169.254./", "169.254.169.254"),
    ("http://\uff11\uff16\uff19.254.169.254/", "169.254.169.254"),
    ("http://[::ffff:169.254.169.254]/", "::ffff:169.254.169.254"),
    ("http://[::ffff:a9fe:a9fe]/", "::ffff:169.254.169.254"),
    ("http://[64:ff9b::a9fe:a9fe]/", "64:ff9b::a9fe:a9fe"),
    ("http://[2002:a9fe:a9fe::]/", "2002:a9fe:a9fe::"),
    ("http://[fe80::1]/", "fe80::1"),
    ("http://[febf::1]/", "febf::1"),
    ("http://[fd00:ec2::254]/", "fd00:ec2::254"),
    ("http://100.100.100.200/", "100.100.100.200"),
    ("http://0.0.0.0:80/", "0.0.0.0"),
    ("http://0/", "0.0.0.0"),
    ("http://[::]/", "::"),
    ("http://user@169.254.169.254:80@169.254.169.254/", "169.254.169.254"),
]


@pytest.mark.parametrize(("url", "shown"), ADDRESSES)
async def test_no_form_of_such_an_address_is_fetched(url: str, shown: str, tmp_path: Path) -> None:
    attempts: list[Callable[[], Awaitable[object]]] = [lambda: fetched(url, tmp_path / "f"), lambda: _opened(url)]
    for attempt in attempts:
        with pytest.raises(RefusedError) as error:
            await attempt()
        assert str(error.value).replace("::ffff:a9fe:a9fe", "::ffff:169.254.169.254") == f"{shown} is {PROBLEM}"
        assert not error.value.retryable
    assert not (tmp_path / "f").exists()


async def _opened(url: str) -> object:
    return open_url(url)


@pytest.mark.parametrize(
    "url", ["http://a b/", "http://a\\@169.254.169.254/", "ftp://h/", "file:///etc/passwd", "http://[fe80::1%25eth0]/",
            "http:///x", "http://a\n/", "http://h:port/", "http://-oProxy/", "http://a;b/"],
)  # fmt: skip
async def test_what_programs_could_read_in_two_ways_is_no_url(url: str, tmp_path: Path) -> None:
    with pytest.raises(TransferError):
        await fetched(url, tmp_path / "f")
    with pytest.raises(RefusedError):
        open_url(url)


@pytest.mark.parametrize(
    "target", ["http://169.254.169.254/x", "http://0xA9FEA9FE/", "//[fe80::1]/x", "http://[::ffff:169.254.169.254]/"]
)
async def test_a_redirect_there_is_refused_on_every_way(server: Any, target: str, tmp_path: Path) -> None:
    server.target = target
    with pytest.raises(RefusedError, match=PROBLEM):
        await fetched(f"{server.base}/to/x", tmp_path / "f")
    with pytest.raises(RefusedError, match=PROBLEM):
        web.read_start(f"{server.base}/to/x", 10)
    assert not (tmp_path / "f").exists()


@pytest.mark.parametrize("target", ["file:///etc/passwd", "ftp://127.0.0.1/x"])
async def test_a_redirect_out_of_the_web_is_refused(server: Any, target: str, tmp_path: Path) -> None:
    server.target = target
    with pytest.raises(RefusedError) as error:
        await fetched(f"{server.base}/to/x", tmp_path / "f")
    assert str(error.value) == f"not an http(s) URL: {target!r}"
    with pytest.raises((OSError, RefusedError)):
        open_url(f"{server.base}/to/x")


async def test_redirects_are_followed_a_few_times(server: Any, tmp_path: Path) -> None:
    assert (await fetched(f"{server.base}/to/page", tmp_path / "f"))[:2] == ("fetch", 12)
    assert (tmp_path / "f").read_bytes() == b"from the web"
    assert web.read_start(f"{server.base}/to/page", 4) == b"from"
    server.target = "/to/again"
    with pytest.raises(TransferError) as error:
        await fetched(f"{server.base}/to/again", tmp_path / "g")
    assert str(error.value) == f"here (localhost): {server.base}/to/again is redirected more than 5 times"


async def test_a_name_is_looked_up_once_and_judged(
    server: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """A name server that first gives a harmless address, and then another one."""
    real, asked = socket.getaddrinfo, []

    def rebinding(host: str, port: int, *args: Any, **kwargs: Any) -> Any:
        if host == "rebinding.example":
            asked.append(host)
            return real("127.0.0.1" if len(asked) % 2 else "169.254.169.254", port, *args, **kwargs)
        return real(host, port, *args, **kwargs)

    monkeypatch.setattr(socket, "getaddrinfo", rebinding)
    with open_url(f"http://rebinding.example:{server.server_port}/page") as response:
        assert response.read() == b"from the web"
    assert asked == ["rebinding.example"]
    with pytest.raises(RefusedError) as error:
        open_url(f"http://rebinding.example:{server.server_port}/page")
    assert str(error.value) == f"rebinding.example (169.254.169.254) is {PROBLEM}"


async def test_a_site_uses_the_address_that_was_judged(server: Any, tmp_path: Path) -> None:
    """What curl is told: no name server is asked again (no such name is known here)."""
    address = WebAddress.parse(f"http://Only.In.Curl.example:{server.server_port}/page?a={{1,2}}[1-3]")
    result = await LocalHost().run(
        scripts.fetch(str(tmp_path), "1", f"{tmp_path}/f", None), stdin=scripts.curl_config(address, "127.0.0.1")
    )
    assert result.out.split()[:2] == ["ok", "12"] and server.asked == [("/page?a={1,2}[1-3]", None)]


async def test_a_site_that_knows_no_such_name_leaves_it_to_this_machine(
    server: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    real = socket.getaddrinfo
    monkeypatch.setattr(
        socket, "getaddrinfo", lambda host, *a, **k: real("127.0.0.1" if host == "nowhere.invalid" else host, *a, **k)
    )
    assert (await fetched(f"http://nowhere.invalid:{server.server_port}/page", tmp_path / "f"))[0] == "relay"


def test_names_of_every_kind_are_judged_by_all_their_addresses() -> None:
    refuse_addresses("lab", ["10.0.0.1", "127.0.0.1", "::1", "fd12::1", "192.168.0.9"])
    with pytest.raises(RefusedError) as error:
        refuse_addresses("lab", ["10.0.0.1", "169.254.1.1"])
    assert str(error.value) == f"lab (169.254.1.1) is {PROBLEM}"


def test_private_addresses_can_be_forbidden(server: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AIRFLOW__AIRFLOW_HYBRID__PUBLIC_ADDRESSES_ONLY", "true")
    with pytest.raises(RefusedError) as error:
        open_url(f"http://127.0.0.1:{server.server_port}/page")
    assert str(error.value) == (
        "127.0.0.1 is not a public address ([airflow_hybrid] public_addresses_only is set): nothing is fetched from"
        " there"
    )


async def test_secrets_of_a_url_are_in_no_command_line_message_or_log(
    server: Any, tmp_path: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    host, ran = LocalHost("here"), []
    run = host.run

    async def seen(command: str, **kwargs: Any) -> Any:
        ran.append(f"{command} {kwargs.get('label')}")
        return await run(command, **kwargs)

    monkeypatch.setattr(host, "run", seen)
    url = f"http://me:pa%3Ass%22w@localhost:{server.server_port}/page?X-Amz-Signature=s1gn"
    assert (await web.fetch(host, url, str(tmp_path / "f"), None, "1"))[0] == "fetch"
    assert server.asked == [("/page?X-Amz-Signature=s1gn", "Basic bWU6cGE6c3Midw==")]
    with pytest.raises(TransferError) as error:
        await web.fetch(host, url.replace("/page", "/gone"), str(tmp_path / "g"), None, "1")
    assert str(error.value) == (
        f"here (localhost): http://***@localhost:{server.server_port}/gone?X-Amz-Signature=*** cannot be fetched: "
        "curl: (22) The requested URL returned error: 404"
    )
    everything = "\n".join([*ran, caplog.text, str(error.value)])
    assert "s1gn" not in everything and "pa%3A" not in everything and "pa:ss" not in everything
    with open_url(url) as response:
        assert response.read() == b"from the web"
    assert server.asked[-1] == ("/page?X-Amz-Signature=s1gn", "Basic bWU6cGE6c3Midw==")


def test_a_documents_redirects_stay_where_it_may_read(
    server: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    tool = "{cwlVersion: v1.2, class: CommandLineTool, baseCommand: 'true', inputs: [], outputs: []}"
    server.pages["/tool.cwl"] = tool.encode()
    document = tmp_path / "main.cwl"
    document.write_text(
        "{cwlVersion: v1.2, class: Workflow, inputs: [], outputs: [],"
        f" steps: {{s: {{run: '{server.base}/to/tool.cwl', in: [], out: []}}}}}}"
    )
    monkeypatch.setenv(
        "AIRFLOW__AIRFLOW_HYBRID__DOCUMENT_ROOTS", f"{tmp_path} {server.base}/to/ {server.base}/tool.cwl"
    )
    server.target = "http://169.254.169.254/latest"
    with pytest.raises(CwlError, match=r"a document may not load http://169\.254\.169\.254/latest"):
        compile_document(str(document), cache_dir=tmp_path / "cache")
    monkeypatch.setenv(
        "AIRFLOW__AIRFLOW_HYBRID__DOCUMENT_ROOTS", f"{tmp_path} {server.base}/to/ http://169.254.169.254/"
    )
    with pytest.raises(CwlError, match=PROBLEM):
        compile_document(str(document), cache_dir=tmp_path / "cache")


def test_most_of_an_answer_is_bounded() -> None:
    with pytest.raises(RefusedError) as error:
        internet.read_all(io.BytesIO(b"12345"), 4, "it")
    assert str(error.value) == "it has more than 4 bytes"


@pytest.mark.parametrize(
    "address",
    [
        "::ffff:0:a9fe:a9fe",
        "64:ff9b:1::a9fe:a9fe",
        "64:ff9b:1:a9fe:a9:fe00::",
        "64:ff9b:1:a9:fe:a9fe::",
        "64:ff9b:1:0:a9:fea9:fe00:0",
        "2001:db8::5efe:a9fe:a9fe",
        "2001:db8::200:5efe:a9fe:a9fe",
    ],
)
def test_an_ipv4_address_inside_of_another_form_is_judged(address: str) -> None:
    with pytest.raises(RefusedError) as error:
        refuse_addresses(address, [address])
    assert error.value.message == f"{address} is {PROBLEM}"


@pytest.mark.parametrize("address", ["64:ff9b:1::5db8:d822", "::ffff:0:5db8:d822", "2001:db8::5efe:5db8:d822"])
def test_a_public_ipv4_address_inside_of_another_form_is_none_of_these(address: str) -> None:
    refuse_addresses(address, [address])
