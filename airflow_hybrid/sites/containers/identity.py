# Licensed under the Apache License, Version 2.0; see the LICENSE file.
"""Which image a name means at a location now."""

from __future__ import annotations

import re
import shlex

from airflow_hybrid import settings
from airflow_hybrid.containers import RUNTIMES
from airflow_hybrid.model.containers import ReadyImage
from airflow_hybrid.sites.hosts.base import Command, Host
from airflow_hybrid.sites.hosts.joining import run_joined

PINNED = re.compile(r".+@sha256:[0-9a-f]{64}\Z")
"""a name with a digest of the image's content"""


async def identity_of(host: Host, image: ReadyImage) -> str | None:
    """What distinguishes an image from all others of its name; None: unknown.

    For docker and podman it is the image's id (a digest). For an image file it is the file's size, times and inode,
    which change with it; a folder has nothing like that. If nodes have images of their own, those of the same name may
    differ.

    :raises SiteError: the location cannot be asked.
    """
    if PINNED.match(image.reference):
        return image.reference
    if image.archive is not None:
        return None
    runtime = RUNTIMES[image.runtime]
    if runtime.removes:
        ask = shlex.join([runtime.client, "image", "inspect", "--format", "{{.Id}}", "--", image.reference])
    else:
        path = shlex.quote(image.reference)
        ask = f"[ ! -f {path} ] || stat -L -c '%n %s %y %z %i' -- {path}"
    answer = await run_joined(
        host, "images", Command(ask, None, settings.current().command_timeout, "which image it is")
    )
    identity = answer.out.strip()
    return identity if answer.exit_code == 0 and identity else None
