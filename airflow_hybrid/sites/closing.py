# Licensed under the Apache License, Version 2.0; see the LICENSE file.
"""The end of an event loop: what its users have left open at the sites is finished and closed."""

from __future__ import annotations

from airflow_hybrid.sites.connectors.registry import close_connectors
from airflow_hybrid.sites.reuse.index import write_all


async def close_all() -> None:
    """Finish what is pending, and close the connections of the running event loop; to be called before it ends."""
    await write_all()
    await close_connectors()
