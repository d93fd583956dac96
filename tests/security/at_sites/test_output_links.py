# Licensed under the Apache License, Version 2.0; see the LICENSE file.
"""Links that jobs make do not bring files of the site into outputs, messages or logs: real jobs, on this machine."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from airflow_hybrid.engine import FragmentOutcome, TaskIdentity
from airflow_hybrid.errors import HybridError
from tests.unit.engine.execution import Log, run_spec, spec_of

SECRET = "s3cr3t-of-the-site"
TOOL = """\
cwlVersion: v1.2
class: CommandLineTool
requirements: {{InlineJavascriptRequirement: {{}}, {requirements}}}
baseCommand: [sh, -c, {command}]
inputs: {{x: File?, d: Directory?, outside: string}}
arguments: [sh, $(inputs.outside), "$(inputs.x ? inputs.x.path : '')", "$(inputs.d ? inputs.d.path : '')"]
outputs: {outputs}
{more}
"""


class Site:
    """A site with a secret beside the work directory, and what of it was seen."""

    def __init__(self, tmp_path: Path) -> None:
        self.tmp_path = tmp_path
        self.outside = tmp_path / "outside"
        self.outside.mkdir()
        (self.outside / "secret").write_text(SECRET)
        (self.outside / "secret.json").write_text(json.dumps({"o": SECRET}))
        (tmp_path / "given").mkdir()
        (tmp_path / "given/x").write_text("mine")
        (tmp_path / "given/d").mkdir()
        (tmp_path / "given/d/inner").write_text("mine too")
        self.log = Log()
        self.runs = 0

    def run(self, command: str, outputs: str, *, more: str = "", requirements: str = "") -> dict[str, Any]:
        tool = self.tmp_path / "tool.cwl"
        tool.write_text(TOOL.format(command=json.dumps(command), outputs=outputs, more=more, requirements=requirements))
        given = {
            "x": {"class": "File", "path": str(self.tmp_path / "given/x")},
            "d": {"class": "Directory", "path": str(self.tmp_path / "given/d")},
            "outside": str(self.outside),
        }
        outcome, self.log = self._execute(tool, given)
        (result,) = outcome.results
        assert SECRET not in json.dumps([result.outputs, result.message]) + self.log.text
        return {"status": result.status, "message": result.message, **result.outputs}

    def _execute(self, tool: Path, given: dict[str, Any]) -> tuple[FragmentOutcome, Log]:
        work = {"work": {"type": "local", "workdir": str(self.tmp_path / "work")}}
        self.runs += 1
        identity = TaskIdentity("dag", f"run{self.runs}", "task", origin="origin")
        spec = spec_of(tool, given, work, {"/": "work"}, identity)
        return run_spec(replace(spec, reuse=False))

    def refusal(self, command: str, outputs: str, **kwargs: str) -> str:
        """What is said of a job that is refused, with the job's directory as ``JOB`` and the outside as ``OUTSIDE``."""
        try:
            found = self.run(command, outputs, **kwargs)
        except HybridError as error:
            text = str(error)
        else:
            pytest.fail(f"not refused: {found}")
        assert SECRET not in text
        text = re.sub(r"^/tool at work \(localhost\): (output 'o': )?", "/tool: ", text)
        text = re.sub(r"\n  job id: [^|]*?(?=\Z|\n  \|)", "", text)  # where else to look
        text = re.sub(rf"{self.tmp_path}/work/\S*?/out\b", "JOB/out", text)
        return text.replace(str(self.outside), "OUTSIDE")


@pytest.fixture
def site(tmp_path: Path) -> Site:
    return Site(tmp_path)


CONTENTS = "{o: {type: string, outputBinding: {glob: a, loadContents: true, outputEval: '$(self[0].contents)'}}}"


