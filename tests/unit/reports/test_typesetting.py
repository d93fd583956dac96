# Licensed under the Apache License, Version 2.0; see the LICENSE file.
"""Reports as PDF and PNG: texts stay texts, nothing is read or fetched, and what is large stays small."""

from __future__ import annotations

import html
import re
import socketserver
import struct
import sys
import threading
from dataclasses import replace
from pathlib import Path

import pytest
import typst

from airflow_hybrid.config.values import REPORT_FORMATS
from airflow_hybrid.errors import ConfigError
from airflow_hybrid.reports.drawing import timeline
from airflow_hybrid.reports.files import FORMATS, content, format_of
from airflow_hybrid.reports.footprint import Constants, footprint
from airflow_hybrid.reports.texts import shown
from airflow_hybrid.reports.typesetting import process
from airflow_hybrid.reports.typesetting.process import _typeset
from airflow_hybrid.reports.typesetting.values import report_values
from airflow_hybrid.reports.values import RunReport
from tests.unit.reports.test_reports import JOB, report, stopped

MARKUP = [
    '#read("/etc/hostname")', '#import "common.typ": *', "$x^2$ *bold* @there <label>", '<image href="file:///etc/hostname"/>',
    '</style></svg><image href="http://127.0.0.1:9/x.png"/>', "#panic()", "{{", "\\", '"', "/a" * 2000, "\x1b[2J\u202e",
]  # fmt: skip


FOLDER = Path(process.__file__).parent


def pages(pdf: bytes) -> int:
    return pdf.count(b"/Type/Page/") + pdf.count(b"/Type /Page\n") + pdf.count(b"/Type/Page\n")


def picture_size(png: bytes) -> tuple[int, int]:
    """Width and height (https://www.w3.org/TR/png/#11IHDR)."""
    assert png.startswith(b"\x89PNG\r\n\x1a\n")
    width, height = struct.unpack(">II", png[16:24])
    return width, height


def made(of: RunReport, ending: str) -> bytes:
    return content(of, ending, Constants())


def of_steps(*names: str) -> RunReport:
    """A report with a step, a job, a site and a transfer of each name."""
    one = report()
    return replace(
        one,
        dag_id=names[0],
        run_id=names[0],
        user=names[0],
        document=names[0],
        problems=names,
        steps=tuple(replace(one.steps[0], path=name) for name in names),
        sites=tuple(replace(one.sites[0], name=name) for name in names),
        transfers=tuple(replace(one.transfers[0], source=name, target=names[0]) for name in names),
        jobs=tuple(replace(job, step=name, reason=name) for job in one.jobs for name in names),
    )


def test_a_run_is_printed_and_its_timeline_drawn() -> None:
    pdf, png = made(report(), ".pdf"), made(report(), ".png")
    assert pdf.startswith(b"%PDF-") and b"pdfaid" in pdf
    assert picture_size(png)[0] == 2027


def cells_of(report: RunReport) -> list[str]:
    """What Typst has understood, from its export as HTML: the texts of the tables."""
    values = report_values(report, footprint(report.jobs, Constants()), Constants())
    source = b"".join((FOLDER / name).read_bytes() for name in ("common.typ", "report.typ"))
    page = _typeset(source, values, "html").decode()
    return [html.unescape(cell) for cell in re.findall("<td>(.*?)</td>", page)]


def test_long_names_are_broken_by_nothing_that_is_copied_with_them() -> None:
    name = "/work/" + "x" * 60
    assert name in cells_of(of_steps(name))  # without U+200B
    source = (FOLDER / "common.typ").read_bytes()
    page = b"#set page(width: 200pt, height: auto, margin: 0pt)\n"
    heights = [
        picture_size(_typeset(source + page + f'#name("{text}")'.encode(), {"at": 0}, "png"))[1]
        for text in ("/work/", name)
    ]
    assert heights[1] > 1.5 * heights[0]  # several lines


def test_steps_that_were_not_run_and_remedies_are_printed() -> None:
    cells = cells_of(stopped())
    assert cells[cells.index("/call") + 1] == "not run"
    assert cells[cells.index("it ran out of memory") + 1] == "raise `ramMin`"
    assert "upstream_failed" not in cells


def test_markup_in_names_is_text() -> None:
    """What Typst has understood, and the files can be made."""
    one = of_steps(*MARKUP)
    values = report_values(one, footprint(one.jobs, Constants()), Constants())
    cells = set(cells_of(one))
    assert {shown(name) for name in MARKUP} <= cells
    assert not any("<image" in picture for picture in (*values["timelines"], values["picture_of_sites"]))
    assert made(one, ".pdf").startswith(b"%PDF-") and picture_size(made(one, ".png"))


@pytest.mark.parametrize(
    "source", ['#read("common.typ")', '#image("process.py", format: "svg")', '#import "report.typ"']
)
def test_a_name_that_became_markup_could_read_nothing(source: str) -> None:
    """Not even what is beside the document: the process has no descriptor left."""
    with pytest.raises(typst.TypstError) as caught:
        _typeset(source.encode(), {"at": 0}, "pdf")
    assert str(caught.value).startswith("failed to load file (Too many open files")


def test_a_name_that_became_markup_could_connect_to_nobody(monkeypatch: pytest.MonkeyPatch) -> None:
    """Typst's only way to the network is a package, which it would get through this proxy."""
    met = []

    class Proxy(socketserver.BaseRequestHandler):
        def handle(self) -> None:
            met.append(self.client_address)

    with socketserver.TCPServer(("127.0.0.1", 0), Proxy) as server:
        thread = threading.Thread(target=server.serve_forever, daemon=True)
        thread.start()
        monkeypatch.setenv("https_proxy", f"http://127.0.0.1:{server.server_address[1]}")
        with pytest.raises(typst.TypstError) as caught:
            _typeset(b'#import "@preview/cetz:0.4.0"', {"at": 0}, "pdf")
        server.shutdown()
        thread.join()
    assert str(caught.value).startswith("failed to download package (") and not met


def test_a_character_without_a_letter_is_a_box_and_the_file_says_so() -> None:
    """U+0378 is no character, so no font has it. A file that can show all its characters is a PDF/A."""
    pdf = made(of_steps("/a\u0378"), ".pdf")
    assert pdf.startswith(b"%PDF-") and b"pdfaid" not in pdf


def test_ten_thousand_jobs_and_three_hundred_steps_are_few_pages() -> None:
    one = report()
    steps = tuple(replace(one.steps[0], path=f"/group/step_{number}", total=34) for number in range(300))
    jobs = tuple(replace(JOB, step=step.path, index=f"[{n}]") for step in steps for n in range(34))
    large = replace(one, steps=steps, jobs=jobs)
    assert "and 100 more steps</text>" in timeline(large)
    pdf, png = made(large, ".pdf"), made(large, ".png")
    assert (pages(pdf), len(pdf) < 1_000_000) == (16, True)
    assert (picture_size(png), len(png) < 2_000_000) == ((2027, 9963), True)


def test_without_the_package_both_formats_say_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "typst", None)
    for name in ("run.pdf", "run.PNG"):
        with pytest.raises(ConfigError) as caught:
            format_of(name)
        assert str(caught.value) == (
            "PDF and PNG are set by the package typst, which is not installed\n"
            "  -> pip install 'airflow-hybrid[report]', or choose HTML or SVG"
        )
    assert format_of("run.svg") == ".svg"


def test_formats_of_the_hybrid_file_are_those_of_files() -> None:
    assert [f".{name}" for name in REPORT_FORMATS] == list(FORMATS)
