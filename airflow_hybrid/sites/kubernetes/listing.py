# Licensed under the Apache License, Version 2.0; see the LICENSE file.
"""Lists of objects for people, no longer than somebody waits for."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from airflow_hybrid.errors import SiteError
from airflow_hybrid.sites.kubernetes.cluster import PAGE, Cluster

MOST_LISTED = 2000
NOT_ENDED = "status.phase!=Succeeded,status.phase!=Failed"
"""field selector of pods that run or wait"""


@dataclass(frozen=True)
class Listed:
    """Objects of one kind.

    :ivar is_whole: these are all of them.
    """

    items: tuple[Mapping[str, Any], ...]
    is_whole: bool


async def list_some(cluster: Cluster, method: str, *args: str, timeout_s: float, fields: str = "") -> Listed:
    """The objects of a list, :data:`MOST_LISTED` or somewhat more at most.

    :param method: of CoreV1Api; ``fields``: a field selector; ``timeout_s``: for all pages together.
    :raises NotAllowedError: the account may not list them.
    :raises SiteError: there is no answer.
    """
    try:
        return await asyncio.wait_for(_pages(cluster, method, args, fields), timeout_s)
    except asyncio.TimeoutError:
        raise SiteError(f"no answer in {timeout_s:.0f} s", where=f"{cluster.title}: {method}") from None


async def _pages(cluster: Cluster, method: str, args: tuple[str, ...], fields: str) -> Listed:
    items: list[Mapping[str, Any]] = []
    more: dict[str, Any] = {"field_selector": fields} if fields else {}
    while True:
        page = await cluster.call("CoreV1Api", method, *args, limit=PAGE, **more)
        items += [item for item in page["items"] if isinstance(item, Mapping)]
        next_page = page["metadata"].get("continue")
        if not next_page or len(items) >= MOST_LISTED:
            return Listed(tuple(items), not next_page)
        more["_continue"] = next_page
