# Licensed under the Apache License, Version 2.0; see the LICENSE file.
"""Figures -> a table for people and JSON for programs, and whether the targets are reached."""

from __future__ import annotations

import dataclasses
import json
import statistics
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from benchmarks.ours import Cost
from benchmarks.parse_time import ParseTime
from benchmarks.peers import Measured

STREAMFLOW, OURS = "StreamFlow", "airflow_hybrid"
BATCH, FUSED = "airflow_hybrid (batch)", "airflow_hybrid (fused)"
CWLTOOL, RUN = "cwltool --parallel", "airflow hybrid run"
MIB = 1024.0


@dataclass
class Figure:
    """All runs of one engine on one case.

    :ivar load: load averages before the first run.
    :ivar error: why there is no time, or fewer runs than asked for.
    """

    case: str
    engine: str
    load: str
    runs: list[Measured] = field(default_factory=list)
    error: str = ""

    @property
    def wall_s(self) -> float | None:
        return statistics.median(run.wall_s for run in self.runs) if self.runs else None

    @property
    def cpu_s(self) -> float | None:
        known = [run.cpu_s for run in self.runs if run.cpu_s is not None]
        return statistics.median(known) if known else None


@dataclass(frozen=True)
class Target:
    """Something that must hold, with what was seen; ``seen`` None: not measured."""

    what: str
    limit: float
    unit: str
    seen: float | None

    @property
    def reached(self) -> bool | None:
        return None if self.seen is None else self.seen <= self.limit


@dataclass
class Results:
    """Everything that was measured so far."""

    machine: dict[str, str]
    versions: dict[str, str]
    settings: dict[str, Any]
    figures: list[Figure] = field(default_factory=list)
    costs: list[Cost] = field(default_factory=list)
    parse: list[ParseTime] = field(default_factory=list)
    skipped: list[str] = field(default_factory=list)

    def wall_s(self, case: str, engine: str) -> float | None:
        return next((f.wall_s for f in self.figures if (f.case, f.engine) == (case, engine)), None)

    def ratio(self, case: str, engine: str, peer: str = STREAMFLOW) -> float | None:
        """Our time over the peer's; None if one of them is not there."""
        ours, theirs = self.wall_s(case, engine), self.wall_s(case, peer)
        return ours / theirs if ours and theirs else None

    def cpu_ratio(self, case: str, engine: str, peer: str) -> float | None:
        """Our CPU time over the peer's; None if one of them is not there."""
        times = {f.engine: f.cpu_s for f in self.figures if f.case == case}
        ours, theirs = times.get(engine), times.get(peer)
        return ours / theirs if ours and theirs else None

    def targets(self) -> list[Target]:
        """The targets of docs/performance.md."""
        costs = {(c.case.jobs, c.engine): c for c in self.costs}
        found = [
            Target("1,000 local, default chunks / StreamFlow", 0.6, "x", self.ratio("scatter-1000-local", OURS)),
            Target("1,000 local, scatter: batch / StreamFlow", 0.3, "x", self.ratio("scatter-1000-local", BATCH)),
            Target("1,000 on Slurm, default chunks / StreamFlow", 0.25, "x", self.ratio("scatter-1000-slurm", OURS)),
            Target("100 on Slurm, default chunks / StreamFlow", 0.9, "x", self.ratio("scatter-100-slurm", OURS)),
            Target("chain of 10 local, fuse: chains / StreamFlow", 0.8, "x", self.ratio("chain-10-local", FUSED)),
            Target("chain of 10 local, a task each / StreamFlow", 2.0, "x", self.ratio("chain-10-local", OURS)),
            Target("chain of 10 on Slurm, fuse: chains / StreamFlow", 0.35, "x", self.ratio("chain-10-slurm", FUSED)),
        ]
        ratio = self.cpu_ratio("chain-10-local", RUN, CWLTOOL)
        found.append(Target("CPU of airflow hybrid run, chain of 10 local / cwltool", 3.0, "x", ratio))
        for engine in (OURS, BATCH):
            small, large = costs.get((1000, engine)), costs.get((10_000, engine))
            name = "default chunks" if engine == OURS else "scatter: batch"
            for size, cost in (("1,000", small), ("10,000", large)):
                found.append(Target(f"CPU per job at {size}, {name}", 5.0, "ms", cost.per_job_ms if cost else None))
            growth = large.per_job_ms / small.per_job_ms if large and small else None
            found.append(Target(f"CPU per job at 10,000 / at 1,000, {name}", 1.2, "x", growth))
        for component in ("worker", "triggerer"):
            peaks = [c.peaks_mib[component] for c in self.costs if component in c.peaks_mib and c.case.jobs == 10_000]
            found.append(Target(f"peak RSS of {component} at 10,000", MIB, "MiB", max(peaks, default=None)))
        for row in self.parse:
            found.append(Target(f"warm DAG parse / import of airflow.sdk, {row.document}", 0.15, "x", row.over_sdk))
            found.append(Target(f"cwltool modules imported by it, {row.document}", 0, "", len(row.imported)))
        return found

    def to_json(self) -> dict[str, Any]:
        figures = [{**dataclasses.asdict(f), "wall_s": f.wall_s, "cpu_s": f.cpu_s} for f in self.figures]
        for row, figure in zip(figures, self.figures, strict=True):
            row["over_streamflow"] = self.ratio(figure.case, figure.engine)
        costs = [
            {**dataclasses.asdict(c), "case": c.case.name, "jobs": c.case.jobs, "cpu_s": c.cpu_s,
             "per_job_ms": c.per_job_ms, "per_job_net_ms": c.per_job_net_ms}
            for c in self.costs
        ]  # fmt: skip
        targets = [{**dataclasses.asdict(t), "reached": t.reached} for t in self.targets()]
        return {
            "machine": self.machine, "versions": self.versions, "settings": self.settings, "figures": figures,
            "costs": costs, "parse": [dataclasses.asdict(p) for p in self.parse], "targets": targets,
            "skipped": self.skipped,
        }  # fmt: skip

    def write(self, file: Path) -> None:
        new = file.with_name(file.name + ".new")
        new.write_text(json.dumps(self.to_json(), indent=1) + "\n")
        new.replace(file)

    def text(self) -> str:
        """Tables in Markdown."""
        parts = ["\n".join(f"- {k}: {v}" for k, v in {**self.machine, **self.versions}.items())]
        if self.figures:
            parts.append(self._wall_table())
        if self.costs:
            parts.append(_cost_table(self.costs))
        if self.parse:
            parts.append(_parse_table(self.parse))
        parts.append(_target_table(self.targets()))
        parts += [f"skipped: {why}" for why in self.skipped]
        return "\n\n".join(parts)

    def _wall_table(self) -> str:
        rows = []
        for figure in self.figures:
            walls = [run.wall_s for run in figure.runs]
            spread = f"{min(walls):.1f} - {max(walls):.1f}" if walls else ""
            note = figure.error.splitlines()[0][:100] if figure.error else (figure.runs[-1].note if walls else "")
            rows.append([
                figure.case, figure.engine, len(walls), _number(figure.wall_s, 2), spread,
                _number(self.ratio(figure.case, figure.engine), 2),
                _number(self.ratio(figure.case, figure.engine, CWLTOOL), 2),
                _number(figure.cpu_s, 1), note,
            ])  # fmt: skip
        head = ["case", "engine", "runs", "wall, s (median)", "range", "/ StreamFlow", "/ cwltool", "CPU, s", ""]
        return markdown(head, rows)


