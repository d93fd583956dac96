# Licensed under the Apache License, Version 2.0; see the LICENSE file.
"""DockerRequirement in each runtime: what a tool finds in its container, and what comes out of it."""

from __future__ import annotations

import asyncio
import contextlib
import os
import shutil
import signal
from pathlib import Path

import pytest

from airflow_hybrid.errors import JobFailedError
from tests.containers.conftest import MINI, containers
from tests.containers.engine import Bench, text_of

TOOL = """cwlVersion: v1.2
class: CommandLineTool
requirements:
  DockerRequirement: {%s}
  InlineJavascriptRequirement: {}
"""
PULL = TOOL % f"dockerPull: {MINI}"


def script(text: str, head: str = PULL, more: str = "", outputs: str = "{said: stdout}") -> str:
    lines = "\n".join(f"    {line}" for line in text.strip().splitlines())
    body = f"baseCommand: [sh, -ec]\narguments:\n- |\n{lines}\n"
    return f"{head}{more}inputs: {{}}\noutputs: {outputs}\nstdout: said.txt\n{body}"


LOOK = """
echo "user `id -u`:`id -g`"
echo "folder $PWD"
echo "home $HOME"
echo "temporary $TMPDIR"
echo "network `tail -n +3 /proc/net/dev | cut -d: -f1 | tr -d '\\n'`"
touch /nowhere 2>/dev/null || echo "the root is read-only"
touch /tmp/somewhere && echo "the temporary folder is writable"
echo "variables `env | cut -d= -f1 | sort | tr '\\n' ' '`"
"""


def test_what_a_tool_finds(anywhere: Bench) -> None:
    said = text_of(anywhere.run(script(LOOK))["said"]).splitlines()
    assert said[:7] == [
        f"user {os.getuid()}:{os.getgid()}",
        "folder /var/spool/cwl",
        "home /var/spool/cwl",
        "temporary /tmp",
        "network     lo",
        "the root is read-only",
        "the temporary folder is writable",
    ]
    own = {"CH_RUNNING", "HOSTNAME", "PATH", "PWD", "SHLVL", "TERM", "_", "container"}
    assert set(said[7].split()[1:]) - own == {"HOME", "TMPDIR"}


def test_the_network_is_there_for_those_who_ask_for_it(bench: Bench) -> None:
    more = "  NetworkAccess: {networkAccess: true}\n"
    assert "network     lo\n" not in text_of(bench.run(script(LOOK, more=more))["said"])


def test_values_reach_the_container_as_they_are(anywhere: Bench) -> None:
    value = "a 'b' \"c\" $HOME `id` \\ \n;&|<>*?"
    document = f"""{PULL}  EnvVarRequirement: {{envDef: {{WORD: $(inputs.word)}}}}
inputs: {{word: {{type: string, inputBinding: {{}}}}}}
outputs: {{said: stdout}}
stdout: said.txt
baseCommand: [sh, -c, 'printf "%s|%s" "$WORD" "$1"', sh]
"""
    assert text_of(anywhere.run(document, {"word": value})["said"]) == f"{value}|{value}"


def read_only(bench: Bench, name: str) -> str:
    (bench.root / "data").mkdir()
    (bench.root / "data" / name).write_text("whale\n")
    document = f"""{PULL}inputs: {{file: File}}
outputs: {{said: stdout}}
stdout: said.txt
baseCommand: [sh, -c, 'cat "$1"; basename "$1"; echo x 2>/dev/null >>"$1" || echo safe', sh]
arguments: [$(inputs.file.path)]
"""
    return text_of(bench.run(document, {"file": {"class": "File", "path": str(bench.root / "data" / name)}})["said"])


@pytest.mark.parametrize("name", ["a,b.txt", 'a"b.txt', "a:b c.txt", "a'b$(id).txt", "ä=1.txt"])
def test_inputs_have_their_names(bench: Bench, name: str) -> None:
    assert read_only(bench, name) == f"whale\n{name}\nsafe\n"


def test_inputs_are_read_only(anywhere: Bench) -> None:
    # charliecloud has no read-only mounts
    assert read_only(anywhere, "in.txt") == "whale\nin.txt\n" + ("" if anywhere.runtime == "charliecloud" else "safe\n")


