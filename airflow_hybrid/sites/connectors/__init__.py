# Licensed under the Apache License, Version 2.0; see the LICENSE file.
"""From a deployment of the hybrid file to its locations, work directory and job queues.

A third party adds a type by a subclass of :class:`Connector` and an entry point of the group
``airflow_hybrid.connectors`` named after the type.
"""

from __future__ import annotations

from airflow_hybrid.sites.connectors.base import Connector
from airflow_hybrid.sites.connectors.registry import ENTRY_POINT_GROUP, connector_class, open_connector

__all__ = ["ENTRY_POINT_GROUP", "Connector", "connector_class", "open_connector"]
