# Licensed under the Apache License, Version 2.0; see the LICENSE file.
"""The Connection type ``hybrid-ssh``: an SSH host whose Test button in the form tries what steps need there.

It has the fields and extras of the ``ssh`` type, which works in a hybrid file just as well. But the Test button of
``ssh`` belongs to that type's provider (it logs in through paramiko), and a connection type has only one owner.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any

from airflow.sdk import BaseHook

from airflow_hybrid.config import Deployment


class HybridSshHook(BaseHook):
    """Tries a Connection as ``airflow hybrid check`` tries a deployment.

    :param conn_id: the Connection.
    """

    conn_name_attr = "conn_id"
    default_conn_name = "hybrid_ssh_default"
    conn_type = "hybrid-ssh"
    hook_name = "SSH site (CWL on hybrid environments)"

    def __init__(self, conn_id: str = default_conn_name, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.conn_id = conn_id

    def get_conn(self) -> Any:
        """Return the deployment, as a hybrid file would have it."""
        return Deployment("connection", "ssh", {"conn_id": self.conn_id})

    def test_connection(self) -> tuple[bool, str]:
        """Log in (the host key is checked) and look at programs, work directory and schedulers: can steps run there?"""
        return asyncio.run(_test(self.get_conn()))


class HybridSshUriHook(HybridSshHook):
    """The same under the name that Airflow derives when it reads a Connection from a URI (``hybrid-ssh://...``).

    Connections of this type work, too. Airflow warns about the underscore, which a URI scheme must not have (RFC 3986,
    3.1).
    """

    conn_type = "hybrid_ssh"
    hook_name = "SSH site (hybrid_ssh: choose hybrid-ssh for new Connections)"


async def _test(deployment: Deployment) -> tuple[bool, str]:
    from airflow_hybrid.sites import check
    from airflow_hybrid.sites.closing import close_all
    from airflow_hybrid.sites.connectors import open_connector

    try:
        connector = open_connector({deployment.name: deployment}, deployment.name)
        (host,) = await connector.hosts()
        findings = await check.look_at(connector, host)
        if not check.fails(findings):
            findings = [f for f in findings if f.what != "scheduler"] + await check.schedulers(connector, host)
        return not check.fails(findings), _summary(findings)
    finally:
        await close_all()


def _summary(findings: Sequence[Any]) -> str:
    """One line: what is wrong and what to do about it; if nothing is wrong, what is there."""
    bad = [f for f in findings if f.result == "FAIL"]
    parts = [
        f"{f.what}: {' '.join(f.detail.split())}" + (f" ({f.hint})" if bad and f.hint else "") for f in bad or findings
    ]
    return "; ".join(parts)
