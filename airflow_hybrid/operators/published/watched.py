# Licensed under the Apache License, Version 2.0; see the LICENSE file.
"""Files that start runs when they appear at a site, as an Airflow Asset with a watcher."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from typing import Any

from airflow.sdk import Asset, AssetWatcher

from airflow_hybrid.config import Deployment
from airflow_hybrid.errors import ConfigError
from airflow_hybrid.triggers.file_watch import SiteFileTrigger

_LONGEST = 200
"""characters of a path in an asset's name"""


def watched_files(entry: Mapping[str, Any], deployments: Mapping[str, Deployment], where: str | None) -> Asset:
    """The asset of files that are watched for.

    :param entry: as in a hybrid file (:class:`airflow_hybrid.config.dag_section.WatchedFilesModel`), times in seconds.
    :raises ConfigError: they cannot be watched for.
    """
    try:
        trigger = SiteFileTrigger(
            deployment=entry["deployment"],
            path=entry["files"],
            deployments=deployments,
            marker=entry.get("marker"),
            existing=bool(entry.get("existing")),
            **{
                argument: entry[key]
                for key, argument in (("settle", "settle_s"), ("interval", "interval_s"))
                if entry.get(key) is not None
            },
        )
        name = entry.get("name") or _name_of(trigger)
        return Asset(name=name, uri=name, watchers=[AssetWatcher(name=name, trigger=trigger)])
    except ConfigError as error:
        error.message = f"`schedule`: {error.message}"
        error.where = error.where or where
        raise
    except (ValueError, TypeError) as error:
        raise ConfigError(f"`schedule`: files cannot be watched for: {error}", where=where) from None


def _name_of(trigger: SiteFileTrigger) -> str:
    """The same name for the same watch, and no other one's: two hybrid files may have a deployment of the same name."""
    digest = hashlib.sha256(trigger.arguments.encode()).hexdigest()[:8]
    path = "".join(c if c.isascii() and (c.isalnum() or c in "-_./") else "_" for c in trigger.path)
    return f"files/{trigger.deployment}/{path.lstrip('/')[-_LONGEST:]}/{digest}"