def _cost_table(costs: Iterable[Cost]) -> str:
    rows = []
    for c in costs:
        parts = ", ".join(f"{name} {cpu:.1f}" for name, cpu in c.parts_cpu_s.items() if cpu >= 0.05)
        peaks = ", ".join(f"{n} {c.peaks_mib[n]:.0f}" for n in ("worker", "triggerer", "scheduler") if n in c.peaks_mib)
        rows.append([
            c.case.name, c.engine, _number(c.wall_s, 1), _number(c.cpu_s, 1), _number(c.per_job_ms, 2),
            _number(c.per_job_net_ms, 2), parts, peaks,
        ])  # fmt: skip
    head = [
        "case",
        "engine",
        "wall, s",
        "CPU, s",
        "CPU per job, ms",
        "less idle, ms",
        "CPU, s, by part",
        "peak RSS, MiB",
    ]
    return markdown(head, rows)


def _parse_table(parse: Iterable[ParseTime]) -> str:
    rows = [
        [p.document, p.tasks, _number(p.empty_ms, 1), _number(p.first_ms, 1), _number(p.again_ms, 1),
         _number(p.sdk_ms, 1), _number(p.over_sdk, 3), len(p.runs_ms), ", ".join(p.imported) or "none"]
        for p in parse
    ]  # fmt: skip
    head = ["DAG file", "tasks", "empty file, ms", "over it, ms", "again, ms", "import of airflow.sdk, ms", "/ import",
            "runs", "cwltool's modules imported"]  # fmt: skip
    return markdown(head, rows)


def _target_table(targets: Iterable[Target]) -> str:
    said = {True: "yes", False: "**no**", None: "not measured"}
    rows = [
        [t.what, f"<= {t.limit:g} {t.unit}".strip(), "" if t.seen is None else f"{t.seen:.3g} {t.unit}".strip(),
         said[t.reached]]
        for t in targets
    ]  # fmt: skip
    return markdown(["target", "limit", "measured", "reached"], rows)


def markdown(head: Sequence[str], rows: Iterable[Sequence[object]]) -> str:
    """A Markdown table, padded so that it is also readable as it is."""
    cells = [list(head), *[[str(cell) for cell in row] for row in rows]]
    widths = [max(len(row[k]) for row in cells) for k in range(len(head))]
    lines = ["| " + " | ".join(cell.ljust(w) for cell, w in zip(row, widths, strict=True)) + " |" for row in cells]
    return "\n".join([lines[0], "|" + "|".join("-" * (w + 2) for w in widths) + "|", *lines[1:]])


def _number(value: float | None, digits: int) -> str:
    return "" if value is None else f"{value:.{digits}f}"
