# Licensed under the Apache License, Version 2.0; see the LICENSE file.
"""Where checkpoints are: a folder in the work directory of a deployment, by the content of the files; or a store."""

from __future__ import annotations

import posixpath
import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from airflow_hybrid import shell_text
from airflow_hybrid.config import Deployment
from airflow_hybrid.engine.checkpoints.objects import ObjectStore
from airflow_hybrid.engine.checkpoints.originals import Copy, Member, Original
from airflow_hybrid.model import Checkpoint, FileRef, LineageEntry
from airflow_hybrid.removal import shell as removal
from airflow_hybrid.sites.connectors import Connector, open_connector
from airflow_hybrid.sites.files.mover import DataMover, StageRequest
from airflow_hybrid.sites.files.objects import is_object
from airflow_hybrid.sites.files.unchanged import Recorded, differences
from airflow_hybrid.sites.hosts.base import Host

FOLDER = "checkpoints"
"""in a work directory: ``store`` has the copies, ``until`` a note for each content: its mtime says how long it stays"""
FOR_GOOD = "4102444800"
"""seconds since the epoch: the year 2100"""


@dataclass(frozen=True)
class DeploymentStore:
    """The checkpoints at a deployment.

    :ivar root: their folder.
    """

    host: Host
    root: str

    @property
    def title(self) -> str:
        """For messages."""
        return f"{self.host.title}:{self.root}"

    async def keep(self, originals: Sequence[Original], mover: DataMover, expire_s: float | None) -> list[LineageEntry]:
        """Copy what is not there yet, and note until when it is kept.

        :raises SiteError: something could not be copied; the rest was.
        """
        requests = [self._request(original) for original in originals]
        paths = [request.path for request in requests]
        # before it is looked what is there: a cleanup could remove just that meanwhile
        await self._note(paths, expire_s)
        return await mover.stage(requests)

    def _request(self, original: Original) -> StageRequest:
        return StageRequest.of(original.file, self.host, original.paths(self.root)[0])

    async def _note(self, paths: Sequence[str], expire_s: float | None) -> None:
        folders = sorted({posixpath.dirname(path) for path in paths})
        names = [posixpath.relpath(folder, posixpath.join(self.root, "store")) for folder in folders]
        values = {
            "D": shlex.quote(posixpath.join(self.root, "until")),
            "SECONDS": str(int(expire_s or 0)),
            "NEVER": FOR_GOOD if expire_s is None else "",
        }
        text = removal.functions() + shell_text.filled(__package__, "keep.sh", values)
        stdin = "".join(f"{name}\n" for name in names).encode()
        result = await self.host.run(text, stdin=stdin, label="notes of checkpoints")
        result.check(f"cannot note how long checkpoints are kept in {self.root}")

    async def copies(self, originals: Sequence[Original]) -> dict[str, Copy]:
        """The copies that are there and unchanged, by the URIs of their originals.

        :raises SiteError: the deployment does not answer.
        """
        candidates = [(original, path) for original in originals for path in original.paths(self.root)]
        recorded = [
            Recorded(path, original.kind, original.file.get("size"), original.file.get("checksum"))
            for original, path in candidates
        ]
        wrong = await differences(self.host, recorded) if recorded else {}
        found: dict[str, Copy] = {}
        for original, path in candidates:
            if path not in wrong:
                source = FileRef(self.host.deployment, self.host.location, path).uri
                member = Member("", source, original.file.get("size"), original.file.get("checksum"))
                found.setdefault(original.ref.uri, Copy((member,)))
        return found


async def open_store(deployments: Mapping[str, Deployment], checkpoint: Checkpoint) -> DeploymentStore | ObjectStore:
    """The store that a checkpoint names.

    :raises SiteError: it cannot be reached.
    """
    if is_object(checkpoint.target):
        return ObjectStore(checkpoint.target.rstrip("/"))
    return await checkpoints_at(open_connector(deployments, checkpoint.target))


async def checkpoints_at(connector: Connector) -> DeploymentStore:
    """The store of a deployment.

    :raises SiteError: it cannot be reached.
    """
    host = (await connector.hosts())[0]
    return DeploymentStore(host, posixpath.join(await connector.workdir(host), FOLDER))
