# Licensed under the Apache License, Version 2.0; see the LICENSE file.
"""The end of an event loop: finishes pending work at sites and closes connections."""

from __future__ import annotations

from airflow_hybrid.sites.batches.poller import end_pollers
from airflow_hybrid.sites.connectors.registry import close_connectors
from airflow_hybrid.sites.hosts.processes import processes_started
from airflow_hybrid.sites.reuse.index import write_all


async def close_all() -> None:
    """Finish what is pending, and close the connections of the running event loop; call it before the loop ends."""
    await write_all()
    await end_pollers()
    await close_connectors()
    await processes_started()
