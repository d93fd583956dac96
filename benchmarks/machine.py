# Licensed under the Apache License, Version 2.0; see the LICENSE file.
"""What the figures were measured on."""

from __future__ import annotations

import os
import platform
import re
from pathlib import Path


def describe() -> dict[str, str]:
    """Processor, memory, system, Python: one line each."""
    return {
        "cpu": f"{os.cpu_count()} x {_field('/proc/cpuinfo', 'model name') or platform.machine()}",
        "memory": f"{int((_field('/proc/meminfo', 'MemTotal') or '0 kB').split()[0]) / 2**20:.1f} GiB",
        "system": f"{_field('/etc/os-release', 'PRETTY_NAME', '=').strip(chr(34))}, Linux {platform.release()}",
        "python": platform.python_version(),
        "load": load(),
    }


def load() -> str:
    """Load averages over 1, 5 and 15 min; on a machine with nothing else to do the first is near 0 at the start."""
    return " ".join(f"{x:.2f}" for x in os.getloadavg())


def _field(file: str, name: str, separator: str = ":") -> str:
    try:
        found = re.search(rf"^{name}\s*{separator}\s*(.*)$", Path(file).read_text(), re.M)
    except OSError:
        return ""
    return found.group(1).strip() if found else ""
