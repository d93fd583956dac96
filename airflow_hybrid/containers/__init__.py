# Licensed under the Apache License, Version 2.0; see the LICENSE file.
"""Container runtimes as pure text: command lines out, parsed answers in. One module per family.

A runtime is found at a location (:mod:`.detect`), brings an image there (:meth:`Runtime.obtain`), and starts one
container per job (:meth:`Runtime.argv`). A new one is a subclass of :class:`Runtime` and an entry in :data:`RUNTIMES`.
"""

from __future__ import annotations

from collections.abc import Mapping

from airflow_hybrid.containers.apptainer import Apptainer
from airflow_hybrid.containers.base import ImagePaths, Runtime
from airflow_hybrid.containers.charliecloud import Charliecloud
from airflow_hybrid.containers.oci import Docker, Podman

RUNTIMES: Mapping[str, Runtime] = {
    runtime.name: runtime for runtime in (Docker(), Podman(), Apptainer(), Apptainer("singularity"), Charliecloud())
}
"""by name, in the order of preference"""

__all__ = ["RUNTIMES", "ImagePaths", "Runtime"]
