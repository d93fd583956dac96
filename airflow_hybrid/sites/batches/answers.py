# Licensed under the Apache License, Version 2.0; see the LICENSE file.
"""A location's answers about batch directories, as values. Pure."""

from __future__ import annotations

import enum
import json
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

from airflow_hybrid.model import JsonValue
from airflow_hybrid.schedulers.asking import SAID
from airflow_hybrid.sites.batches.directory import BatchReport, Ending, Evidence

MOST_SAID = 4000
_MOST_DIGITS = 14
"""how many characters of a site's message are kept"""


class VerdictKind(enum.Enum):
    """The outcome that a command about batches reports; the values are the words on its line ``#ah <word>``."""

    SUBMITTED = "submitted"
    ATTACHED = "attached"
    """it was submitted before"""
    CONFLICT = "conflict"
    """there are batches that the caller does not know about"""
    REFUSED = "refused"
    """the scheduler does not accept it"""
    CANCELLED = "cancelled"
    DONE = "done"
    MISSING = "missing"
    """a program is missing"""
    NO_DIRECTORY = "nodir"
    NOT_UNPACKED = "unpack"
    FOREIGN = "foreign"
    """something that is not ours is in the way"""
    LOCKED = "locked"
    UNKNOWN = "unknown"
    """the scheduler gave no clear answer"""
    FAILED = "failed"
    CUT_OFF = ""
    """there is no verdict, or an unknown one"""


@dataclass(frozen=True)
class Verdict:
    """The answer of a submit, cancel or inspect command.

    :ivar message: in the site's words; for an answer without a verdict, its end.
    :ivar lines: the lines before the verdict.
    """

    kind: VerdictKind
    message: str
    lines: tuple[str, ...] = ()


def parse_answer(text: str) -> Verdict:
    """Read the output of a submit, cancel or inspect command."""
    lines = text.split("\n")
    for position, line in enumerate(lines):
        if not line.startswith("#ah "):
            continue
        word = line.removeprefix("#ah ")
        if word not in _VERDICTS:
            break
        message_lines = [line for line in lines[position + 1 :] if line != SAID]
        message = "\n".join(message_lines).strip()[:MOST_SAID]
        return Verdict(_VERDICTS[word], message, tuple(lines[:position]))
    return Verdict(VerdictKind.CUT_OFF, text[-500:], tuple(lines))


_VERDICTS = {kind.value: kind for kind in VerdictKind if kind is not VerdictKind.CUT_OFF}


def parse_reports(lines: Sequence[str], task_directory: str) -> list[BatchReport]:
    """The reports among lines of ``B <batch name>``, ``K <key>``, ``I <id>`` and ``E <index>:<content>``."""
    reports: list[BatchReport] = []
    keys: list[str] = []
    ids: list[str] = []
    results: dict[str, int | None] = {}
    for line in [*lines, "B "]:
        kind, _, value = line.partition(" ")
        if kind == "B":
            if reports:
                reports[-1] = BatchReport(reports[-1].name, reports[-1].directory, tuple(keys), tuple(ids), results)
            keys, ids, results = [], [], {}
            if value:
                reports.append(BatchReport(value, f"{task_directory}/{value}", (), ()))
        elif kind == "K":
            keys.append(value)
        elif kind == "I" and value != "-":
            ids.append(value)
        elif kind == "E":
            for index, ending in _endings([value]):
                if index < len(keys):
                    results[keys[index]] = ending.exit_code
    return reports


def parse_evidence(text: str) -> Evidence:
    """:raises ValueError: the answer was cut off."""
    lines = text.split("\n")
    if "#end" not in lines:
        raise ValueError("the answer was cut off")
    parts: dict[str, list[str]] = {}
    for line in lines:
        if line in _SECTIONS:
            current = parts.setdefault(line, [])
        elif parts:
            current.append(line)
    described = "".join(parts.get("#meta", ()))
    claims, endings = _claims(parts.get("#c", ()))
    endings.update(_endings(parts.get("#ec", ())))
    for index in _killed(parts.get("#c", ())) & endings.keys():
        endings[index] = replace(endings[index], memory_kills=endings[index].memory_kills + 1)
    return Evidence(
        description=_description(described) if described else None,
        ids=tuple(line for line in parts.get("#ids", ()) if line and line != "-"),
        endings=endings,
        claims=claims,
        cancelled="#cancelled" in parts,
        present="#absent" not in parts,
        disk_full="#full" in parts,
        submitted=_submitted(parts.get("#submitted", ())),
    )


