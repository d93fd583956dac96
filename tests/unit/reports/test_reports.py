# Licensed under the Apache License, Version 2.0; see the LICENSE file.
"""Reports: what they show, and that what comes from documents, sites and file names stays text."""

from __future__ import annotations

import base64
import csv
import hashlib
import io
import itertools
import json
import re
from dataclasses import replace
from typing import Any
from xml.etree import ElementTree

import pytest

from airflow_hybrid.amounts import counted
from airflow_hybrid.model import JobState
from airflow_hybrid.model.files import Transfer
from airflow_hybrid.model.outline import DagOutline
from airflow_hybrid.model.records import JobRecord
from airflow_hybrid.overviews.replays import replays_of
from airflow_hybrid.reports.drawing import ALONE, boxes, sites, timeline
from airflow_hybrid.reports.figures import failures, took
from airflow_hybrid.reports.footprint import Constants, constants_of, footprint
from airflow_hybrid.reports.page import page
from airflow_hybrid.reports.tables import as_json, jobs_csv
from airflow_hybrid.reports.values import AgainPart, OutputPart, ReasonPart, RenewedPart, RunReport, SitePart, StepPart
from airflow_hybrid.settings import current
from airflow_hybrid.settings.options import OPTIONS

EVIL = "</style></svg><script>alert(1)</script>\"'&\x1b[2J"
JOB = JobRecord(
    "/align", "[0]", "hpc", "", "login", JobState.COMPLETED, submitted=100.0, began=110.0, seconds=3600.0, cpu_s=7200.0,
    cores=2.0, memory_mib=1000,
)  # fmt: skip
BAD = replace(JOB, index="[1]", state=JobState.FAILED, exit_code=3, reason="NonZeroExitCode")


def report(name: str = "/align") -> RunReport:
    step = StepPart(name, "failed", 2, 1, 1, 0, 100.0, 110.0, 3710.0, 7200.0, (2.0,), 2.0, (500.0,), 1000.0, (3600.0,))
    return RunReport(
        "dag", name, "failed", "/w.cwl", 90.0, 4000.0, "", (step,),
        (SitePart("hpc", ("slurm",), 2, 1, 1, 14400.0), SitePart("local", (), 0, 0, 0, 0.0)),
        (Transfer("local", "hpc", "relay", 3, 12_000_000, 4.0),),
        (replace(JOB, step=name), replace(BAD, step=name)),
        (OutputPart(f"/out/{name}", 12, "sha1$1"),),
    )  # fmt: skip


def the_page(name: str = "/align") -> str:
    made = report(name)
    return page(made, footprint(made.jobs, Constants()), Constants())


def test_the_page_says_what_ran_where_and_what_moved() -> None:
    text = the_page()
    for part in ("<dd>4</dd>", "12.0 MB", "3.0 MB/s", "NonZeroExitCode", "1 failed", "10.00 s", "1 h 0 min"):
        assert part in text, part


def test_the_title_is_the_documents_label_or_name_with_the_run_below() -> None:
    assert "<title>dag, run /align</title>" in the_page() and "<h1>dag</h1><p>run /align</p>" in the_page()
    outline = DagOutline("/w.cwl", (), name="w", label="Words")
    asked = [(label, dag_id) for label in ("Words", "") for dag_id in ("hello", "run")]
    assert [replace(outline, label=label).title_of(dag_id) for label, dag_id in asked] == [
        "Words", "Words", "hello", "w"
    ]  # fmt: skip
    one = replace(report(), run_id="manual__1", title="Words", dag_id="hello")
    assert (one.heading, one.subtitle) == ("Words", "DAG hello, run manual__1")
    assert replace(one, dag_id="run").subtitle == "run manual__1"


def test_exit_code_0_of_a_failed_job_is_shown_and_no_run_took_less_than_no_time() -> None:
    odd = [replace(BAD, exit_code=code, reason="it said so") for code in (0, None)]
    rows = failures(replace(report(), jobs=tuple(odd)))
    assert rows == [("/align[1]", "hpc", "", "FAILED", code, "it said so") for code in ("0", "")]
    assert took(replace(report(), began=100.0, ended=98.0)) == "0.00 s"


def stopped() -> RunReport:
    """A run of which a step failed, one was not run for that reason, and one was skipped."""
    failed = report().steps[0]
    others = replace(failed, succeeded=0, failed=0, submitted=None, began=None, finished=None, total=None)
    not_run = replace(others, path="/call", state="not run", because="because /align failed")
    why = ReasonPart("/align", "failed", "1 of 2 jobs: [1]", "hpc", "it ran out of memory", "raise `ramMin`")
    inside = replace(others, path="/each", kind="workflow", state="not run", because="because /align failed")
    skipped = replace(others, path="/plot", state="skipped")
    return replace(report(), steps=(failed, not_run, inside, skipped), reasons=(why,))


