# Licensed under the Apache License, Version 2.0; see the LICENSE file.
"""Which cluster is meant, and by whose access."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from airflow_hybrid.errors import ConfigError
from airflow_hybrid.sites.hosts.airflow_connection import read_connection

_WAYS_IN = ("kube_config", "kube_config_path", "in_cluster")
"""extras of a Connection that say by which access"""


@dataclass(frozen=True)
class ClusterSettings:
    """Which cluster, as whom, in which namespace; None leaves it to the kubeconfig.

    :ivar conn_id: Airflow Connection of type ``kubernetes``; the other settings take precedence over it.
    :ivar personal: the Connection is that of a person, who must not get Airflow's own access in its place.
    """

    conn_id: str | None = None
    kubeconfig: str | None = None
    context: str | None = None
    in_cluster: bool = False
    namespace: str | None = None
    max_connections: int = 50
    personal: bool = False

    @classmethod
    def of(cls, config: Mapping[str, Any], *, personal: bool = False) -> ClusterSettings:
        """From ``deployments.<name>.config``."""
        return cls(
            conn_id=config.get("conn_id"),
            kubeconfig=config.get("kubeconfig"),
            context=config.get("kubeContext"),
            in_cluster=bool(config.get("inCluster")),
            namespace=config.get("namespace"),
            max_connections=min(int(config.get("maxConcurrentConnections") or 50), 200),
            personal=personal,
        )

    @property
    def name(self) -> str:
        """Its name, as far as known without reading anything."""
        return self.context or self.conn_id or self.kubeconfig or ("in-cluster" if self.in_cluster else "default")

    async def extras(self) -> dict[str, Any]:
        """The extras of an Airflow Connection of type ``kubernetes`` (its provider's names, with or without prefix).

        :raises ConfigError: there is no such Connection, or a person's does not say how to reach the cluster.
        """
        if self.conn_id is None:
            return {}
        options = '--conn-extra \'{"kube_config_path": ..., "namespace": ...}\''
        connection = await read_connection(self.conn_id, "kubernetes", options)
        prefix = "extra__kubernetes__"
        extras = {key.removeprefix(prefix): value for key, value in (connection.extra_dejson or {}).items()}
        extras = {key: value for key, value in extras.items() if value not in (None, "")}
        if self.personal and not any(extras.get(way) for way in _WAYS_IN):
            raise ConfigError(
                f"the Connection {self.conn_id!r} says nothing about how to reach the cluster",
                where=f"Kubernetes ({self.name})",
                hint="the default kubeconfig is Airflow's own, and this is the Connection of one person: give it"
                " `kube_config` or `kube_config_path`",
            )
        return extras
