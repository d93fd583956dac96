# Licensed under the Apache License, Version 2.0; see the LICENSE file.
"""The Airflow plugin: modules that are imported once per component, so that tasks need not, and web pages.

Airflow calls ``on_starting`` before an executor forks its workers: all tasks share the modules imported then.
"""

from __future__ import annotations

import asyncio
import gc
import logging
import sys
import time
from collections.abc import Awaitable, Callable
from typing import Any
from urllib.parse import quote, urlsplit

from airflow.listeners import hookimpl
from airflow.plugins_manager import AirflowPlugin
from airflow.sdk.configuration import conf

from airflow_hybrid.installation.conf import use_airflow_conf
from airflow_hybrid.operators.published.links import WEB_PREFIX, OutputsLink, RunPageLink

use_airflow_conf()

log = logging.getLogger(__name__)

_PRELOADED_BY = frozenset({"scheduler", "triggerer", "dag-processor"})
"""commands of ``airflow`` that fork; a job calls its listeners before its kind is known"""


class PreloadListener:
    """Imports cwltool, its schemas and asyncssh in components that fork: scheduler, triggerer, DAG processor."""

    @staticmethod
    @hookimpl
    def on_starting(component: object) -> None:
        if type(component).__name__ != "Job" or not _PRELOADED_BY.intersection(sys.argv[1:]):
            return  # also called when a task starts
        started = time.perf_counter()
        try:
            if "triggerer" in sys.argv[1:]:
                from airflow_hybrid.triggers import followers, useless_requests

                useless_requests.leave_out()
                followers.preload()
            import jinja2.ext  # noqa: F401 - Airflow makes an environment per task, which imports it

            # what tasks import when they run
            import airflow_hybrid.cwl.given.checks
            import airflow_hybrid.cwl.given.run_inputs
            import airflow_hybrid.cwl.validation
            import airflow_hybrid.engine
            import airflow_hybrid.operators.gather.gathering
            import airflow_hybrid.sites.closing
            import airflow_hybrid.sites.connectors.clusters
            import airflow_hybrid.sites.connectors.ssh
            import airflow_hybrid.sites.hosts.user  # noqa: F401
            from airflow_hybrid.cwl import preload
            from airflow_hybrid.dag import hybrid_dag as dag

            preload.preload()
            dag.preload()
        except Exception:
            # a component must start even if this package is broken: tasks then import the modules and report errors
            log.exception("airflow_hybrid could not be preloaded")
            return
        gc.collect()
        gc.freeze()  # forked workers then share these pages
        log.info("airflow_hybrid preloaded in %.2f s", time.perf_counter() - started)


class WebApp:
    """The pages (:mod:`airflow_hybrid.web.app`), imported when the first one is asked for.

    Every process of Airflow loads the plugin, but only the API server needs what they import. It goes on answering
    others meanwhile: a thread imports them.
    """

    _app: Any = None

    async def __call__(
        self,
        scope: Any,
        receive: Callable[[], Awaitable[Any]],
        send: Callable[[Any], Awaitable[None]],
    ) -> None:
        if self._app is None:
            self._app = await asyncio.to_thread(_pages)
        await self._app(scope, receive, send)


def _pages() -> Any:
    from airflow_hybrid.web.app import app

    return app


def _icon(shapes: str, colour: str, halo: str = "none") -> str:
    """Shapes of SVG as the address of a picture, with a halo where Airflow shows them before two backgrounds."""
    picture = (
        '<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 24 24" fill="none" stroke-linecap="round">'
        f'<g stroke="{halo}" stroke-width="4" opacity=".75">{shapes}</g>'
        f'<g stroke="{colour}" stroke-width="2">{shapes}</g></svg>'
    )
    return f"data:image/svg+xml,{quote(picture)}"


_TRANSFERS = (
    '<rect x="2" y="8" width="6" height="8" rx="1"/><rect x="16" y="2" width="6" height="7" rx="1"/>'
    '<rect x="16" y="15" width="6" height="7" rx="1"/>'
    '<path d="M8 11C12 11 12 6 16 6M8 13C12 13 12 18 16 18"/>'
)
_MACHINES = (
    '<rect x="3" y="3" width="18" height="7" rx="2"/><rect x="3" y="14" width="18" height="7" rx="2"/>'
    '<path d="M7 6.5h.01M7 17.5h.01M12 10v4"/>'
)
_ICONS = {"icon": _icon(_TRANSFERS, "#27272a"), "icon_dark_mode": _icon(_TRANSFERS, "#e4e4e7")}
_WEB = urlsplit(conf.get("api", "base_url", fallback="")).path.rstrip("/") + WEB_PREFIX
_RUN_PAGE = f"{_WEB}/dags/{{DAG_ID}}/dagRuns/{{RUN_ID}}/page"
"""Airflow's UI fills in the names"""
_SITES_PAGE = {
    "name": "Sites",
    "href": f"{_WEB}/sites",
    "url_route": "airflow_hybrid_sites",
    "destination": "nav",
    "nav_top_level": True,
    "icon": _icon(_MACHINES, "#3f4f6b", "#dce6f3"),
    "icon_dark_mode": _icon(_MACHINES, "#c3cedd", "#1d2940"),
}


class HybridPlugin(AirflowPlugin):
    """Registers the listener, the pages and the links to them."""

    name = "airflow_hybrid"
    listeners = [PreloadListener]
    fastapi_apps = [{"app": WebApp(), "url_prefix": WEB_PREFIX, "name": "airflow_hybrid"}]
    operator_extra_links = [OutputsLink(), RunPageLink()]
    external_views = [
        _SITES_PAGE,
        {
            "name": "Run page",
            "href": _RUN_PAGE,
            "destination": "dag_run",
            "url_route": "airflow_hybrid_run",
            **_ICONS,
        },
        {
            "name": "Run page",
            "href": f"{_RUN_PAGE}?task_id={{TASK_ID}}&map_index={{MAP_INDEX}}",
            "destination": "task_instance",
            "url_route": "airflow_hybrid_task",
            **_ICONS,
        },
    ]