def test_folders_literals_and_standard_input(anywhere: Bench) -> None:
    (anywhere.root / "folder" / "inner").mkdir(parents=True)
    (anywhere.root / "folder" / "inner" / "deep.txt").write_text("deep\n")
    document = f"""{PULL}inputs: {{folder: Directory, literal: File, both: Directory, file: stdin}}
outputs: {{said: stdout}}
stdout: said.txt
baseCommand: [sh, -ec, 'cat "$1"/inner/deep.txt "$2" "$3"/*/deep.txt "$3"/one - ', sh]
arguments: [$(inputs.folder.path), $(inputs.literal.path), $(inputs.both.path)]
"""
    folder = {"class": "Directory", "path": str(anywhere.root / "folder")}
    one = {"class": "File", "basename": "one", "contents": "one\n"}
    given = {
        "folder": folder,
        "literal": {"class": "File", "contents": "literal\n"},
        "both": {
            "class": "Directory",
            "basename": "both",
            "listing": [{**folder, "path": f"{folder['path']}/inner"}, one],
        },
        "file": {"class": "File", "path": str(anywhere.root / "folder" / "inner" / "deep.txt")},
    }
    assert text_of(anywhere.run(document, given)["said"]) == "deep\nliteral\ndeep\none\ndeep\n"


LINKS = f"""{PULL}  InitialWorkDirRequirement: {{listing: [$(inputs.file)]}}
inputs: {{file: File}}
outputs:
  linked: {{type: File, outputBinding: {{glob: linked}}}}
  inner: {{type: File, outputBinding: {{glob: inner}}}}
  same: {{type: File, outputBinding: {{glob: $(inputs.file.basename)}}}}
baseCommand: [sh, -ec, 'ln -s "$PWD/$1" linked; mkdir d; echo x >d/x; ln -s "$PWD/d/x" inner', sh]
arguments: [$(inputs.file.basename)]
"""


def test_links_lead_to_what_they_led_to_in_the_container(anywhere: Bench) -> None:
    (anywhere.root / "in.txt").write_text("in\n")
    result = anywhere.run(LINKS, {"file": {"class": "File", "path": str(anywhere.root / "in.txt")}})
    assert {name: text_of(file) for name, file in result.items()} == {"linked": "in\n", "inner": "x\n", "same": "in\n"}


def test_a_link_to_a_file_of_the_container_is_no_output(bench: Bench) -> None:
    outputs = "{said: stdout, out: {type: File, outputBinding: {glob: out}}}"
    with pytest.raises(Exception, match="outside the job's output directory|out"):
        bench.run(script("ln -s /etc/passwd out", outputs=outputs))


def test_entries_at_absolute_paths(anywhere: Bench) -> None:
    document = f"""{TOOL % f"dockerPull: {MINI}, dockerOutputDirectory: /output"}
  InitialWorkDirRequirement:
    listing:
    - {{entryname: /data/given/name.txt, entry: $(inputs.file)}}
    - {{entryname: /data/copy.txt, entry: $(inputs.other), writable: true}}
    - {{entryname: /data/literal.txt, entry: "literal\\n"}}
    - {{entryname: /scratch, entry: "$({{class: 'Directory', listing: [inputs.third]}})", writable: true}}
inputs: {{file: File, other: File, third: File}}
outputs: {{said: {{type: File, outputBinding: {{glob: said}}}}}}
baseCommand: [sh, -ec]
arguments:
- |
  echo more >>/data/copy.txt
  echo new >/scratch/new
  cat /data/given/name.txt /data/copy.txt /data/literal.txt /scratch/third.txt /scratch/new >/output/said
"""
    names = {"file": "in.txt", "other": "other.txt", "third": "third.txt"}
    for name in names.values():
        (anywhere.root / name).write_text(f"{name}\n")
    given = {port: {"class": "File", "path": str(anywhere.root / name)} for port, name in names.items()}
    assert text_of(anywhere.run(document, given)["said"]) == "in.txt\nother.txt\nmore\nliteral\nthird.txt\nnew\n"
    assert (anywhere.root / "other.txt").read_text() == "other.txt\n"


def test_cwl_output_json_may_name_paths_of_the_container(bench: Bench) -> None:
    said = '{"out": {"class": "File", "path": "%s/hi"}, "same": {"class": "File", "path": "%s"}}'
    document = f"""{PULL}inputs: {{file: File}}
outputs: {{out: File, same: File}}
baseCommand: [sh, -ec]
arguments:
- |
    echo hi >hi
    printf '{said}' "$PWD" "$0" >cwl.output.json
- $(inputs.file.path)
"""
    (bench.root / "in.txt").write_text("in\n")
    result = bench.run(document, {"file": {"class": "File", "path": str(bench.root / "in.txt")}})
    assert (text_of(result["out"]), text_of(result["same"])) == ("hi\n", "in\n")


def test_an_exit_code_is_the_tools_own(bench: Bench) -> None:
    with pytest.raises(JobFailedError, match="exit code 41") as caught:
        bench.run(script("echo why >&2; exit 41"))
    assert "why" in str(caught.value)