@pytest.mark.parametrize(
    ("command", "outputs"),
    [
        ('ln -s "$1/secret" a', CONTENTS),
        ("ln -s ../../../../../../../../outside/secret a", CONTENTS),
        ('ln -s "$1/secret" b; ln -s b a', CONTENTS),
        ('ln -s "$1" b; ln -s b/secret a', CONTENTS),
        ('ln -s "$1/secret" a', "{o: {type: File, outputBinding: {glob: a}}}"),
        ('ln -s "$1/secret" a', "{o: {type: 'File[]', outputBinding: {glob: '*'}}}"),
        ('ln -s "$1/secret" a', "{o: {type: int, outputBinding: {glob: a, outputEval: '$(self[0].size)'}}}"),
        ('ln -s "$1/secret" a', "{o: {type: string, outputBinding: {glob: a, outputEval: '$(self[0].checksum)'}}}"),
        ('ln -s "$1" a', "{o: {type: Directory, outputBinding: {glob: a}}}"),
        (
            'ln -s "$1" a',
            "{o: {type: Any, outputBinding: {glob: a, loadListing: deep_listing, outputEval: '$(self[0].listing)'}}}",
        ),
    ],
)
def test_a_link_that_leads_out_is_refused(site: Site, command: str, outputs: str) -> None:
    said = site.refusal(command, outputs)
    target = "OUTSIDE" if "/secret" not in command else "OUTSIDE/secret"
    assert said == f"/tool: output JOB/out/a is a symbolic link to {target}, outside the job's output directory"


@pytest.mark.parametrize(
    ("command", "outputs", "target"),
    [
        ('ln -s "$1" a', "{o: {type: 'File[]', outputBinding: {glob: 'a/*'}}}", "OUTSIDE"),
        ('ln -s "$1" a', CONTENTS.replace("glob: a", "glob: a/secret"), "OUTSIDE"),
        ('mkdir b; ln -s "$1/secret" b/a', "{o: {type: Directory, outputBinding: {glob: b}}}", "OUTSIDE/secret"),
        (
            'mkdir b; ln -s "$1" b/a',
            "{o: {type: Directory, outputBinding: {glob: b, loadListing: deep_listing}}}",
            "OUTSIDE",
        ),
        (
            'echo >b; ln -s "$1/secret" b.a',
            "{o: {type: File, secondaryFiles: [.a], outputBinding: {glob: b}}}",
            "OUTSIDE/secret",
        ),
        ('ln -s "$1/secret.json" cwl.output.json', "{o: string}", "OUTSIDE/secret.json"),
        ("ln -s /proc/self/environ a", CONTENTS, "PROC"),
        ('rm -rf ../out; ln -s "$1" ../out', "{o: {type: File, outputBinding: {glob: secret}}}", "OUTSIDE"),
    ],
)
def test_links_above_in_and_beside_outputs_are_refused(site: Site, command: str, outputs: str, target: str) -> None:
    said = re.sub(r"/proc/\d+/environ", "PROC", site.refusal(command, outputs))
    output = re.match(r"/tool: output (JOB/out\S+) is", said)
    assert output and said == (
        f"/tool: output {output[1]} is a symbolic link to {target}, outside the job's output directory"
    )


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("/dev/zero", "'a' is a device, which is neither a File nor a Directory"),
        ("/dev/tty", "'a' is a device, which is neither a File nor a Directory"),
        ("fifo", "'a' is a FIFO, which is neither a File nor a Directory"),
        ("nothing", "list index out of range"),
    ],
)
def test_what_is_no_regular_file_is_no_output(site: Site, name: str, said: str) -> None:
    assert site.refusal(f"mkfifo fifo; ln -s {name} a", CONTENTS) == f"/tool: {said}"


@pytest.mark.parametrize(
    "named",
    [
        '{"class": "File", "path": "/etc/passwd"}',
        '{"class": "File", "location": "file:///etc/passwd"}',
        '{"class": "File", "path": "../../../../../../../../etc/passwd"}',
        '{"class": "File", "path": "a/../../../secret"}',
        '{"class": "Directory", "path": "/etc"}',
        '{"class": "File", "contents": "x", "basename": "../../x"}',
        '{"class": "Directory", "basename": "d", "listing": [{"class": "File", "location": "file:///etc/passwd"}]}',
    ],
)
def test_cwl_output_json_names_only_what_the_job_made(site: Site, named: str) -> None:
    site.refusal(f"echo '{{\"o\": {named}}}' >cwl.output.json", "{o: Any}")


