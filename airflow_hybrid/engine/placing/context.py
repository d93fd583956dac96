# Licensed under the Apache License, Version 2.0; see the LICENSE file.
"""Shared by all parts of a fragment's execution."""

from __future__ import annotations

from dataclasses import dataclass, field

from airflow_hybrid.engine.common import Logger
from airflow_hybrid.engine.placing.just_made import JustMade
from airflow_hybrid.engine.placing.places import Places
from airflow_hybrid.engine.spec import FragmentSpec
from airflow_hybrid.sites.connectors.locations import Locations
from airflow_hybrid.sites.files.mover import DataMover


@dataclass(frozen=True)
class FragmentContext:
    """One execution of one fragment.

    :ivar spec: what to run; ``places``: where its steps may run.
    :ivar locations: knows where files are; ``mover``: moves them.
    :ivar log: of its task.
    :ivar just_made: outputs of its steps.
    """

    spec: FragmentSpec
    places: Places
    locations: Locations
    mover: DataMover
    log: Logger
    just_made: JustMade = field(default_factory=JustMade)
