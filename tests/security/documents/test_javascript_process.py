# Licensed under the Apache License, Version 2.0; see the LICENSE file.
"""What keeps the JavaScript of documents in: the realm alone, and the kernel alone, hold against known ways out."""

from __future__ import annotations

import json
import os
import platform
import re
import secrets
import socket
import struct
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from cwl_utils import sandboxjs
from cwl_utils.errors import JavascriptException

from airflow_hybrid.cwl.javascript import confined
from airflow_hybrid.cwl.javascript import node as javascript
from tests.needs import unavailable

KINDS = ["file", "abstract", "loopback"]


@dataclass
class Listener:
    """A server on a socket, and what it was sent."""

    servers: list[socket.socket]
    where: str
    """the argument of Node's ``connect``, as JSON"""
    got: list[bytes] = field(default_factory=list)

    def listen(self, server: socket.socket) -> None:
        while True:
            try:
                client, _ = server.accept()
            except OSError:
                return
            self.got.append(b"connected: " + client.recv(100))
            client.close()


@pytest.fixture(params=KINDS)
def listener(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Listener]:
    where: dict[str, Any]
    if request.param == "loopback":
        servers = [socket.create_server(("127.0.0.1", 0))]
        where = {"host": "127.0.0.1", "port": servers[0].getsockname()[1]}
    else:
        name = f"\0airflow-hybrid-{secrets.token_hex(8)}" if request.param == "abstract" else str(tmp_path / "d.sock")
        # some versions of libuv give the whole of sun_path as the name of an abstract socket
        names = [name, name.ljust(108, "\0")] if request.param == "abstract" else [name]
        servers = []
        for address in names:
            servers.append(socket.socket(socket.AF_UNIX))
            servers[-1].bind(address)
            servers[-1].listen(8)
        where = {"path": name}
    result = Listener(servers, json.dumps(where))
    for server in servers:
        threading.Thread(target=result.listen, args=(server,), daemon=True).start()
    yield result
    for server in servers:
        server.shutdown(socket.SHUT_RDWR)
        server.close()


@pytest.fixture
def victim() -> Iterator[subprocess.Popen[bytes]]:
    process = subprocess.Popen(["sleep", "600"])
    yield process
    process.kill()
    process.wait()


@pytest.fixture(autouse=True)
def fresh(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sandboxjs.NodeJSEngine.localdata, "procs", {}, raising=False)


def needs_the_kernel() -> None:
    if not confined.available():
        unavailable("this test", "the kernel's filter of system calls", "run it on Linux, x86_64 or aarch64")


def only_node(monkeypatch: pytest.MonkeyPatch) -> None:
    """No namespace, and none of Node's permissions: what holds then is the realm or the kernel."""
    flags = [flag for flag in javascript.node_command() if "permission" not in flag]
    monkeypatch.setattr(javascript, "node_command", lambda: tuple(flags))
    monkeypatch.setattr(javascript, "without_network", tuple)


def no_kernel(monkeypatch: pytest.MonkeyPatch) -> None:
    only_node(monkeypatch)
    monkeypatch.setattr(javascript, "by_the_kernel", tuple)


# a realm as node's manual shows it, in which import() gives objects of the outer one, which is as it was made
OPEN_REALM = """
const vm = require("vm");
let incoming = "";
process.stdin.setEncoding("utf8");
process.stdin.on("data", function (chunk) {
  incoming += chunk;
  const i = incoming.indexOf("\\n");
  if (i < 0) return;
  const line = incoming.substring(0, i);
  incoming = incoming.substring(i + 1);
  try {
    const value = vm.runInNewContext(JSON.parse(line), Object.create(null), {microtaskMode: "afterEvaluate"});
    process.stdout.write(JSON.stringify(value) + "\\n");
  } catch (error) { process.stderr.write(String(error) + "\\n"); }
  process.stdout.write(END);
  process.stderr.write(END);
});
"""


def open_realm(monkeypatch: pytest.MonkeyPatch) -> None:
    """The realm keeps nothing in."""
    only_node(monkeypatch)
    flags = [flag for flag in javascript.node_command() if flag != "--frozen-intrinsics"]
    monkeypatch.setattr(javascript, "node_command", lambda: tuple(flags))
    end = json.dumps(javascript._END)
    monkeypatch.setattr(javascript, "program", lambda with_context: f"const END = {end};\n{OPEN_REALM}")


