# Licensed under the Apache License, Version 2.0; see the LICENSE file.
"""The energy that jobs took and the CO2 equivalent of it: an estimate, by the method of Green Algorithms.

Lannelongue, Grealey, Inouye: Green Algorithms: Quantifying the Carbon Footprint of Computation. Advanced Science 2021,
doi:10.1002/advs.202100707: energy = time x (cores x power of a core x its use + memory x power of memory) x PUE; and
CO2e = energy x carbon intensity. The defaults of the settings are the paper's; PUE and carbon intensity are averages
of the world.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field

from airflow_hybrid.model.records import JobRecord
from airflow_hybrid.settings import Settings, title_of
from airflow_hybrid.settings.options import default_of

_MIB_PER_GB = 1e9 / (1 << 20)


@dataclass(frozen=True)
class Constants:
    """What the estimate is made with; the names are those of the settings.

    :ivar core_watts: power of a core in use; ``memory_watts``: of a GB of memory that is reserved.
    :ivar pue: power of a data centre by that of its computers.
    :ivar grams_per_kwh: CO2 equivalent of electricity.
    :ivar sources: of the constants that are not the method's own, by name.
    """

    core_watts: float = 12.0
    memory_watts: float = 0.3725
    pue: float = 1.67
    grams_per_kwh: float = 475.0
    sources: Mapping[str, str] = field(default_factory=dict)

    def rows(self) -> Iterator[Constant]:
        """Each constant, for people and programs."""
        for name, about in _ABOUT.items():
            yield Constant(name, about, getattr(self, name), self.sources.get(name, OF_METHOD))


@dataclass(frozen=True)
class Constant:
    """:ivar about: what it is, with its unit; ``source``: where the value comes from."""

    name: str
    about: str
    value: float
    source: str


METHOD = "Green Algorithms, doi:10.1002/advs.202100707"
OF_METHOD = "default, as in Green Algorithms"
_ABOUT = {
    "core_watts": "power of a core in use (W)",
    "memory_watts": "power of a GB of memory (W)",
    "pue": "PUE: power of the data centre by that of its computers",
    "grams_per_kwh": "carbon intensity of the electricity (g CO2e per kWh)",
}


def constants_of(settings: Settings, given: Mapping[str, float | None] | None = None) -> Constants:
    """The constants of a report.

    :param given: for this report only, on the command line, by name.
    """
    values: dict[str, float] = {}
    sources: dict[str, str] = {}
    for name in _ABOUT:
        value: float = getattr(settings, name)
        if value != float(default_of(name, "")):
            sources[name] = f"setting {title_of(name)}"
        chosen = (given or {}).get(name)
        if chosen is not None:
            value = chosen
            sources[name] = f"option --{name.replace('_', '-')}"
        values[name] = value
    return Constants(**values, sources=sources)


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
        watt_s += core_s * constants.core_watts + job.seconds * memory_gb * constants.memory_watts
    kwh = watt_s * constants.pue / 3.6e6
    return Footprint(kwh, kwh * constants.grams_per_kwh, count, without)
