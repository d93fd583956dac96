# Licensed under the Apache License, Version 2.0; see the LICENSE file.
"""DockerRequirement with a real podman: what a tool finds in its container, and what comes out of it."""

from __future__ import annotations

import asyncio
import os
import subprocess
from pathlib import Path

import pytest

from airflow_hybrid.config import Deployment
from airflow_hybrid.errors import JobFailedError, SiteError, UnsupportedError
from tests.containers.conftest import containers
from tests.containers.engine import Bench, text_of

DEBIAN = "docker.io/debian:stable-slim"
TOOL = """cwlVersion: v1.2
class: CommandLineTool
requirements:
  DockerRequirement: {%s}
  InlineJavascriptRequirement: {}
"""
PULL = TOOL % f"dockerPull: {DEBIAN}"


def script(text: str, head: str = PULL, more: str = "", outputs: str = "{said: stdout}") -> str:
    lines = "\n".join(f"    {line}" for line in text.strip().splitlines())
    body = f"baseCommand: [sh, -ec]\narguments:\n- |\n{lines}\n"
    return f"{head}{more}inputs: {{}}\noutputs: {outputs}\nstdout: said.txt\n{body}"


LOOK = """
echo "user `id -u`:`id -g`"
echo "folder $PWD"
echo "home $HOME"
echo "temporary $TMPDIR"
echo "network `ls /sys/class/net | tr '\\n' ' '`"
touch /nowhere 2>/dev/null || echo "the root is read-only"
touch /tmp/somewhere && echo "the temporary folder is writable"
echo "variables `env | cut -d= -f1 | sort | tr '\\n' ' '`"
"""


def test_what_a_tool_finds(bench: Bench) -> None:
    said = text_of(bench.run(script(LOOK))["said"]).splitlines()
    assert said[:7] == [
        f"user {os.getuid()}:{os.getgid()}",
        "folder /var/spool/cwl",
        "home /var/spool/cwl",
        "temporary /tmp",
        "network lo ",
        "the root is read-only",
        "the temporary folder is writable",
    ]
    assert set(said[7].split()[1:]) <= {"HOME", "HOSTNAME", "PATH", "PWD", "SHLVL", "TERM", "TMPDIR", "_", "container"}


def test_the_network_is_there_for_those_who_ask_for_it(bench: Bench) -> None:
    more = "  NetworkAccess: {networkAccess: true}\n"
    assert "network lo \n" not in text_of(bench.run(script(LOOK, more=more))["said"])


def test_values_reach_the_container_as_they_are(bench: Bench) -> None:
    value = "a 'b' \"c\" $HOME `id` \\ \n;&|<>*?"
    document = f"""{PULL}  EnvVarRequirement: {{envDef: {{WORD: $(inputs.word)}}}}
inputs: {{word: {{type: string, inputBinding: {{}}}}}}
outputs: {{said: stdout}}
stdout: said.txt
baseCommand: [sh, -c, 'printf "%s|%s" "$WORD" "$1"', sh]
"""
    assert text_of(bench.run(document, {"word": value})["said"]) == f"{value}|{value}"


@pytest.mark.parametrize("name", ["plain.txt", "a,b.txt", 'a"b.txt', "a:b c.txt", "a'b$(id).txt", "ä=1.txt"])
def test_inputs_are_read_only_and_have_their_names(bench: Bench, name: str) -> None:
    (bench.root / "data").mkdir()
    (bench.root / "data" / name).write_text("whale\n")
    document = f"""{PULL}inputs: {{file: File}}
outputs: {{said: stdout}}
stdout: said.txt
baseCommand: [sh, -c, 'cat "$1"; basename "$1"; echo x 2>/dev/null >>"$1" || echo safe', sh]
arguments: [$(inputs.file.path)]
"""
    result = bench.run(document, {"file": {"class": "File", "path": str(bench.root / "data" / name)}})
    assert text_of(result["said"]) == f"whale\n{name}\nsafe\n"


