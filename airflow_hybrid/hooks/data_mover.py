# Licensed under the Apache License, Version 2.0; see the LICENSE file.
"""Files between locations, for tasks and packages outside of this one."""

from __future__ import annotations

from airflow_hybrid.sites.files.mover import DataMover, StageRequest

__all__ = ["DataMover", "StageRequest"]
