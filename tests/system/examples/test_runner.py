# Licensed under the Apache License, Version 2.0; see the LICENSE file.
"""``airflow-hybrid-runner`` and ``airflow hybrid run``: the contract of ``cwl-runner``, with no Airflow running."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import psutil
import pytest

from airflow_hybrid.operators.gather.record import RECORD
from tests.system.airflow_api import wait_for

ROOT = Path(__file__).parents[3]
BIN = Path(sys.executable).parent
RUNNER = [sys.executable, "-m", "airflow_hybrid.runner"]
ECHO = """
cwlVersion: v1.2
class: CommandLineTool
inputs:
  text: {type: string, inputBinding: {}}
  code: {type: int, default: 0}
outputs: {out: {type: stdout}}
stdout: out.txt
requirements: {InlineJavascriptRequirement: {}}
baseCommand: [sh, -c]
arguments: ['echo "$0"; echo on stderr >&2; exit $(inputs.code)']
"""
OPERATION = "cwlVersion: v1.2\nclass: Operation\ninputs: {}\noutputs: {}\n"


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("runner")
    (folder / "echo.cwl").write_text(ECHO)
    (folder / "operation.cwl").write_text(OPERATION)
    (folder / "wrong.cwl").write_text("cwlVersion: v1.2\nclass: CommandLineTol\n")
    (folder / "job.yml").write_text("text: from a file\n")
    (folder / "bound.yml").write_text(json.dumps({"text": "x", "cwl:tool": "echo.cwl"}))
    (folder / "streamflow.yml").write_text(
        json.dumps(
            {
                "version": "v1.0",
                "workflows": {
                    "echo": {
                        "type": "cwl",
                        "config": {"file": "echo.cwl"},
                        "bindings": [{"step": "/", "target": {"deployment": "here"}}],
                    }
                },
                "deployments": {"here": {"type": "local", "config": {}, "workdir": str(folder / "here")}},
            }
        )
    )
    return folder


def environment(folder: Path) -> dict[str, str]:
    own = {key: value for key, value in os.environ.items() if not key.startswith("AIRFLOW")}
    return own | {"AIRFLOW__AIRFLOW_HYBRID__CACHE_DIR": str(folder / "cache"), "PYTHONPATH": str(ROOT)}


def call(folder: Path, *argv: str, program: list[str] | None = None) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [*(program or RUNNER), *argv],
        cwd=folder,
        env=environment(folder),
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
    )


def test_stdout_is_the_output_object_and_nothing_else(folder: Path) -> None:
    done = call(folder, "--outdir", "one", "echo.cwl", "job.yml")
    assert done.returncode == 0, done.stderr
    out = json.loads(done.stdout)["out"]
    assert Path(out["path"]).read_text() == "from a file\n" and out["basename"] == "out.txt"
    assert Path(out["path"]).parent == folder / "one"
    assert out["location"] == Path(out["path"]).as_uri() and out["size"] == 12
    assert "\x1b" not in done.stderr and "steps done" not in done.stderr, "progress is for terminals"


def test_inputs_are_flags_and_steps_run_where_a_hybrid_file_says(folder: Path) -> None:
    done = call(folder, "echo.cwl", "--text", "a flag", "--hybrid-file", "streamflow.yml", "--outdir", "two", "--quiet")
    assert done.returncode == 0, done.stderr
    assert (folder / "two" / "out.txt").read_text() == "a flag\n"
    assert [path.read_text() for path in (folder / "here").rglob("out.txt")] == ["a flag\n"]
    assert "warning" not in done.stderr.lower()


def test_a_failed_job_is_exit_code_1_and_says_why(folder: Path) -> None:
    done = call(folder, "--quiet", "echo.cwl", "--text", "x", "--code", "3")
    assert done.returncode == 1 and done.stdout == ""
    assert "exit code 3" in done.stderr and "| on stderr" in done.stderr


TRIES = """\
cwlVersion: v1.2
class: Workflow
inputs: {runs: string}
outputs: []
steps:
  flaky: {in: &in {runs: runs}, out: [], run: &tool {class: CommandLineTool, inputs: {runs: string}, outputs: [],
    baseCommand: [sh, -c], arguments: ['echo >>"$0.flaky"; test `wc -l <"$0.flaky"` = 3', $(inputs.runs)]}}
  final: {in: *in, out: [], run: {<<: *tool, permanentFailCodes: [3],
    arguments: ['echo >>"$0.final"; exit 3', $(inputs.runs)]}}
  listed: {in: *in, out: [], run: {<<: *tool, arguments: ['echo >>"$0.listed"; exit 4', $(inputs.runs)]}}
  plain: {in: *in, out: [], run: {<<: *tool, arguments: ['echo >>"$0.plain"; exit 5', $(inputs.runs)]}}