def test_folders_literals_and_standard_input(bench: Bench) -> None:
    (bench.root / "folder" / "inner").mkdir(parents=True)
    (bench.root / "folder" / "inner" / "deep.txt").write_text("deep\n")
    document = f"""{PULL}inputs: {{folder: Directory, literal: File, both: Directory, file: stdin}}
outputs: {{said: stdout}}
stdout: said.txt
baseCommand: [sh, -ec, 'cat "$1"/inner/deep.txt "$2" "$3"/*/deep.txt "$3"/one - ', sh]
arguments: [$(inputs.folder.path), $(inputs.literal.path), $(inputs.both.path)]
"""
    folder = {"class": "Directory", "path": str(bench.root / "folder")}
    one = {"class": "File", "basename": "one", "contents": "one\n"}
    given = {
        "folder": folder,
        "literal": {"class": "File", "contents": "literal\n"},
        "both": {
            "class": "Directory",
            "basename": "both",
            "listing": [{**folder, "path": f"{folder['path']}/inner"}, one],
        },
        "file": {"class": "File", "path": str(bench.root / "folder" / "inner" / "deep.txt")},
    }
    assert text_of(bench.run(document, given)["said"]) == "deep\nliteral\ndeep\none\ndeep\n"


LINKS = f"""{PULL}  InitialWorkDirRequirement: {{listing: [$(inputs.file)]}}
inputs: {{file: File}}
outputs:
  linked: {{type: File, outputBinding: {{glob: linked}}}}
  inner: {{type: File, outputBinding: {{glob: inner}}}}
  same: {{type: File, outputBinding: {{glob: $(inputs.file.basename)}}}}
baseCommand: [sh, -ec, 'ln -s "$PWD/$1" linked; mkdir d; echo x >d/x; ln -s "$PWD/d/x" inner', sh]
arguments: [$(inputs.file.basename)]
"""


def test_links_lead_to_what_they_led_to_in_the_container(bench: Bench) -> None:
    (bench.root / "in.txt").write_text("in\n")
    result = bench.run(LINKS, {"file": {"class": "File", "path": str(bench.root / "in.txt")}})
    assert {name: text_of(file) for name, file in result.items()} == {"linked": "in\n", "inner": "x\n", "same": "in\n"}


def test_a_link_to_a_file_of_the_container_is_no_output(bench: Bench) -> None:
    outputs = "{said: stdout, out: {type: File, outputBinding: {glob: out}}}"
    with pytest.raises(Exception, match="outside the job's output directory|out"):
        bench.run(script("ln -s /etc/passwd out", outputs=outputs))


def test_entries_at_absolute_paths(bench: Bench) -> None:
    document = f"""{TOOL % f"dockerPull: {DEBIAN}, dockerOutputDirectory: /output"}
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
  echo no 2>/dev/null >>/data/given/name.txt || echo safe >/scratch/safe
  cat /data/given/name.txt /data/copy.txt /data/literal.txt /scratch/third.txt /scratch/safe >/output/said
"""
    names = {"file": "in.txt", "other": "other.txt", "third": "third.txt"}
    for name in names.values():
        (bench.root / name).write_text(f"{name}\n")
    given = {port: {"class": "File", "path": str(bench.root / name)} for port, name in names.items()}
    assert text_of(bench.run(document, given)["said"]) == "in.txt\nother.txt\nmore\nliteral\nthird.txt\nsafe\n"
    assert (bench.root / "other.txt").read_text() == "other.txt\n"


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


@pytest.mark.parametrize("deaf", ["", "trap '' TERM; "])
def test_a_container_ends_when_its_time_is_up(bench: Bench, deaf: str) -> None:
    with pytest.raises(JobFailedError, match="TIMEOUT|longer than its time limit"):
        bench.run(script(f"{deaf}sleep 300", more="  ToolTimeLimit: {timelimit: 2}\n"))
    assert containers() == []


