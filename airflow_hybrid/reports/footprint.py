# Licensed under the Apache License, Version 2.0; see the LICENSE file.
"""The energy that jobs took and the CO2 equivalent of it: an estimate, by the method of Green Algorithms.

Lannelongue, Grealey, Inouye: Green Algorithms: Quantifying the Carbon Footprint of Computation. Advanced Science 2021,
doi:10.1002/advs.202100707: energy = time x (cores x power of a core x its use + memory x power of memory) x PUE; and
CO2e = energy x carbon intensity. The defaults are the paper's; PUE and carbon intensity are averages
of the world.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from airflow_hybrid.model.records import JobRecord

_MIB_PER_GB = 1e9 / (1 << 20)


@dataclass(frozen=True)
class Constants:
    """:ivar core_w: power of a core in use, in watts; ``memory_w_per_gb``: of memory that is reserved.
    :ivar pue: power of a data centre by that of its computers.
    :ivar g_per_kwh: CO2 equivalent of electricity.
    """

    core_w: float = 12.0
    memory_w_per_gb: float = 0.3725
    pue: float = 1.67
    g_per_kwh: float = 475.0


@dataclass(frozen=True)
class Footprint:
    """:ivar jobs: that it is the sum of; ``without_use``: those that count with all cores: their use is unknown."""

    kwh: float
    co2e_g: float
    jobs: int
    without_use: int


def footprint(jobs: Iterable[JobRecord], constants: Constants) -> Footprint:
    """The footprint of the jobs that ran, all of their tries."""
    watt_s, count, without = 0.0, 0, 0
    for job in jobs:
        if job.reused or job.seconds is None:
            continue
        count += 1
        without += job.cpu_s is None
        core_s = job.seconds * (job.cores or 1.0) if job.cpu_s is None else job.cpu_s
        memory_gb = (job.memory_mib or job.memory_used_mib or 0) / _MIB_PER_GB
        watt_s += core_s * constants.core_w + job.seconds * memory_gb * constants.memory_w_per_gb
    kwh = watt_s * constants.pue / 3.6e6
    return Footprint(kwh, kwh * constants.g_per_kwh, count, without)
