# Licensed under the Apache License, Version 2.0; see the LICENSE file.
"""A runner's standard output: the output object, and nothing else."""

from __future__ import annotations

import contextlib
import os
import sys
from collections.abc import Iterator
from typing import Any


@contextlib.contextmanager
def stdout_kept() -> Iterator[Any]:
    """Only what is written to the yielded file reaches stdout; everything else that is printed goes to stderr."""
    sys.stdout.flush()
    real_stdout = os.dup(1)
    os.dup2(2, 1)
    try:
        with os.fdopen(os.dup(real_stdout), "w", encoding="utf-8") as stdout:
            yield stdout
    finally:
        os.dup2(real_stdout, 1)
        os.close(real_stdout)


def is_written(stdout: Any, text: str) -> bool:
    """Write the output object; False: whoever was to read it has ended (``airflow hybrid run ... | head``)."""
    try:
        stdout.write(text)
        stdout.flush()
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), stdout.fileno())  # it is flushed once more when it is closed
        return False
    return True