"""


@pytest.mark.parametrize(
    "where",
    [pytest.param((), id="in triggers"), pytest.param(("--serial",), id="in workers", marks=pytest.mark.long)],
)
def test_failed_jobs_run_again_as_the_hybrid_file_says(tmp_path: Path, where: tuple[str, ...]) -> None:
    (tmp_path / "main.cwl").write_text(TRIES)
    bindings = [
        {"step": "/", "target": "local", "retry": {"not": [4]}},
        {"step": "/plain", "target": "local", "retries": 0},
    ]
    manager = {"type": "rollback", "config": {"max_retries": 2}}
    workflow = {"type": "cwl", "config": {"file": "main.cwl"}, "bindings": bindings}
    file = {"version": "v1.0", "workflows": {"main": workflow}, "failureManager": manager}
    (tmp_path / "streamflow.yml").write_text(json.dumps(file))
    done = call(tmp_path, *where, "--hybrid-file", "streamflow.yml", "main.cwl", "--runs", str(tmp_path / "runs"))
    assert done.returncode == 1, done.stderr
    runs = {path.suffix: len(path.read_text().splitlines()) for path in tmp_path.glob("runs.*")}
    assert runs == {".flaky": 3, ".final": 1, ".listed": 1, ".plain": 1}, done.stderr
    failed = [line.split(" at ")[0] for line in done.stderr.splitlines() if re.match(r"/\w+ at .*: exit code ", line)]
    assert sorted(failed) == ["/final", "/flaky", "/flaky", "/listed", "/plain"], done.stderr
    assert done.stderr.count("flaky failed and is tried again (try ") == 2, done.stderr
    for reason in ("3 is in `permanentFailCodes` of its document", "4 is in `retry: not` of its binding"):
        assert f"\n  -> not run again: exit code {reason}\n" in f"{done.stderr}\n", done.stderr


def test_what_is_wrong_before_a_run_is_said_at_once(folder: Path) -> None:
    for argv, code, said in (
        (["operation.cwl"], 33, "there is nothing to run"),
        (["wrong.cwl"], 1, "wrong.cwl:2:1: unknown class 'CommandLineTol'"),
        (["absent.cwl"], 1, "no such CWL file"),
        (["echo.cwl", "absent.yml"], 1, "cannot read the inputs file"),
        ([], 2, "error: which document?"),
        (["."], 1, ". is a folder, not a CWL document"),
        (["echo.cwl", "job.yml", "--outdir", "echo.cwl/x"], 1, "echo.cwl/x: Not a directory"),
        (["echo.cwl", "--nothing", "x"], 2, "unrecognized arguments: --nothing"),
    ):
        done = call(folder, *argv)
        assert done.returncode == code and done.stdout == "", (argv, done)
        assert said in done.stderr


def test_a_signal_ends_the_jobs_and_then_the_run(folder: Path) -> None:
    pid = folder / "pid"
    (folder / "long.cwl").write_text(
        "cwlVersion: v1.2\nclass: CommandLineTool\ninputs: []\noutputs: []\n"
        f"baseCommand: [sh, -c]\narguments: ['echo $$ >{pid}; exec sleep 600']\n"
    )
    runner = subprocess.Popen(
        [*RUNNER, "--outdir", "out", "long.cwl"],
        cwd=folder,
        env=environment(folder),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        wait_for(lambda: pid.exists() and pid.read_text().strip(), 120, lambda: "the job did not start", poll_s=0.2)
        runner.terminate()
        out, err = runner.communicate(timeout=120)
    finally:
        runner.kill()
    assert (runner.returncode, out) == (130, "")
    assert "interrupted" in err
    assert has_ended(int(pid.read_text()))


def has_ended(pid: int) -> bool:
    """Whether a process is over; an orphan's remains may stay in the process table until init looks at them."""
    try:
        return bool(psutil.Process(pid).status() == psutil.STATUS_ZOMBIE)
    except psutil.NoSuchProcess:
        return True