# from a rejected import() to the outer realm's Object, whose prototype's setter gets the handle of Node's own pipe
OUT = """
var o = {r: [], toJSON() { return this.r }};
import('x').catch(function (err) {
  try {
    var O = err;
    for (var n; (n = Object.getPrototypeOf(O)) !== null; O = n);
    var P = O.constructor, EP = err;
    while (!(P.hasOwn(EP, 'message') && EP.constructor.name === 'Error')) EP = P.getPrototypeOf(EP);
    %s
  } catch (x) { o.r.push('' + x) }
});
return o;
"""
STEPS = [
    """var S = P.S = {data: ''};
    P.defineProperty(O, 'handle',
      {configurable: true, get() {}, set(h) { delete O.handle; this.handle = S.h = h; }});""",
    """var S = P.S, h = S.h;
    for (let s of P.getOwnPropertySymbols(h)) if (String(s) === 'Symbol(owner_symbol)') S.sock = h[s];
    S.nd = P.getOwnPropertyDescriptor(EP, 'name');
    P.defineProperty(EP, 'name', {configurable: true, get() { return 'DeprecationWarning' }, set(v) {}});
    P.defineProperty(O, 'noDeprecation', {configurable: true, get() { S.process = S.process || this; }});
    for (let i = 0; i < 15; i++) S.sock.on('foo', function () {});""",
    """var S = P.S, N = S.sock.constructor, s = new N();
    delete O.noDeprecation; P.defineProperty(EP, 'name', S.nd);
    s.on('error', function (x) { S.data += x.code });
    s.connect(WHERE, function () { s.write('GET /containers/json') });""",
    """o.r.push(P.S.data, typeof P.S.process); P.S.process._kill(VICTIM, 9);""",
]


def escape(where: str, victim: int) -> list[Any]:
    """The values of the steps of the way out, which need one process."""
    engine = javascript.NodeEngine()
    values = []
    for step in STEPS:
        try:
            values.append(engine.eval("{" + OUT % step.replace("WHERE", where).replace("VICTIM", str(victim)) + "}"))
        except JavascriptException as error:
            values.append(str(error).split(": {")[0])
        time.sleep(0.3)
    return values


def test_the_way_out_leads_out_where_nothing_keeps_it_in(
    monkeypatch: pytest.MonkeyPatch, listener: Listener, victim: subprocess.Popen[bytes]
) -> None:
    no_kernel(monkeypatch)
    open_realm(monkeypatch)
    escape(listener.where, victim.pid)
    assert (listener.got, victim.wait(timeout=120)) == ([b"connected: GET /containers/json"], -9)


def test_the_kernel_alone_keeps_it_in(
    monkeypatch: pytest.MonkeyPatch, listener: Listener, victim: subprocess.Popen[bytes]
) -> None:
    needs_the_kernel()
    open_realm(monkeypatch)
    assert escape(listener.where, victim.pid) == [[], [], [], ["EPERM", "object"]]
    assert (listener.got, victim.poll()) == ([], None)


def test_the_realm_alone_keeps_it_in(
    monkeypatch: pytest.MonkeyPatch, listener: Listener, victim: subprocess.Popen[bytes]
) -> None:
    no_kernel(monkeypatch)
    assert escape(listener.where, victim.pid) == ["TypeError: import() is not available in expressions"] * 4
    assert (listener.got, victim.poll()) == ([], None)


def test_both_keep_it_in(listener: Listener, victim: subprocess.Popen[bytes]) -> None:
    assert escape(listener.where, victim.pid) == ["TypeError: import() is not available in expressions"] * 4
    assert (listener.got, victim.poll()) == ([], None)


LEAKED = "{var O = leaked; for (var n; (n = Object.getPrototypeOf(O)) !== null; O = n); var P = O.constructor; %s}"