def test_steps_that_were_not_run_have_rows_and_say_why() -> None:
    made = stopped()
    picture = ElementTree.fromstring(timeline(made))
    words = [text.text for text in picture.iter("text")]
    assert words[words.index("/call") + 1] == "not run, because /align failed"
    assert words[words.index("/plot") + 1] == "skipped" and "/each" not in words
    used = footprint(made.jobs, Constants())
    assert "<tr><td>/call</td><td>not run, because /align failed</td><td></td>" in page(made, used, Constants())
    steps = json.loads(as_json(made, used, Constants()))["steps"]
    assert [(step["path"], step["state"], step["because"]) for step in steps[:2]] == [
        ("/align", "failed", ""), ("/call", "not run", "because /align failed")
    ]  # fmt: skip
    rows = list(csv.DictReader(io.StringIO(jobs_csv(made))))
    assert [(row["name"], row["state"], row["reason"]) for row in rows[1:]] == [
        ("/align[1]", "FAILED", "NonZeroExitCode"), ("/call", "not run", "because /align failed")
    ]  # fmt: skip


def test_a_run_of_which_no_step_began_has_rows_for_its_steps() -> None:
    made = stopped()
    words = [text.text for text in ElementTree.fromstring(timeline(replace(made, steps=made.steps[1:2]))).iter("text")]
    assert words[-2:] == ["/call", "not run, because /align failed"]


def test_failures_have_reason_and_remedy() -> None:
    made = stopped()
    row = "".join(
        f"<td>{cell}</td>"
        for cell in ("/align", "failed", "1 of 2 jobs: [1]", "hpc", "it ran out of memory", "raise `ramMin`")
    )
    text = page(made, footprint(made.jobs, Constants()), Constants())
    assert f"<tr>{row}</tr>" in text and "<h2>Waits and failures</h2>" in text
    assert "Waits and failures" not in the_page()


def test_what_was_lost_and_made_again_is_in_page_and_json() -> None:
    reason = "1 job ran again, because call missed 1 file"
    lost, now = "hybrid://hpc/login/a1-1/0/x", "hybrid://hpc/login/a2-1/0/x"
    again = AgainPart("align[1]", "call", 1, reason)
    renewed = RenewedPart("align[1]", "call", lost, now, 12, "sha1$1")
    made = replace(report(), made_again=(again,), renewed=(renewed,))
    text = page(made, footprint(made.jobs, Constants()), Constants())
    assert "<h2>Made again</h2>" in text and f"<td>align[1]</td><td>{reason}</td>" in text
    assert f"<td>align[1]</td><td>{lost}</td><td>{now}</td><td>12 B</td>" in text
    value = json.loads(as_json(made, footprint(made.jobs, Constants()), Constants()))
    assert value["made_again"] == [{"task": "align[1]", "missed_by": "call", "jobs": 1, "reason": reason}]
    assert [(file["before"], file["now"], file["task"]) for file in value["renewed"]] == [(lost, now, "align[1]")]
    assert "Made again" not in the_page()


def test_the_page_allows_no_script_and_nothing_from_elsewhere() -> None:
    text = the_page()
    (style,) = re.findall(r"<style>(.*?)</style>", text, re.DOTALL)
    digest = base64.b64encode(hashlib.sha256(style.encode()).digest()).decode()
    assert f"content=\"default-src 'none'; style-src 'sha256-{digest}'; base-uri 'none'; form-action 'none'\"" in text
    assert "<script" not in text and "style=" not in text and not re.search(r'(src|href)="(?!data:text/csv)', text)


def test_hostile_names_stay_text() -> None:
    for text in (the_page(EVIL), timeline(report(EVIL), ALONE), boxes("x", "s", [(EVIL, [1.0], None)])):
        assert "<script" not in text and "\x1b" not in text
    ElementTree.fromstring(timeline(report(EVIL), ALONE))
    ElementTree.fromstring(boxes(EVIL, EVIL, [(EVIL, [1.0], 2.0)]))


def test_words_beside_a_dozen_transfers_lie_neither_on_each_other_nor_on_sites() -> None:
    names = ("a", "b", "c")
    pairs = [(one, other) for one in names for other in names if one != other]
    moved = [Transfer(*pair, route, 3, 12_000_000, 4.0) for pair in pairs for route in ("relay", "direct")]
    places = tuple(SitePart(name, (), 1, 0, 1, 0.0) for name in names)
    picture = ElementTree.fromstring(sites(replace(report(), sites=places, transfers=tuple(moved))))
    height = float(picture.attrib["viewBox"].split()[-1])
    words = [text for text in picture.iter("text") if " to " in (text.text or "")]
    assert len({text.text for text in words}) == 12
    assert {float(text.attrib["x"]) for text in words} == {490.0}  # right of sites, which end at 334
    lines = sorted(float(text.attrib["y"]) for text in words)
    assert all(below - above >= 16 for above, below in itertools.pairwise(lines))
    assert lines[0] >= 12 and lines[-1] <= height - 4