SPOILS = """
cwlVersion: v1.2
class: CommandLineTool
inputs: {place: string}
outputs: {out: {type: stdout}}
stdout: out.txt
baseCommand: [sh, -c]
arguments: ['echo precious; rmdir "$0" 2>/dev/null; echo taken >"$0"', $(inputs.place)]
"""


@pytest.mark.long
def test_a_run_whose_outputs_cannot_be_brought_keeps_its_files_and_says_where(tmp_path: Path) -> None:
    (tmp_path / "spoils.cwl").write_text(SPOILS)
    (tmp_path / "echo.cwl").write_text(ECHO)
    (tmp_path / "temp").mkdir()
    outdir = tmp_path / "out"
    to_temp = ("--tmpdir-prefix", f"{tmp_path}/temp/run-")
    failed = call(tmp_path, *to_temp, "--outdir", str(outdir), "spoils.cwl", "--place", str(outdir))
    (kept,) = (tmp_path / "temp").iterdir()
    assert (failed.returncode, failed.stdout) == (1, ""), failed.stderr
    assert failed.stderr.splitlines() == [
        f"airflow-hybrid-runner: the run's files are in {kept}",
        f"airflow-hybrid-runner: the outputs cannot be written to {outdir}: File exists",
        "  -> is the disk full, is `outdir` a folder and writable?",
    ]
    (output,) = (path for path in kept.rglob("out.txt") if path.is_file())
    assert output.read_text() == "precious\n" and outdir.read_text() == "taken\n"
    later = call(tmp_path, *to_temp, "--outdir", str(tmp_path / "other"), "echo.cwl", "--text", "x")
    assert later.returncode == 0, later.stderr
    assert list((tmp_path / "temp").iterdir()) == [kept] and output.read_text() == "precious\n"


def test_questions_are_answered_without_a_run(folder: Path) -> None:
    assert "airflow-hybrid-runner" in call(folder, "--version").stdout
    assert call(folder, "--validate", "echo.cwl").returncode == 0
    told = call(folder, "--tool-help", "echo.cwl")
    assert told.returncode == 0 and "--text TEXT" in told.stderr + told.stdout


@pytest.mark.long
def test_cwltest_can_use_it(folder: Path) -> None:
    tests = [
        {"id": "a", "doc": "a", "tool": "echo.cwl", "job": "job.yml", "output": {"out": {"class": "File", "size": 12}}},
        {"id": "b", "doc": "b", "tool": "wrong.cwl", "should_fail": True},
    ]
    (folder / "tests.yml").write_text(json.dumps(tests))
    program = ["env", f"PATH={BIN}:{os.environ['PATH']}", str(BIN / "cwltest")]
    done = call(folder, "--test", "tests.yml", "--tool", "airflow-hybrid-runner", program=program)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "All tests passed" in done.stdout + done.stderr


def test_it_is_a_command_of_airflow(folder: Path) -> None:
    done = call(folder, "hybrid", "run", "--quiet", "--outdir", "three", "bound.yml", program=[str(BIN / "airflow")])
    assert done.returncode == 0, done.stderr
    assert Path(json.loads(done.stdout)["out"]["path"]).read_text() == "x\n"


