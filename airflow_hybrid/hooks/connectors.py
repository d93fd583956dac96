# Licensed under the Apache License, Version 2.0; see the LICENSE file.
"""What connectors of other packages are built from; see docs/how-to/write-a-connector.md."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from airflow_hybrid.sites.connectors.base import Connector
from airflow_hybrid.sites.hosts.base import (
    CHUNK_BYTES,
    ByteStream,
    Command,
    CommandResult,
    Host,
    feed,
)

if TYPE_CHECKING:
    from airflow_hybrid.sites.connectors.clusters import QueueConnector

__all__ = [
    "CHUNK_BYTES",
    "ByteStream",
    "Command",
    "CommandResult",
    "Connector",
    "Host",
    "QueueConnector",
    "feed",
]


def __getattr__(name: str) -> Any:
    if name == "QueueConnector":  # only tests of schedulers need it; it imports asyncssh
        from airflow_hybrid.sites.connectors.clusters import QueueConnector

        return QueueConnector
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
