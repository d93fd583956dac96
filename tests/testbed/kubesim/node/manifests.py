# Licensed under the Apache License, Version 2.0; see the LICENSE file.
"""What podman is told of a pod: volumes become host folders, references to config maps and secrets their values."""

from __future__ import annotations

import base64
import copy
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from ..objects import CLAIMS, CONFIG_MAPS, SECRETS, Key, Kind, KubeObject, containers_of
from ..storage import Store
from . import podman

NOT_PODMAN = (
    "nodeName", "serviceAccountName", "serviceAccount", "tolerations", "affinity", "priorityClassName",
    "nodeSelector", "schedulerName",
)  # fmt: skip
"""parts of a PodSpec that podman does not know and that mean nothing with one node"""


@dataclass(frozen=True)
class _Reference:
    """How a PodSpec refers to a kind of objects with data: as a volume, to one of its values, to all of them."""

    kind: Kind
    volume: str
    name_in_volume: str
    one: str
    all: str


_REFERENCES = (
    _Reference(CONFIG_MAPS, "configMap", "name", "configMapKeyRef", "configMapRef"),
    _Reference(SECRETS, "secret", "secretName", "secretKeyRef", "secretRef"),
)


class Manifests:
    """Writes manifests for podman.

    :ivar root: folder for volumes.
    """

    def __init__(self, store: Store, root: Path) -> None:
        self._store, self._root = store, root

    def of(self, key: Key, pod: KubeObject) -> str:
        """The manifest of a pod, whose volumes are there then.

        :raises ApiError: it refers to what is not there.
        """
        spec = copy.deepcopy(pod["spec"])
        for name in NOT_PODMAN:
            spec.pop(name, None)
        for volume in spec.get("volumes", []):
            self._make_volume(key, self.volumes(pod) / volume["name"], volume)
        for container in containers_of({"spec": spec}):
            self._fill_environment(key, pod, container)
        meta = {"name": podman.pod_name(key), "labels": {"kubesim": "1"}}
        spec["hostname"] = key.name[:63]
        manifest: str = yaml.safe_dump({"apiVersion": "v1", "kind": "Pod", "metadata": meta, "spec": spec})
        return manifest

    def volumes(self, pod: KubeObject) -> Path:
        """Where the volumes of a pod are."""
        return self._root / "vol" / str(pod["metadata"]["uid"])

    def _make_volume(self, key: Key, folder: Path, volume: KubeObject) -> None:
        for reference in _REFERENCES:
            if reference.volume in volume:
                name = volume.pop(reference.volume)[reference.name_in_volume]
                data = self._data(reference.kind, key.namespace, name)
                folder.mkdir(parents=True, exist_ok=True)
                for file, content in data.items():
                    (folder / file).write_bytes(content)
                volume["hostPath"] = _host_path(folder)
        if "persistentVolumeClaim" in volume:
            claim = Key(CLAIMS, key.namespace, volume.pop("persistentVolumeClaim")["claimName"])
            self._store.get(claim)
            claimed = self._root / "pvc" / str(claim.namespace) / claim.name
            claimed.mkdir(parents=True, exist_ok=True)
            volume["hostPath"] = _host_path(claimed)
        if "emptyDir" in volume:
            folder.mkdir(parents=True, exist_ok=True)
            folder.chmod(0o777)
            volume.pop("emptyDir")
            volume["hostPath"] = _host_path(folder)

    def _data(self, kind: Kind, namespace: str | None, name: str) -> dict[str, bytes]:
        """The data of a config map or of a secret."""
        data = self._store.get(Key(kind, namespace, name)).get("data") or {}
        if kind is SECRETS:
            return {entry: base64.b64decode(text) for entry, text in data.items()}
        return {entry: text.encode() for entry, text in data.items()}

    def _fill_environment(self, key: Key, pod: KubeObject, container: KubeObject) -> None:
        written = {entry["name"] for entry in container.get("env", []) if entry.get("value")}
        for entry in container.get("env", []):
            self._resolve(key, pod, entry)
        for source in container.pop("envFrom", []):
            for reference in _REFERENCES:
                if reference.all in source:
                    data = self._data(reference.kind, key.namespace, source[reference.all]["name"])
                    more = [{"name": name, "value": content.decode()} for name, content in data.items()]
                    container.setdefault("env", []).extend(more)
        known: dict[str, str] = {}
        for entry in container.get("env", []):  # a value may use those before it
            if entry["name"] in written:
                entry["value"] = _expanded(entry["value"], known)
            known[entry["name"]] = str(entry.get("value") or "")
        for part in ("command", "args"):
            if container.get(part):
                container[part] = [_expanded(word, known) for word in container[part]]

    def _resolve(self, key: Key, pod: KubeObject, entry: KubeObject) -> None:
        """Replace a reference in the environment by its value."""
        origin = entry.get("valueFrom") or {}
        if "fieldRef" in origin:
            del entry["valueFrom"]
            entry["value"] = _field(pod, origin["fieldRef"]["fieldPath"])
        for reference in _REFERENCES:
            if reference.one in origin:
                one = origin[reference.one]
                content = self._data(reference.kind, key.namespace, one["name"])[one["key"]]
                del entry["valueFrom"]
                entry["value"] = content.decode()


def _host_path(folder: Path) -> KubeObject:
    return {"path": str(folder), "type": "Directory"}


def _expanded(text: str, known: Mapping[str, str]) -> str:
    """`$(NAME)` as Kubernetes reads it in command, args and env; one that is not known stays, `$$` is `$`."""

    def value(match: re.Match[str]) -> str:
        if match[1] == "$":
            return "$"
        return known.get(match[2], match[0])

    return re.sub(r"\$(\$|\(([^)]*)\))", value, text)


def _field(pod: KubeObject, path: str) -> str:
    """The value of a fieldRef."""
    match = re.fullmatch(r"metadata\.(labels|annotations)\['(.+)'\]", path)
    if match:
        return str((pod["metadata"].get(match[1]) or {}).get(match[2], ""))
    found: Any = pod
    for part in path.split("."):
        found = (found or {}).get(part)
    return "" if found is None else str(found)
