# Licensed under the Apache License, Version 2.0; see the LICENSE file.
"""Which image a name stands for at a location now."""

from __future__ import annotations

import re
import shlex

from airflow_hybrid.containers import RUNTIMES
from airflow_hybrid.model.containers import ReadyImage
from airflow_hybrid.sites.hosts.base import DEFAULT_TIMEOUT_S, Command, Host
from airflow_hybrid.sites.hosts.joining import run_joined

PINNED = re.compile(r".+@sha256:[0-9a-f]{64}\Z")
"""a name that says by itself what is in the image"""


async def identity_of(host: Host, image: ReadyImage) -> str | None:
    """Tells an image from all others that its name can stand for; None: the location cannot tell.

    That of docker and podman is the image's id (a digest of it). An image in a file is told by the file's size, times
    and number, which change with it; a folder has nothing of the kind. Where nodes have images of their own, one of the
    same name may be another.

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
    answer = await run_joined(host, "images", Command(ask, None, DEFAULT_TIMEOUT_S, "which image it is"))
    said = answer.out.strip()
    return said if answer.exit_code == 0 and said else None
