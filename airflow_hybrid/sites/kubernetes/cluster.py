# Licensed under the Apache License, Version 2.0; see the LICENSE file.
"""A Kubernetes cluster's API for one namespace, through the official asynchronous client.

Objects are plain dictionaries, as the API documents them. Errors get their messages here, with what the user can do.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
import os
import ssl
from collections.abc import AsyncIterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from airflow_hybrid.errors import AuthenticationError, ConfigError, HostKeyError, HostUnreachableError, SiteError
from airflow_hybrid.printable import readable
from airflow_hybrid.settings import current
from airflow_hybrid.sites.kubernetes.cluster_settings import ClusterSettings

if TYPE_CHECKING:
    import aiohttp
    from kubernetes_asyncio.client import ApiClient, Configuration
    from kubernetes_asyncio.stream import WsApiClient

log = logging.getLogger(__name__)

PAGE = 500
"""objects in one answer to a list (the API server's own clients use 500)"""
HEARTBEAT_S = 30.0
_NAMESPACE_FILE = "/var/run/secrets/kubernetes.io/serviceaccount/namespace"


class ApiError(SiteError):
    """The API server refused a request; ``status`` is the HTTP code, ``reason`` the server's name for it.

    Some are retryable; callers handle those that they expect (a refused manifest, an object that does not exist).
    """

    def __init__(self, status: int, reason: str, message: str, *, where: str) -> None:
        passing = status in (408, 409, 410, 425, 429) or status >= 500
        super().__init__(message, where=where, retryable=passing)
        self.passes = status in (408, 425, 429) or status >= 500
        self.status = status
        self.reason = reason


class NotAllowedError(AuthenticationError):
    """The cluster knows the account, whose role does not allow the request (403)."""


class Cluster:
    """One API server and namespace, for one event loop; it connects when first used.

    :ivar namespace: known after :meth:`connect`.
    """

    def __init__(self, settings: ClusterSettings) -> None:
        self.settings = settings
        self.namespace = settings.namespace or ""
        self._api: ApiClient | None = None
        self._stream: WsApiClient | None = None
        self._connecting = asyncio.Lock()

    @property
    def title(self) -> str:
        return f"Kubernetes ({self.settings.name}{'/' + self.namespace if self.namespace else ''})"

    # --- requests ------------------------------------------------------------------------------------------------

    async def call(self, group: str, method: str, *args: Any, timeout_s: float | None = None, **more: Any) -> Any:
        """One request through the official client: ``call("BatchV1Api", "create_namespaced_job", namespace, body)``.

        :returns: the answer's JSON.
        :raises ApiError: the server refuses the request.
        :raises HostUnreachableError: the server was not reached.
        :raises HostKeyError: its certificate is not the expected one.
        :raises AuthenticationError: it does not accept the credentials, or (:class:`NotAllowedError`) the role does not
            allow it.
        """
        import aiohttp

        for attempt in range(2):
            api = await self.connect()
            try:
                answer = await self._function(group, method, api)(
                    *args, _preload_content=False, _request_timeout=timeout_s, **more
                )
                async with answer:
                    content = await answer.read()
            except (aiohttp.ClientError, asyncio.TimeoutError, OSError, ssl.SSLError) as error:
                raise self.lost(error, method) from None
            if answer.status != 401 or attempt:
                return self._judge(answer.status, content, method)
            await self.close()  # the credentials may have been renewed (kubeconfig, exec plugin, service account)
        raise AssertionError  # pragma: no cover

    async def request(
        self, method: str, path: str, body: Any = None, *, content_type: str = "application/json", **query: str
    ) -> Any:
        """One request for an object of any kind, by its path; -> the answer's JSON. Errors as in :meth:`call`."""
        import aiohttp

        label = f"{method} {path}"
        for attempt in range(2):
            api = await self.connect()
            try:
                answer = await api.call_api(
                    path, method, query_params=list(query.items()), body=body, auth_settings=["BearerToken"],
                    header_params={"Accept": "application/json", "Content-Type": content_type},
                    _preload_content=False, _return_http_data_only=True, _request_timeout=current().kubernetes_timeout,
                )  # fmt: skip
                async with answer:
                    content = await answer.read()
            except (aiohttp.ClientError, asyncio.TimeoutError, OSError, ssl.SSLError) as error:
                raise self.lost(error, label) from None
            if answer.status != 401 or attempt:
                return self._judge(answer.status, content, label)
            await self.close()
        raise AssertionError  # pragma: no cover

    @contextlib.asynccontextmanager
    async def watch(
        self, group: str, method: str, *args: Any, idle_s: float, **more: Any
    ) -> AsyncIterator[AsyncIterator[dict[str, Any]]]:
        """The events of one watch, until the server ends it.

        :param idle_s: a connection without data for this long counts as dead.
        :raises ApiError: 410 among others, in the stream or as the answer.
        """
        import aiohttp

        api, limits_s = await self.connect(), (current().kubernetes_timeout, idle_s)
        try:
            answer = await self._function(group, method, api)(
                *args, watch=True, _preload_content=False, _request_timeout=limits_s, **more
            )
            try:
                if answer.status != 200:
                    self._judge(answer.status, await answer.read(), method)
                yield self._events(answer, method)
            finally:
                answer.close()  # in the middle of an answer: the connection cannot be used again
        except (aiohttp.ClientError, asyncio.TimeoutError, OSError) as error:
            raise self.lost(error, method) from None

    async def _events(self, answer: aiohttp.ClientResponse, method: str) -> AsyncIterator[dict[str, Any]]:
        while line := await answer.content.readline():
            try:
                event: dict[str, Any] = json.loads(line)
            except ValueError:
                return  # cut off in mid-line
            if event.get("type") == "ERROR":
                status = event.get("object") or {}
                raise self._error(int(status.get("code") or 500), status, method)
            yield event

    @contextlib.asynccontextmanager
    async def exec(
        self, pod: str, container: str | None, command: list[str]
    ) -> AsyncIterator[aiohttp.ClientWebSocketResponse]:
        """A command in a container, its channels on one websocket (v4.channel.k8s.io).

        :raises ApiError: no such pod or container.
        """
        import aiohttp
        from kubernetes_asyncio.client import CoreV1Api

        for attempt in range(2):
            await self.connect()
            assert self._stream is not None
            api: Any = CoreV1Api(self._stream)
            more = {"container": container} if container else {}
            request = await api.connect_get_namespaced_pod_exec(
                pod, self.namespace, command=command, stdin=True, stdout=True, stderr=True, tty=False,
                _preload_content=False, **more,
            )  # fmt: skip
            try:
                socket: aiohttp.ClientWebSocketResponse = await asyncio.wait_for(request, current().kubernetes_timeout)
            except aiohttp.WSServerHandshakeError as error:
                if error.status == 401 and not attempt:
                    await self.close()
                    continue
                raise self._error(error.status, {"message": await self._why(pod, error)}, "exec") from None
            except (aiohttp.ClientError, asyncio.TimeoutError, OSError, ssl.SSLError) as error:
                raise self.lost(error, "exec") from None
            try:
                yield socket
            finally:
                await socket.close()
            return

    async def _why(self, pod: str, error: aiohttp.WSServerHandshakeError) -> str:
        """What a refused handshake does not say: the pod's state."""
        if error.status not in (400, 404, 500):
            return error.message
        try:
            status = await self.call("CoreV1Api", "read_namespaced_pod_status", pod, self.namespace)
        except SiteError as problem:
            return problem.message
        return f"{error.message}: pod {pod!r} is {(status.get('status') or {}).get('phase')}"

    # --- connection -----------------------------------------------------------------------------------------------

    async def connect(self) -> ApiClient:
        """The client, created when first needed.

        :raises ConfigError: the kubeconfig or the Connection is wrong.
        """
        async with self._connecting:
            if self._api is None:
                try:
                    from kubernetes_asyncio.client import ApiClient
                    from kubernetes_asyncio.stream import WsApiClient
                except ModuleNotFoundError:
                    raise ConfigError(
                        "Kubernetes deployments need the package apache-airflow-providers-cncf-kubernetes",
                        hint="pip install 'airflow-hybrid[kubernetes]'",
                    ) from None
                configuration = await self._configuration()
                self._api = ApiClient(configuration)
                self._stream = WsApiClient(configuration, heartbeat=HEARTBEAT_S)
                for client in (self._api, self._stream):
                    client.user_agent = "airflow-hybrid"
            return self._api

    async def _configuration(self) -> Configuration:
        from kubernetes_asyncio import config as loaders
        from kubernetes_asyncio.client import Configuration

        settings = self.settings
        extra = await self.settings.extras()
        path = settings.kubeconfig or extra.get("kube_config_path")
        context = settings.context or extra.get("cluster_context")
        inline = None if settings.kubeconfig else extra.get("kube_config")
        configuration = Configuration()
        namespace = settings.namespace or extra.get("namespace")
        try:
            if settings.in_cluster or extra.get("in_cluster"):
                loaders.load_incluster_config(client_configuration=configuration)  # type: ignore[no-untyped-call]
                namespace = namespace or await asyncio.to_thread(Path(_NAMESPACE_FILE).read_text)
            elif inline:
                described = json.loads(inline) if isinstance(inline, str) else inline
                loader = await loaders.load_kube_config_from_dict(
                    described, context=context, client_configuration=configuration
                )
                namespace = namespace or _namespace(loader)
            else:
                loader = await loaders.load_kube_config(
                    config_file=os.path.expanduser(path) if path else None,
                    context=context,
                    client_configuration=configuration,
                    persist_config=False,
                )
                namespace = namespace or _namespace(loader)
        except (loaders.ConfigException, OSError, ValueError, KeyError, TypeError) as error:
            raise ConfigError(
                f"the Kubernetes configuration ({settings.name}) cannot be used: {error}",
                hint="set `kubeconfig` (and `kubeContext`), `inCluster: true`, or `conn_id` of a Connection of type "
                "kubernetes; try: kubectl get pods",
            ) from None
        configuration.connection_pool_maxsize = settings.max_connections
        if str(extra.get("disable_verify_ssl", "")).lower() in ("true", "1", "yes"):
            log.warning("%s: the Connection disables the check of the cluster's certificate", self.title)
            configuration.verify_ssl = False
        self.namespace = (namespace or "default").strip()
        return configuration

    async def access(self) -> dict[str, str]:
        """Access for another client: ``kubeconfig_path`` or ``kubeconfig_content``, and ``kube_context``.

        Without either, the client uses the default kubeconfig.
        """
        settings, extra = self.settings, await self.settings.extras()
        access: dict[str, str] = {}
        path = settings.kubeconfig or extra.get("kube_config_path")
        if settings.in_cluster or extra.get("in_cluster"):
            folder = Path(_NAMESPACE_FILE).parent
            server = f"https://{os.environ['KUBERNETES_SERVICE_HOST']}:{os.environ['KUBERNETES_SERVICE_PORT']}"
            cluster = {"server": server, "certificate-authority": str(folder / "ca.crt")}
            user = {"tokenFile": str(folder / "token")}
            name = "in-cluster"
            described = {
                "apiVersion": "v1", "kind": "Config", "current-context": name,
                "clusters": [{"name": name, "cluster": cluster}], "users": [{"name": name, "user": user}],
                "contexts": [{"name": name, "context": {"cluster": name, "user": name}}],
            }  # fmt: skip
            return {"kubeconfig_content": json.dumps(described)}
        if inline := None if settings.kubeconfig else extra.get("kube_config"):
            access["kubeconfig_content"] = inline if isinstance(inline, str) else json.dumps(inline)
        elif path:
            access["kubeconfig_path"] = os.path.expanduser(str(path))
        if context := settings.context or extra.get("cluster_context"):
            access["kube_context"] = str(context)
        return access

    async def close(self) -> None:
        """Release connections; the cluster may be used again."""
        clients, self._api, self._stream = (self._api, self._stream), None, None
        for client in clients:
            if client is not None:
                await client.close()

    @staticmethod
    def _function(group: str, method: str, api: ApiClient) -> Any:
        from kubernetes_asyncio import client

        return getattr(getattr(client, group)(api), method)

    # --- errors ---------------------------------------------------------------------------------------------------

    def _judge(self, status: int, content: bytes, method: str) -> Any:
        try:
            answer = json.loads(content) if content else {}
        except ValueError:
            answer = {"message": readable(content[:500])}
        if 200 <= status <= 299:
            return answer
        raise self._error(status, answer, method)

    def _error(self, status: int, answer: Mapping[str, Any], method: str) -> SiteError:
        message, reason = str(answer.get("message") or f"HTTP {status}"), str(answer.get("reason") or "")
        where = f"{self.title}: {method}"
        if status == 401:
            return AuthenticationError(
                "the cluster does not accept the credentials (401 Unauthorized)",
                where=where,
                hint="the token or client certificate may have expired: renew it in the kubeconfig or the Connection",
            )
        if status == 403 and "quota" not in message and (" cannot " in message or method == "exec"):
            return NotAllowedError(
                f"the cluster does not allow it: {message}",
                where=where,
                hint="the role needs jobs, pods, pods/exec and events in the namespace: see docs/how-to/kubernetes.md",
            )
        return ApiError(status, reason, message, where=where)

    def lost(self, error: BaseException | None, method: str) -> SiteError:
        """The error for a failure of the connection."""
        where = f"{self.title}: {method}"
        if isinstance(error, ssl.SSLError) or type(error).__name__ in (
            "ClientConnectorCertificateError", "ClientConnectorSSLError", "ClientSSLError",
        ):  # fmt: skip
            return HostKeyError(
                f"the cluster's certificate is not the expected one: {error}",
                where=where,
                hint="the kubeconfig's certificate-authority must be that of this cluster, and its server the name in "
                "the certificate; the check cannot be disabled here",
            )
        problem = (
            "no answer in time" if isinstance(error, asyncio.TimeoutError) else str(error or "the connection was lost")
        )
        return HostUnreachableError(f"the API server was not reached: {problem}", where=where)


def _namespace(loader: Any) -> str | None:
    namespace = loader.current_context.get("context", {}).get("namespace")
    return str(namespace) if namespace else None
