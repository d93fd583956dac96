# Licensed under the Apache License, Version 2.0; see the LICENSE file.
"""What monitoring is told: the table of metrics, and functions for the rooms where something happens.

Rooms that know Airflow give the receiver (:mod:`airflow_hybrid.installation.stats`). Without one nothing is sent.
"""

from __future__ import annotations

from airflow_hybrid.metrics import table
from airflow_hybrid.metrics.sending import Receiver, change, count, send_to, time
from airflow_hybrid.metrics.table import Metric

__all__ = ["Metric", "Receiver", "change", "count", "send_to", "table", "time"]
