# Licensed under the Apache License, Version 2.0; see the LICENSE file.
"""Checkpoints as replicas: where one is at the very site that needs a file, the file is not brought from elsewhere."""

from __future__ import annotations

from collections.abc import Sequence

from airflow_hybrid.engine.checkpoints.originals import Original
from airflow_hybrid.engine.checkpoints.stores import open_store
from airflow_hybrid.engine.placing.context import FragmentContext
from airflow_hybrid.engine.placing.places import Place
from airflow_hybrid.errors import HybridError
from airflow_hybrid.model import Checkpoint, CwlObject
from airflow_hybrid.sites.connectors import open_connector
from airflow_hybrid.sites.files.objects import is_object


async def near_copies(context: FragmentContext, place: Place, files: Sequence[CwlObject]) -> dict[str, str]:
    """Copies of files at a place, by the locations of the originals. Folders are not looked for.

    One command, and only where the workflow has checkpoints at the place. If that fails, no copy is known.
    """
    targets = [target for target in context.spec.checkpoint_targets if _is_at(place, context, target)]
    originals = [original for file in files if file.get("class") == "File" and (original := Original.of(file))]
    found: dict[str, str] = {}
    for target in targets if originals else ():
        try:
            store = await open_store(context.spec.deployments, Checkpoint(target))
            copies = await store.copies(originals)
        except HybridError as error:
            context.log.warning("%s: checkpoints there are not used as copies: %s", place.title, error)
            continue
        for uri, copy in copies.items():
            found.setdefault(uri, copy.source)
    return found


def _is_at(place: Place, context: FragmentContext, target: str) -> bool:
    return not is_object(target) and open_connector(context.spec.deployments, target).storage == place.host.deployment