def pids(marker: str) -> list[int]:
    """The processes with this in their command line, in whatever container."""
    found = []
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        with contextlib.suppress(OSError):
            if marker.encode() in path.read_bytes():
                found.append(int(path.parent.name))
    return found


def running(marker: str) -> bool:
    return bool(pids(marker))


def test_a_failed_tool_is_a_failed_job(anywhere: Bench) -> None:
    with pytest.raises(JobFailedError, match="exit code 3"):
        anywhere.run(script("exit 3"))
    assert containers(anywhere.root) == []


ENDS = pytest.mark.parametrize("anywhere", ["podman", "docker", "charliecloud"], indirect=True)


@ENDS
@pytest.mark.parametrize("deaf", [pytest.param("", marks=pytest.mark.long), "trap '' TERM; "])
def test_a_container_ends_when_its_time_is_up(anywhere: Bench, deaf: str) -> None:
    with pytest.raises(JobFailedError, match="TIMEOUT|longer than its time limit"):
        anywhere.run(script(f"{deaf}sleep 301.25", more="  ToolTimeLimit: {timelimit: 2}\n"))
    assert containers(anywhere.root) == []
    assert not running("sleep\x00301.25")


@ENDS
def test_a_container_ends_with_its_task(anywhere: Bench) -> None:
    async def start_and_cancel() -> None:
        task = asyncio.ensure_future(anywhere.go(script("touch begun; trap '' TERM; sleep 302.25"), {}))
        while not list((anywhere.root / "work").rglob("begun")):
            assert not task.done(), await task
            await asyncio.sleep(0.2)
        assert running("sleep\x00302.25")
        assert len(containers(anywhere.root)) == (anywhere.runtime in ("podman", "docker"))
        await anywhere.executions[-1].cancel()
        with pytest.raises(JobFailedError):
            await task

    asyncio.run(start_and_cancel())
    assert containers(anywhere.root) == []
    assert not running("sleep\x00302.25")


SLOW_CLIENT = """#!/bin/sh
# a client that is slow to begin, and deaf while it does
if [ "$1" = run ]; then
    trap '' TERM INT HUP
    touch %(begun)s
    sleep 20
fi
exec %(podman)s "$@"
"""


@pytest.mark.parametrize(
    "limit",
    [
        pytest.param("", id="", marks=pytest.mark.long),
        pytest.param("  ToolTimeLimit: {timelimit: 100}\n", id="with a time limit"),
    ],
)
def test_a_client_that_has_just_begun_starts_no_container_after_its_job_was_ended(
    bench: Bench, monkeypatch: pytest.MonkeyPatch, limit: str
) -> None:
    client, begun = bench.root / "programs" / "podman", bench.root / "begun"
    client.parent.mkdir()
    client.write_text(SLOW_CLIENT % {"begun": begun, "podman": shutil.which("podman")})
    client.chmod(0o755)

    def signal_all() -> None:
        """As a queue system does it: the signal to all of the job's processes, and SIGKILL only much later."""
        session = next(os.getsid(pid) for pid in pids(f"{client}\0run"))
        for path in Path("/proc").glob("[0-9]*"):
            with contextlib.suppress(ProcessLookupError):
                if os.getsid(int(path.name)) == session:
                    os.kill(int(path.name), signal.SIGTERM)

    async def start_and_end() -> None:
        task = asyncio.ensure_future(bench.go(script("sleep 303.25", more=limit), {}))
        while not begun.exists():
            assert not task.done(), await task
            await asyncio.sleep(0.1)
        signal_all()
        with pytest.raises(JobFailedError):
            await task

    monkeypatch.setenv("PATH", f"{client.parent}:{os.environ['PATH']}")
    asyncio.run(start_and_end())
    assert pids(f"{client}\0run") == [], "nothing is left that could start the container"
    assert containers(bench.root) == []
    assert list((bench.root / "work").rglob("box")) == []


def test_what_a_job_used_is_that_of_its_container_or_unknown(anywhere: Bench) -> None:
    """Of docker's and podman's containers only the client could be measured, which uses a few MiB: nothing is told."""
    anywhere.run(script("dd if=/dev/zero of=/dev/null bs=60000000 count=1"))
    [record] = anywhere.executions[-1].batches.recorder.report().records
    if anywhere.runtime in ("docker", "podman"):
        assert (record.cpu_s, record.memory_used_mib) == (None, None)
    elif anywhere.runtime == "charliecloud":  # the stand-in for apptainer starts podman's containers
        assert record.cpu_s is not None and 57 <= (record.memory_used_mib or 0) <= 120