def test_links_within_the_outputs_and_to_inputs_are_what_they_lead_to(site: Site) -> None:
    found = site.run(
        'mkdir b; echo plain >b/f; ln -s f b/link; ln -s "$2" a; ln -s "$3" c; ln -s b/f e; ln -s "$1/nothing" b/gone;'
        "ln -s ../b b/loop",
        """{
          a: {type: File, outputBinding: {glob: a, loadContents: true}},
          b: {type: Directory, outputBinding: {glob: b}},
          c: {type: Directory, outputBinding: {glob: c}},
          e: {type: File, outputBinding: {glob: e}},
          t: {type: string, outputBinding: {glob: e, loadContents: true, outputEval: "$(self[0].contents)"}}}""",
    )
    assert found["status"] == "success"
    assert found["a"]["location"] == f"file://{site.tmp_path}/given/x" and found["a"]["basename"] == "a"
    assert found["a"]["size"] == 4 and found["a"]["checksum"].startswith("sha1$")
    assert found["c"]["location"] == f"file://{site.tmp_path}/given/d"
    assert found["t"] == "plain\n"
    file = found["e"]
    assert file["location"].endswith("/out/b/f") and file["basename"] == "e" and file["checksum"].startswith("sha1$")
    # a folder with links in it: its members, each where it is
    assert "location" not in found["b"]
    members = {member["basename"]: member["location"] for member in found["b"]["listing"]}
    assert members == {"f": file["location"], "link": file["location"]}


def test_a_failed_jobs_stderr_is_shown_only_if_it_is_its_own(site: Site) -> None:
    said = site.refusal('echo oops >&2; ln -sf "$1/secret" e; exit 1', "{o: stderr}", more="stderr: e")
    assert said.split("\n")[-1] == "  | (not shown: it is a link, or no regular file)"
    said = site.refusal('mkdir b; ln -s "$1" b/d; mv b d; rm d/e; exit 1', "{o: stderr}", more="stderr: e")
    assert said.split("\n")[-1].startswith("  | rm: ")
    said = site.refusal("echo oops >&2; exit 1", "{o: stderr}", more="stderr: e")
    assert said.split("\n")[-1] == "  | oops"


def test_a_stream_is_not_written_into_an_input(site: Site) -> None:
    said = site.refusal(
        "echo overwritten",
        "{o: stdout}",
        more="stdout: x",
        requirements="InitialWorkDirRequirement: {listing: [$(inputs.x)]}",
    )
    assert said == (
        "/tool: stdout is 'x', where an input is staged: it would be overwritten\n"
        "  -> give the stream another name, or make the entry `writable`, so that it is a copy"
    )
    assert (site.tmp_path / "given/x").read_text() == "mine"


PLAIN = "sha1$a167b5de67ef5c4068ea4cb21fda74af5873a68f"
"""of the file that is no link; without a checksum it was a link when it was read"""


def test_a_process_that_swaps_files_for_links_shows_nothing(site: Site) -> None:
    """It outlives its job, and swaps while its outputs are looked at and read."""
    swap = (
        'echo plain >b; cp b a; ln -s "$1/secret" c;'
        '(i=0; while [ $i -lt 3000 ]; do mv -fT c a; ln -s "$1/secret" c; cp b n; mv -fT n a; i=$((i+1)); done) '
        ">/dev/null 2>&1 </dev/null & sleep 0.2"
    )
    for outputs in (CONTENTS, "{o: {type: File, outputBinding: {glob: a}}}"):
        try:
            found = site.run(swap, outputs)
        except HybridError as error:
            assert SECRET not in str(error)
        else:
            seen = found["o"]
            assert seen == "plain\n" or (seen["size"], seen.get("checksum", PLAIN)) == (6, PLAIN)