@pytest.mark.parametrize(
    ("reason", "cell"),
    [("=1+1", "'=1+1"), ("\uff1d1+1", "'\uff1d1+1"), ("a;=1+1; b", "a; =1+1; b"), ("a=1;b", "a=1;b")],
)
def test_csv_has_all_jobs_and_no_formulas(reason: str, cell: str) -> None:
    made = report()
    rows = list(csv.DictReader(io.StringIO(jobs_csv(replace(made, jobs=(replace(JOB, reason=reason), BAD))))))
    assert [(row["step"], row["index"], row["state"], row["reason"]) for row in rows] == [
        ("/align", "[0]", "COMPLETED", cell), ("/align", "[1]", "FAILED", "NonZeroExitCode")
    ]  # fmt: skip


def test_json_has_the_sums() -> None:
    made = report()
    value = json.loads(as_json(made, footprint(made.jobs, Constants()), Constants()))
    assert (value["core_hours"], len(value["jobs"]), value["transfers"][0]["bytes"]) == (4.0, 2, 12_000_000)


def test_energy_by_the_method_of_green_algorithms() -> None:
    """An hour of two full cores and 1 GB: (2 x 12 W + 0.3725 W) x 1.67 = 40.7 Wh; at 475 g/kWh: 19.3 g."""
    job = replace(JOB, memory_mib=round(1e9 / 2**20))
    used = footprint([job, replace(job, reused=True), replace(job, seconds=None)], Constants())
    assert (used.jobs, used.without_use) == (1, 0)
    assert used.kwh == pytest.approx(0.04070, abs=1e-5) and used.co2e_g == pytest.approx(19.333, abs=1e-2)
    assert footprint([replace(job, cpu_s=None)], Constants()).without_use == 1


def test_where_constants_come_from() -> None:
    settings = replace(current(), pue=1.2, core_watts=5.0)
    constants = constants_of(settings, {"core_watts": 8.0, "memory_watts": None})
    assert [(row.name, row.value, row.source) for row in constants.rows()] == [
        ("core_watts", 8.0, "option --core-watts"),
        ("memory_watts", 0.3725, "default, as in Green Algorithms"),
        ("pue", 1.2, "setting [airflow_hybrid] pue"),
        ("grams_per_kwh", 475.0, "default, as in Green Algorithms"),
    ]
    made = report()
    used = footprint(made.jobs, constants)
    text = page(made, used, constants)
    assert "<td>power of a core in use (W)</td><td>8</td><td>option --core-watts</td>" in text
    assert "by the method of Green Algorithms, doi:10.1002/advs.202100707.</p>" in text
    value = json.loads(as_json(made, used, constants))["footprint"]
    assert value["constants"]["pue"] == {"value": 1.2, "source": "setting [airflow_hybrid] pue"}
    assert value["method"] == "Green Algorithms, doi:10.1002/advs.202100707"


def test_the_default_constants_are_those_of_the_settings() -> None:
    numbers = {option.name: float(option.default) for option in OPTIONS if option.kind == "number"}
    assert {row.name: row.value for row in Constants().rows()} == numbers


def test_one_of_a_thing_is_not_several() -> None:
    one = SitePart("hpc", (), 1, 0, 1, 3600.0)
    drawn = sites(replace(report(), sites=(one,), transfers=(Transfer("hpc", "hpc", "relay", 1, 12, 4.0),)), ALONE)
    assert "1 job, 1 core-hour, 1 node<" in drawn
    assert [counted(n, "batch", "batches") for n in (0, 1, 12_000)] == ["0 batches", "1 batch", "12,000 batches"]
    assert [counted(n, "core") for n in (1.0, 0.5)] == ["1 core", "0.5 cores"]


def test_a_run_without_jobs_has_a_report() -> None:
    empty = replace(report(), steps=(), sites=(), transfers=(), jobs=(), outputs=())
    text = page(empty, footprint((), Constants()), Constants())
    assert "Nothing was moved." in text and "no step has begun" in text


@pytest.mark.parametrize("replays, table", [
    ([{"jobs": 10**400, "files": 1, "changed": 0}], None),
    ([], {"file:///a": {"location": "file:///b", "size": 10**400}}),
])  # fmt: skip
def test_numbers_that_nobody_has_are_told_of_what_was_made_again(replays: Any, table: Any) -> None:
    (problem,) = replays_of([("align", replays, table)], lambda _: "").problems()
    assert problem.startswith("what task align has made again is not shown: 1000")
    assert problem.endswith("0 is no number of jobs or files") and len(problem) < 150
