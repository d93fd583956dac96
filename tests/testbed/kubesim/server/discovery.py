# Licensed under the Apache License, Version 2.0; see the LICENSE file.
"""What clients read before they ask for objects: the version, the groups and their resources, schemas."""

from __future__ import annotations

from ..admission import KUBERNETES
from ..objects import GROUPS, KINDS, Kind, KubeObject, now

VERBS = ("create", "delete", "deletecollection", "get", "list", "patch", "update", "watch")


def document(path: list[str]) -> KubeObject | None:
    """The document at a path of the API; None: there is none, and the path is about objects."""
    if path[:2] == ["openapi", "v3"] and len(path) > 2:
        return _schema(path[2:])
    where = "/".join(path)
    for version in ("v1", *GROUPS):
        if where == _path(version):
            return _resources(version)
    documents = {"version": _version, "openapi/v3": _schemas, "api": _versions, "apis": _groups}
    return documents[where]() if where in documents else None


def _path(version: str) -> str:
    """Where a group and version is served."""
    return "api/v1" if version == "v1" else f"apis/{version}"


def _version() -> KubeObject:
    unknown = {"gitCommit": "", "gitTreeState": "", "goVersion": "", "compiler": ""}
    version = {"major": "1", "minor": KUBERNETES.partition(".")[2], "gitVersion": f"v{KUBERNETES}.0+kubesim"}
    return {**version, **unknown, "buildDate": now(), "platform": "linux/amd64"}


def _versions() -> KubeObject:
    return {"kind": "APIVersions", "versions": ["v1"]}


def _groups() -> KubeObject:
    groups = []
    for group_version in GROUPS:
        group, version = group_version.split("/")
        served = {"groupVersion": group_version, "version": version}
        groups.append({"name": group, "versions": [served], "preferredVersion": served})
    return {"kind": "APIGroupList", "apiVersion": "v1", "groups": groups}


def _resources(version: str) -> KubeObject:
    resources = [_resource(kind) for kind in KINDS.values() if kind.version == version]
    if version == "v1":
        of_pods = {"singularName": "", "namespaced": True, "kind": "Pod", "verbs": ["get", "create"]}
        resources += [{"name": f"pods/{part}", **of_pods} for part in ("log", "exec", "attach")]
    return {"kind": "APIResourceList", "apiVersion": "v1", "groupVersion": version, "resources": resources}


def _resource(kind: Kind) -> KubeObject:
    names = {"name": kind.resource, "singularName": kind.name.lower(), "shortNames": list(kind.short_names)}
    return {**names, "namespaced": kind.namespaced, "kind": kind.name, "verbs": list(VERBS)}


def _schemas() -> KubeObject:
    served = [_path(version) for version in ("v1", *GROUPS)]
    return {"paths": {path: {"serverRelativeURL": f"/openapi/v3/{path}"} for path in served}}


def _schema(path: list[str]) -> KubeObject:
    """Just enough for kubectl to leave field validation to the server."""
    served = "/".join(path)
    version = "/".join(path[1:]) if path[0] == "apis" else "v1"
    paths = {}
    for kind in KINDS.values():
        if kind.version == version:
            scope = "namespaces/{namespace}/" if kind.namespaced else ""
            paths[f"/{served}/{scope}{kind.resource}/{{name}}"] = {"patch": _patch(kind)}
    info = {"title": "kubesim", "version": KUBERNETES}
    return {"openapi": "3.0.0", "info": info, "components": {"schemas": {}}, "paths": paths}


def _patch(kind: Kind) -> KubeObject:
    group, _, version = kind.version.rpartition("/")
    text = {"type": "string", "uniqueItems": True}
    return {
        "parameters": [{"name": name, "in": "query", "schema": text} for name in ("fieldValidation", "dryRun")],
        "responses": {"200": {"description": "OK"}},
        "x-kubernetes-group-version-kind": {"group": group, "version": version, "kind": kind.name},
    }