_SECTIONS = frozenset(("#meta", "#submitted", "#ids", "#ec", "#c", "#cancelled", "#absent", "#full", "#end"))


def _description(text: str) -> JsonValue:
    try:
        return json.loads(text)
    except RecursionError:
        return text  # not a mapping: BatchMeta refuses it


def parse_space(text: str) -> str:
    """The output of :func:`.commands.space_command`, for people: ``/scratch has 0 of 256 MiB free and 7 of 9 inodes``;
    ``""`` if it printed something else.
    """
    rows = [re.fullmatch(r".*?\s(\d+)\s+(\d+)\s+(\d+)\s+(\d+%|-)\s+(/.*)", line) for line in text.splitlines()]
    if len(rows) != 2 or rows[0] is None:
        return ""
    size, _, free, _, mount = rows[0].groups()
    text_for_people = f"{mount} has {int(free) // 1024} of {int(size) // 1024} MiB free"
    inodes = rows[1]
    if inodes is not None and int(inodes[1]):
        text_for_people += f" and {int(inodes[3])} of {inodes[1]} inodes"
    return text_for_people


def parse_tails(remaining: bytes) -> list[bytes]:
    """Read the output of :func:`.commands.tails_command`."""
    tails = []
    while remaining:
        number, _, remaining = remaining.partition(b"\n")
        size = int(number)
        tails.append(remaining[:size])
        remaining = remaining[size + 1 :]
    return tails


def _numbered(lines: Sequence[str]) -> Iterator[tuple[int, str]]:
    for line in lines:
        path, colon, content = line.partition(":")
        number = path.rpartition("/")[2]
        if colon and number.isdigit():
            yield int(number), content


def _endings(lines: Sequence[str]) -> Iterator[tuple[int, Ending]]:
    for index, content in _numbered(lines):
        ending = _ending(content)
        if ending is not None:
            yield index, ending


def _ending(content: str) -> Ending | None:
    """``<exit code> <hundredths> [<signal>] [oom=<number>] [node=<name>] [at=<hundredths since the epoch>]
    [cpu=<hundredths>] [mem=<MiB>]`` or ``- <reason>``; None: neither.
    """
    first, _, details = content.partition(" ")
    if first == "-":
        return Ending(None, None, details)
    if not first.isdigit():
        return None
    time, *marks = details.split(" ")
    signal = next((mark for mark in marks if mark.isalnum() and mark.isupper()), "")
    noted = dict(mark.split("=", 1) for mark in marks if "=" in mark)
    kills, memory = noted.get("oom", ""), noted.get("mem", "")
    return Ending(
        exit_code=int(first),
        seconds=_seconds(time),
        signal=signal,
        node=noted.get("node", ""),
        memory_kills=int(kills) if kills.isdigit() else 0,
        began=_seconds(noted.get("at", "")),
        cpu_s=_seconds(noted.get("cpu", "")),
        memory_used_mib=int(memory) if memory.isdecimal() and len(memory) <= _MOST_DIGITS else None,
    )


def _submitted(lines: Sequence[str]) -> float | None:
    whole, _, parts = "".join(lines).strip().partition(".")
    if not whole.isdecimal() or len(whole) > _MOST_DIGITS:
        return None
    return float(f"{whole}.{parts[:2]}") if parts.isdecimal() else float(whole)


def _seconds(hundredths: str) -> float | None:
    """None: it is no number, or none that a clock shows."""
    return int(hundredths) / 100 if hundredths.isdecimal() and len(hundredths) <= _MOST_DIGITS else None


def _killed(lines: Sequence[str]) -> set[int]:
    """Jobs in whose container the kernel killed a process for lack of memory."""
    return {index for index, content in _numbered(lines) if content == "oom"}


def _claims(lines: Sequence[str]) -> tuple[dict[int, str], dict[int, Ending]]:
    """Which element has which job; and endings that follow a claim, because nothing else could be written.

    The container engine's note about memory (``oom``) is there, too: see :func:`_killed`.
    """
    claims: dict[int, str] = {}
    endings: dict[int, Ending] = {}
    for index, content in _numbered(lines):
        ending = _ending(content.removeprefix("ended ")) if content.startswith("ended ") else None
        if index not in claims:
            claims[index] = content
        elif ending is not None and index not in endings:
            endings[index] = replace(ending, disk_full=True)
    return claims, endings
