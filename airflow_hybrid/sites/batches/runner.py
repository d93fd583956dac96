# Licensed under the Apache License, Version 2.0; see the LICENSE file.
"""The runner: shell text that pulls the jobs of a batch and runs them one after the other."""

from __future__ import annotations

from airflow_hybrid import shell_text
from airflow_hybrid.model.clean_shell import clean_restart
from airflow_hybrid.removal import shell as removal
from airflow_hybrid.sites.batches.script import SHARD, shell_word


def runner(directory: str, jobs: int, pack_s: float, tail: str) -> str:
    """``runner.sh`` of a batch; ``tail`` comes from the scheduler."""
    head = f"ah_B={shell_word(directory)}\nah_n={jobs}\nah_pack={round(pack_s * 100)}\nah_shard={SHARD}\n"
    text = "".join(shell_text.load(__package__, name) for name in ("memory.sh", "runner.sh", "launcher.sh"))
    return f"#!/bin/sh\n{clean_restart()}{head}{removal.functions()}{text}{tail}"
