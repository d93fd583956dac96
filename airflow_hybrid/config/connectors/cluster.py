# Licensed under the Apache License, Version 2.0; see the LICENSE file.
"""Which Kubernetes cluster, and by whose access: shared by ``kubernetes`` and ``helm``."""

from __future__ import annotations

from pydantic import Field, model_validator
from typing_extensions import Self

from airflow_hybrid.config.base import Model, NonEmpty
from airflow_hybrid.config.connectors.people import PersonalConnectionId, UsersModel, gives_connections
from airflow_hybrid.config.users import is_template


class ClusterAccess(Model):
    """A cluster, and who may use it."""

    conn_id: PersonalConnectionId | None = Field(
        None,
        description="Airflow Connection of type `kubernetes` (provider cncf.kubernetes). `{{ triggering_user }}` in it"
        " is the name of the user who triggered the run. (airflow_hybrid)",
    )
    users: UsersModel | None = Field(
        None, description="Whose Connection a run uses, and who may run steps here. (airflow_hybrid)"
    )
    kubeconfig: NonEmpty | None = Field(
        None, description="Path of a kubeconfig, relative to the hybrid file. Default: `$KUBECONFIG`, `~/.kube/config`."
    )
    kubeContext: NonEmpty | None = Field(None, description="Context of the kubeconfig.")
    inCluster: bool = Field(False, description="Airflow runs in the cluster: use its service account.")
    maxConcurrentConnections: int = Field(4096, ge=1, description="Connections to the API server at a time.")

    @model_validator(mode="after")
    def _one_way_in(self) -> Self:
        if self.inCluster and (self.kubeconfig or self.kubeContext):
            raise ValueError("`inCluster` needs no kubeconfig")
        if gives_connections(self.users) or is_template(self.conn_id or ""):
            self._refuse("kubeconfig", self.kubeconfig)
            self._refuse("inCluster", self.inCluster)
        return self

    @staticmethod
    def _refuse(name: str, value: object) -> None:
        if value:
            raise ValueError(f"`{name}` would be the access of all users: leave it out, their Connections give it")
