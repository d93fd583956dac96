# Licensed under the Apache License, Version 2.0; see the LICENSE file.
"""Options and lists of array tasks in the words of queue systems."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator, Mapping
from typing import Any

from airflow_hybrid.schedulers.base import interpreter


def task_numbers(text: str) -> Iterator[int]:
    """``3-9,12%2`` -> 3 .. 9, 12; long lists may be cut off with ``...``."""
    for piece in text.strip("[]").partition("%")[0].split(","):
        first, _, last_and_step = piece.partition("-")
        last, _, step = last_and_step.partition(":")
        if first.isdigit() and (not last or last.isdigit()):
            yield from range(int(first), int(last or first) + 1, int(step) if step.isdigit() else 1)


def count_tasks(text: str) -> int:
    """How many array tasks a list of numbers stands for; at least one."""
    return max(1, sum(1 for _ in task_numbers(text)))


def kebab(key: str) -> str:
    """``cpusPerTask`` -> ``cpus-per-task``; ``ignorePBS`` -> ``ignore-pbs``."""
    return re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "-", key).replace("_", "-").lower()


def option(key: str, value: Any) -> list[str]:
    """One long option as words: true is a flag, false and None are left out, a list is joined by commas."""
    if value is None or value is False:
        return []
    if value is True:
        return [f"--{key}"]
    text = ",".join(map(str, value)) if isinstance(value, list | tuple) else str(value)
    return [f"--{key}={text}"]


def flag(name: str, value: Any) -> list[str]:
    """One option of the form ``-x value`` as words; a mapping becomes ``a=1,b=2``, a rerunnable job ``-r y``."""
    if name == "r" and value is True:
        value = "y"
    if value is None or value is False:
        return []
    if isinstance(value, Mapping):
        value = [f"{k}={v}" for k, v in value.items() if v is not None]
        if not value:
            return []
    text = ",".join(map(str, value)) if isinstance(value, list | tuple) else str(value)
    return [f"-{name}"] if value is True else [f"-{name}", text]


def paired(number: str, name: str) -> str:
    """Shell text that makes ``<id> <name>`` of lines with an id (the group in ``number``) and lines with a name."""
    steps = (f"s/{number}/\\1/", "t k", f"s/{name}//", "t n", "b", ":k", "h", "b", ":n", "G")
    return "sed -n '" + "\n".join(steps) + "\ns/\\(.*\\)\\n\\(.*\\)/\\2 \\1/p'"


def logged(script: str, log: str) -> str:
    """A job script that writes its output to a file itself, for schedulers that deliver output later."""
    words = " ".join(interpreter(script)).split()  # `/usr/bin/env -S bash -l`, too
    if not any(re.search(r"(^|/)(a|ba|da|k|z)?sh$", word) for word in words):
        return script
    lines = script.split("\n")
    first = next((i for i, line in enumerate(lines) if line.strip() and not line.startswith("#")), len(lines))
    return "\n".join([*lines[:first], f"exec >>{shlex.quote(log)} 2>&1", *lines[first:]])