def test_an_object_of_the_outer_realm_leads_nowhere(monkeypatch: pytest.MonkeyPatch) -> None:
    no_kernel(monkeypatch)
    whole = javascript.program(with_context=False)
    leaky = whole.replace("const realm = vm.create", "names.leaked = new TypeError('x');\nconst realm = vm.create")
    assert leaky != whole
    monkeypatch.setattr(javascript, "program", lambda with_context: leaky)
    engine = javascript.NodeEngine()
    frozen = "return [O, P, P.constructor, P.constructor.prototype, leaked.constructor.prototype].map(P.isFrozen);"
    assert engine.eval(LEAKED % "return P === Object;") is False
    assert engine.eval(LEAKED % frozen) == [True] * 5
    for code, said in {
        "P.defineProperty(O, 'a', {set(h) {}});": "TypeError: Cannot define property a, object is not extensible",
        "P.constructor('return process')();": "EvalError: Code generation from strings disallowed for this context",
    }.items():
        with pytest.raises(JavascriptException) as caught:
            engine.eval(LEAKED % code)
        assert str(caught.value).split(": {")[0] == said


LEFT = """
host.nextTick(() => {
  const can = (name) => typeof host[name] === "function" || (typeof host[name] === "object" && host[name] !== null);
  output.write(JSON.stringify([
    Object.getOwnPropertyNames(host).filter(can),
    Object.getOwnPropertyNames(globalThis).filter((name) => !standard.has(name)),
    Object.isFrozen(globalThis),
  ]));
});
"""


def test_what_process_and_global_object_could_do_is_taken_away() -> None:
    engine = javascript.NodeEngine()
    text = javascript.program(with_context=False).removesuffix("})" + settings_of() + ";")
    process = engine.new_js_proc(text + LEFT + "})" + settings_of() + ";")
    out, err = process.communicate("", timeout=240)
    assert err == ""
    of_process, of_global, frozen = json.loads(out)
    internals = {"_events", "versions", "release", "features", "nextTick", "emitWarning", "_tickCallback", "domain"}
    assert set(of_process) <= internals | {"_fatalException", "permission"}
    assert (of_global, frozen) == ([], True)


def settings_of() -> str:
    return f"({json.dumps({'end': javascript._END, 'withContext': False})})"


# what an expression gets hold of at every depth of the stack up to its end: is it all of its own realm?
DEEP = """
var foreign = [];
function look(what) {
  for (var o = what; o !== null && (typeof o === 'object' || typeof o === 'function'); o = Object.getPrototypeOf(o))
    if (Object.getPrototypeOf(o) === null && o !== Object.prototype) foreign.push(String(what));
}
function deeper() {
  try { THIS } catch (e) { look(e); }
  deeper();
}
for (var i = 0; i < 20; i++) {
  try { (function padded() { var a = i, b = a, c = b; deeper(a, b, c); })(); } catch (e) { look(e); }
}
return foreign;
"""


@pytest.mark.parametrize(
    "code",
    [
        "import('x')",
        "look(new Error('x').stack)",
        "var c = {}; Error.captureStackTrace(c); look(c.stack)",
        "Promise.reject(1)",
        "eval(\"import('x')\")",
        "new Function('(')",
        "JSON.parse('{')",
        "null.x",
        "Error.prepareStackTrace = function (e, t) { look(e); look(t); look(t[0]); }; new Error('x').stack",
        "console.log(1)",
        "Object.defineProperty(globalThis, 'g', {configurable: true, get() { return 1 }}); g",
    ],
)
def test_no_error_is_of_the_outer_realm_at_any_depth_of_the_stack(monkeypatch: pytest.MonkeyPatch, code: str) -> None:
    no_kernel(monkeypatch)
    assert javascript.NodeEngine().eval("{" + DEEP.replace("THIS", code) + "}", timeout=240) == []


@pytest.mark.parametrize("name", ["WebAssembly", "FinalizationRegistry", "process", "require", "fetch", "setTimeout"])
def test_there_is_nothing_that_calls_into_node(name: str) -> None:
    assert javascript.NodeEngine().eval(f"typeof {name}") == "undefined"


