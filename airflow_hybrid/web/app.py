# Licensed under the Apache License, Version 2.0; see the LICENSE file.
"""The web application that Airflow's API server mounts."""

from __future__ import annotations

import json
from typing import Any

from airflow.api_fastapi.core_api.security import get_user
from fastapi import Depends, FastAPI
from fastapi.responses import JSONResponse
from starlette.datastructures import MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from airflow_hybrid.web import outputs, pages
from airflow_hybrid.web.previews import routes as previews
from airflow_hybrid.web.run import logs
from airflow_hybrid.web.run import routes as run
from airflow_hybrid.web.sites import routes as sites

_HEADERS = {
    "X-Content-Type-Options": "nosniff",
    "Cache-Control": "private, no-store",
    "Content-Security-Policy": "default-src 'none'; style-src 'unsafe-inline'; frame-ancestors 'self'",
    "Referrer-Policy": "no-referrer",
}
"""of every answer: what comes from jobs is neither guessed at, nor run, nor kept by proxies"""


class AsciiJson(JSONResponse):
    """JSON whose texts may hold what is no character: half of a surrogate pair, from an XCom."""

    def render(self, content: Any) -> bytes:
        return json.dumps(content, allow_nan=False, separators=(",", ":")).encode("ascii")


class SafeHeaders:
    """Adds the headers that every answer must have, errors included."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        async def send_with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                for name, value in _HEADERS.items():
                    headers.setdefault(name, value)
            await send(message)

        await self.app(scope, receive, send_with_headers)


# A mounted application inherits no authentication: every route needs a login. There are no pages that FastAPI makes
# by itself, because they would need none.
app = FastAPI(
    title="airflow_hybrid",
    dependencies=[Depends(get_user)],
    docs_url=None,
    redoc_url=None,
    openapi_url=None,
    redirect_slashes=False,
    default_response_class=AsciiJson,
)
app.add_middleware(SafeHeaders)
# before those of outputs: their routes have a name where others have a key
_ROUTERS = (
    pages.router,
    sites.router,
    pages.run_pages,
    run.router,
    logs.router,
    previews.router,
    outputs.router,
)
for router in _ROUTERS:
    app.include_router(router)
