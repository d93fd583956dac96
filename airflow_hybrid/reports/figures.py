# Licensed under the Apache License, Version 2.0; see the LICENSE file.
"""What a report says of a run as a whole, and rows of its tables: for the page and for the printed document."""

from __future__ import annotations

from statistics import median

from airflow_hybrid.amounts import co2e, core_hours, duration, energy, size
from airflow_hybrid.model.records import JobRecord
from airflow_hybrid.reports.footprint import Footprint
from airflow_hybrid.reports.texts import when
from airflow_hybrid.reports.values import RunReport, StepPart

_MIB_PER_GIB = 1024
STEPS = (
    "step", "state", "jobs", "failed", "reused", "time, median", "cores, median", "cores asked", "memory, most",
    "memory asked", "core-hours",
)  # fmt: skip
REASONS = ("step", "state", "jobs", "place", "why", "what to do")
TRANSFERS = ("from", "to", "route", "files", "bytes", "rate")
MADE_AGAIN = ("task", "why")
RENEWED = ("task", "file that was lost", "is now", "size")
FAILURES = ("job", "place", "node", "state", "exit code", "reason")


def about(report: RunReport) -> list[tuple[str, str]]:
    """What the run is, and how it ended."""
    return [
        ("state", _state(report)),
        ("document", report.document),
        ("triggered by", report.user or "-"),
        ("began", when(report.began)),
        ("took", took(report)),
        ("report made", when(report.made_at)),
    ]


def sums(report: RunReport, used: Footprint) -> list[tuple[str, str]]:
    """What it has done and used."""
    return [
        ("jobs", f"{len(report.jobs)}, of which {len(report.failures)} failed"),
        ("core-hours", core_hours(report.core_hours)),
        ("moved between sites", size(moved(report))),
        ("energy", f"{energy(used.kwh)}, {co2e(used.co2e_g)} CO2e (an estimate; see below)"),
    ]


def moved(report: RunReport) -> int:
    """Bytes that went from one site to another."""
    return sum(transfer.bytes for transfer in report.transfers if transfer.source != transfer.target)


def _state(report: RunReport) -> str:
    if report.by_last_task:
        return (
            f"{report.state}: the run's last task has made this report, when the outputs were in place; how the run"
            " ended is not in it"
        )
    if report.ended is None:
        return f"{report.state}: the run had not ended when this report was made"
    return report.state


def took(report: RunReport) -> str:
    """How long it ran, or has run."""
    until = report.ended if report.ended is not None else report.made_at
    if report.began is None or until is None:
        return "-"
    so_far = "" if report.ended is not None else " until then"
    return duration(until - report.began) + so_far


def transfers(report: RunReport) -> list[tuple[str, ...]]:
    """What was moved, with the columns :data:`TRANSFERS`."""
    return [
        (
            transfer.source,
            transfer.target,
            transfer.route,
            str(transfer.files),
            size(transfer.bytes),
            f"{size(transfer.bytes / transfer.seconds)}/s" if transfer.seconds else "",
        )
        for transfer in report.transfers
    ]


def steps(report: RunReport) -> list[tuple[str, ...]]:
    """What the steps had and used, with the columns :data:`STEPS`."""
    return [_step(step) for step in report.steps]


def reasons(report: RunReport) -> list[tuple[str, ...]]:
    """Why steps wait, failed or were not run, with the columns :data:`REASONS`."""
    return [(part.step, part.state, part.jobs, part.place, part.why, part.remedy) for part in report.reasons]


def _step(step: StepPart) -> tuple[str, ...]:
    return (
        step.path,
        step.state,
        "" if step.total is None else f"{step.total:,}",
        f"{step.failed:,}" if step.failed else "",
        f"{step.reused:,}" if step.reused else "",
        duration(median(step.seconds)) if step.seconds else "",
        f"{median(step.cores):.2g}" if step.cores else "",
        "" if step.cores_asked is None else f"{step.cores_asked:g}",
        _memory(max(step.memory_mib, default=None)),
        _memory(step.memory_asked_mib),
        core_hours(step.core_s / 3600),
    )


def _memory(mib: float | None) -> str:
    if mib is None:
        return ""
    return f"{mib:.0f} MiB" if mib < _MIB_PER_GIB else f"{mib / _MIB_PER_GIB:.1f} GiB"


def made_again(report: RunReport) -> list[tuple[str, ...]]:
    """Jobs that ran again, with the columns :data:`MADE_AGAIN`."""
    return [(again.task, again.reason) for again in report.made_again]


def renewed(report: RunReport) -> list[tuple[str, ...]]:
    """Files that were made again, with the columns :data:`RENEWED`."""
    return [(file.task, file.before, file.now, size(file.size)) for file in report.renewed]


def failures(report: RunReport) -> list[tuple[str, ...]]:
    """Jobs that did not succeed, with the columns :data:`FAILURES`."""
    return [
        (job.name, job.deployment, job.node, job.state.value, _code(job), job.reason_and_rule)
        for job in report.failures
    ]


def _code(job: JobRecord) -> str:
    """0 is one, too: the document may call it a failure."""
    return "" if job.exit_code is None else str(job.exit_code)