PASS = """
cwlVersion: v1.2
class: Workflow
inputs: {f: File, d: Directory}
steps: []
outputs: {f: {type: File, outputSource: f}, d: {type: Directory, outputSource: d}}
"""
MAKE_DATA = """
cwlVersion: v1.2
class: CommandLineTool
inputs: {f: File}
outputs: {d: {type: Directory, outputBinding: {glob: data}}}
baseCommand: [sh, -c, 'mkdir -p data/raw && cat "$0" >data/new.txt && echo other >data/raw/p.txt']
arguments: [$(inputs.f.path)]
"""


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """A user's folder: documents beside inputs and what is precious, and runs without ``--outdir``."""
    texts = {
        "pass.cwl": PASS, "data.cwl": MAKE_DATA, "in.txt": "input", "data/raw/p.txt": "precious", "dd/m": "m",
        "job.json": json.dumps({"f": {"class": "File", "path": "in.txt"}, "d": {"class": "Directory", "path": "dd"}}),
        "dot.json": json.dumps({"f": {"class": "File", "path": "in.txt"}, "d": {"class": "Directory", "path": "."}}),
        "data.json": json.dumps({"f": {"class": "File", "path": "data/raw/p.txt"}}),
    }  # fmt: skip
    project = tmp_path / "My Project"
    for name, text in texts.items():
        (project / name).parent.mkdir(parents=True, exist_ok=True)
        (project / name).write_text(text)
    return project


def test_steps_that_follow_each_other_are_one_task(project: Path) -> None:
    tool = {"class": "CommandLineTool", "baseCommand": "echo", "inputs": {"x": "Any"}, "outputs": {"o": "stdout"}}
    steps = {
        "one": {"run": tool, "in": {"x": {"default": 1}}, "out": ["o"]},
        "two": {"run": tool, "in": {"x": "one/o"}, "out": ["o"]},
    }
    document = {"cwlVersion": "v1.2", "class": "Workflow", "inputs": [], "outputs": [], "steps": steps}
    (project / "chain.cwl").write_text(json.dumps(document))
    done = call(project, "--verbose", "chain.cwl")
    assert done.returncode == 0, done.stderr
    assert "/one__two: 2 jobs" in done.stderr


def contents(folder: Path) -> dict[str, str]:
    files = (path for path in sorted(folder.rglob("*")) if path.is_file() and path.name != RECORD)
    return {path.relative_to(folder).as_posix(): path.read_text() for path in files if "cache" not in path.parts}


def test_inputs_that_are_handed_on_into_their_own_folder_stay_and_are_the_outputs(project: Path) -> None:
    before = contents(project)
    done = call(project, "--quiet", "pass.cwl", "job.json")
    assert done.returncode == 0, done.stderr
    out = json.loads(done.stdout)
    assert (out["f"]["path"], out["d"]["path"]) == (str(project / "in.txt"), str(project / "dd"))
    assert contents(project) == before


def test_an_output_folder_is_merged_into_the_users_and_another_run_replaces_outputs_only(
    project: Path,
) -> None:
    before = contents(project)
    for _ in range(2):
        done = call(project, "--quiet", "data.cwl", "data.json")
        assert done.returncode == 0, done.stderr
        assert contents(project) == before | {"data/new.txt": "precious", "data/raw/p.txt_2": "other\n"}
    done = call(project, "--quiet", "--existing", "fail", "data.cwl", "data.json")
    assert done.returncode == 1 and "has other files under the names of this run's outputs" in done.stderr


@pytest.mark.long
def test_the_folder_that_outdir_is_in_is_not_copied_into_itself(project: Path) -> None:
    before = contents(project)
    done = call(project, "--quiet", "--outdir", "./out", "pass.cwl", "dot.json")
    assert done.returncode == 0, done.stderr
    assert contents(project / "out/My Project") == before
