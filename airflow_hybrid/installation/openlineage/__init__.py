# Licensed under the Apache License, Version 2.0; see the LICENSE file.
"""OpenLineage events by Airflow's own provider: which files a task read and made, also of tasks that a trigger ends.

Nothing is imported from the provider unless it is installed and has a transport.
"""

from __future__ import annotations

PROVIDER = "airflow.providers.openlineage"


def is_on() -> bool:
    """Whether Airflow's provider is installed here and sends events."""
    try:
        from airflow.providers.openlineage import conf
    except ImportError:
        return False
    return not conf.is_disabled()


def is_its_listener(plugin: object) -> bool:
    """Whether a listener is the provider's: it sends the events of tasks that end in a worker."""
    return type(plugin).__module__.startswith(f"{PROVIDER}.")