def test_a_container_ends_with_its_task(bench: Bench) -> None:
    async def start_and_cancel() -> None:
        running = asyncio.ensure_future(bench.go(script("touch begun; trap '' TERM; sleep 300"), {}))
        while not list((bench.root / "work").rglob("begun")):
            assert not running.done()
            await asyncio.sleep(0.2)
        assert len(containers()) == 1
        await bench.executions[-1].cancel()
        with pytest.raises(JobFailedError):
            await running

    asyncio.run(start_and_cancel())
    assert containers() == []


# --- images ---------------------------------------------------------------------------------------------------------


def test_an_image_that_cannot_be_had_is_one_clear_message(bench: Bench) -> None:
    name = "localhost:1/nobody/nothing:0"
    with pytest.raises(SiteError, match=f"podman could not get the image '{name}'") as caught:
        bench.run(script("true", TOOL % f'dockerPull: "{name}"'))
    assert "refused" in str(caught.value)
    assert not list((bench.root / "work").rglob("runner.sh")), "nothing was submitted"


def test_an_image_is_built_loaded_imported(bench: Bench) -> None:
    build = f"""{TOOL % "dockerFile: $(inputs), dockerImageId: localhost/airflow_hybrid-tests/built:1"}"""
    build = build.replace("$(inputs)", f'"FROM {DEBIAN}\\nENV BUILT=here\\n"')
    assert text_of(bench.run(script("echo $BUILT", build))["said"]) == "here\n"
    archive = bench.root / "built.tar"
    subprocess.run(["podman", "save", "-q", "-o", str(archive), "localhost/airflow_hybrid-tests/built:1"], check=True)
    assert text_of(bench.run(script("echo $BUILT", TOOL % f"dockerLoad: {archive}"))["said"]) == "here\n"
    root = bench.root / "root.tar"
    subprocess.run(f"podman export $(podman create {DEBIAN} true) -o {root}", shell=True, check=True)
    imported = TOOL % f"dockerImport: {root}, dockerImageId: localhost/airflow_hybrid-tests/imported:1"
    assert text_of(bench.run(script("cat /etc/debian_version", imported))["said"]).startswith("12.")


def test_a_scatter_asks_for_its_image_once(bench: Bench, tmp_path: Path) -> None:
    tool = f"{PULL}inputs: {{n: {{type: int, inputBinding: {{}}}}}}\noutputs: {{said: stdout}}\n"
    bench.write(f"{tool}stdout: said\nbaseCommand: echo\n", "inner.cwl")
    flow = """cwlVersion: v1.2
class: Workflow
requirements: {ScatterFeatureRequirement: {}}
inputs: {n: "int[]"}
outputs: {said: {type: "File[]", outputSource: say/said}}
steps: {say: {run: inner.cwl, scatter: n, in: {n: n}, out: [said]}}
"""
    result = bench.run(flow, {"n": [1, 2, 3, 4]})
    assert [text_of(file) for file in result["said"]] == ["1\n", "2\n", "3\n", "4\n"]
    assert len(list((tmp_path / "work" / "images").glob("*.lock"))) == 1


# --- no runtime -----------------------------------------------------------------------------------------------------


def test_without_a_runtime_a_requirement_fails_and_a_hint_does_not(bench: Bench) -> None:
    bench.deployments = {
        "local": Deployment("local", "local", workdir=str(bench.root / "w"), containers={"runtime": "none"})
    }
    with pytest.raises(UnsupportedError, match="requires a container") as caught:
        bench.run(script("true"))
    assert "name a runtime there" in str(caught.value)
    hint = PULL.replace("requirements:\n  DockerR", "hints:\n  DockerR")
    assert "container" not in text_of(bench.run(script("env", hint))["said"])


def test_a_runtime_that_is_named_and_not_there_is_said(bench: Bench) -> None:
    local = Deployment("local", "local", workdir=str(bench.root / "w"), containers={"runtime": "apptainer"})
    bench.deployments = {"local": local}
    with pytest.raises(UnsupportedError, match="apptainer cannot be used: apptainer is not on the PATH"):
        bench.run(script("true"))