ATTEMPTS = {
    "datagram": "require('dgram').createSocket('udp4').on('error', tell).send('x', PORT, '127.0.0.1', tell)",
    "server": "require('net').createServer().on('error', tell).listen(0, '127.0.0.1', tell)",
    "server on a file": "require('net').createServer().on('error', tell).listen('FOLDER/s', tell)",
    "inspector": "require('inspector').open(0); tell(require('inspector').url() ? null : {code: 'EPERM'})",
    "child": "require('child_process').spawn('/bin/true').on('error', tell).on('exit', tell)",
    "file": "require('fs').writeFile('FOLDER/new', 'x', tell)",
    "more of a file": "require('fs').appendFile('FOLDER/old', 'x', tell)",
    "removal": "require('fs').unlink('FOLDER/old', tell)",
    "link": "require('fs').symlink('/', 'FOLDER/link', tell)",
    "folder": "require('fs').mkdir('FOLDER/f', tell)",
    "signal": "process.kill(VICTIM, 'SIGKILL'); tell()",
    "signal to all": "process.kill(-1, 'SIGCONT'); tell()",
    "priority": "require('os').setPriority(VICTIM, 19); tell()",
    "user": "process.setuid(12345); tell()",
    "in a worker": "new (require('worker_threads').Worker)('process.kill(VICTIM, 9)', {eval: true}).on('error', tell)",
}


@pytest.mark.parametrize("attempt", ATTEMPTS.values(), ids=ATTEMPTS.keys())
def test_a_node_that_may_do_everything_is_denied_it_by_the_kernel(
    monkeypatch: pytest.MonkeyPatch, victim: subprocess.Popen[bytes], tmp_path: Path, attempt: str
) -> None:
    needs_the_kernel()
    only_node(monkeypatch)
    flags = [flag for flag in javascript.node_command() if not re.match("--(frozen|disallow|expose)", flag)]
    monkeypatch.setattr(javascript, "node_command", lambda: tuple(flags))
    (tmp_path / "old").write_text("as it was")
    code = attempt.replace("FOLDER", str(tmp_path)).replace("VICTIM", str(victim.pid)).replace("PORT", "9")
    tell = "function tell(e) { process.stdout.write((e ? e.code : 'done') + '\\n'); process.reallyExit(0); }\n"
    engine = javascript.NodeEngine()  # its end is that of its processes
    process = engine.new_js_proc(f"{tell}try {{ {code} }} catch (e) {{ tell(e) }}")
    out, err = process.communicate(timeout=240)
    assert out.strip() in {"EPERM", "EACCES", "ERR_SYSTEM_ERROR"}, err
    assert [path.name for path in tmp_path.iterdir()] == ["old"]
    assert ((tmp_path / "old").read_text(), victim.poll()) == ("as it was", None)


def test_no_second_program_is_started_in_its_place() -> None:
    needs_the_kernel()
    command = [*confined.command(), sys.executable, "-c", "import os; os.execv('/bin/echo', ['echo', 'started'])"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert (done.stdout, done.stderr.splitlines()[-1]) == ("", "PermissionError: [Errno 1] Operation not permitted")


def test_the_filter_is_set_for_the_process_of_an_expression() -> None:
    needs_the_kernel()
    engine = javascript.NodeEngine()
    assert engine.eval("1") == 1
    process = sandboxjs.NodeJSEngine.localdata.procs[("", None)]
    status = Path(f"/proc/{process.pid}/status").read_text()
    seen = {name: re.search(rf"^{name}:\s*(\d+)$", status, re.MULTILINE) for name in ("NoNewPrivs", "Seccomp")}
    assert {name: found and found[1] for name, found in seen.items()} == {"NoNewPrivs": "1", "Seccomp": "2"}
    assert os.path.basename(os.readlink(f"/proc/{process.pid}/exe")).startswith("node")


@pytest.mark.parametrize("machine", ["x86_64", "aarch64"])
def test_every_path_through_the_filter_ends(machine: str) -> None:
    """Jumps lead forward and stay inside, and the last instruction returns: what the kernel asks of a filter."""
    code = confined.filter_program(machine, 4321, 0x7F0012345000)
    operations = [struct.unpack_from("=HBBI", code, at) for at in range(0, len(code), 8)]
    for at, (operation, if_true, if_false, _) in enumerate(operations):
        if operation in (confined._EQUAL, confined._GREATER, confined._ANY_BIT):
            assert at + 1 + max(if_true, if_false) < len(operations)
    assert operations[-1][0] == confined._RETURN


def test_where_the_kernel_has_no_filters_it_is_said(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(platform, "machine", lambda: "riscv64")
    monkeypatch.setattr(platform, "system", lambda: "Linux")
    javascript.by_the_kernel.cache_clear()
    assert javascript.by_the_kernel() == ()
    javascript.by_the_kernel.cache_clear()
    assert caplog.messages == [
        "only Node.js confines expressions here: no filter of system calls (seccomp) on Linux, riscv64"
    ]
