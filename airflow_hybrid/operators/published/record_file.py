# Licensed under the Apache License, Version 2.0; see the LICENSE file.
"""The record of a run beside its outputs, written by the run's last task."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from airflow_hybrid.model import CwlObject

if TYPE_CHECKING:
    from airflow.sdk import Context

    from airflow_hybrid.operators.values import Scope, XComReader

RECORD_FILE = "provenance.crate.zip"


@contextmanager
def record_file(scope: Scope, read: XComReader, context: Context, outputs: CwlObject) -> Iterator[dict[str, CwlObject]]:
    """The crate of a run whose outputs are where they belong, as a File in a temporary folder, by its kind.

    :raises HybridError: too little is known of the run.
    """
    from airflow_hybrid.crates.crate import CrateOptions, write_crate
    from airflow_hybrid.model import LOCAL_DEPLOYMENT, LOCAL_LOCATION, FileRef
    from airflow_hybrid.operators.published.recorded import RunDescription, facts_of_run
    from airflow_hybrid.removal.here import make_folder, remove_folder
    from airflow_hybrid.sites.files.nofollow import opened

    ti: Any = context["ti"]
    run: Any = context["dag_run"]
    began = None if run.start_date is None else run.start_date.timestamp()
    user = run.triggering_user_name or ""
    description = RunDescription(ti.dag_id, ti.run_id, True, began, time.time(), user)
    facts = facts_of_run(scope, read, description, outputs)
    folder = make_folder(tempfile.gettempdir(), "airflow_hybrid_record_")
    try:
        written = write_crate(facts, str(folder / RECORD_FILE), opened, CrateOptions())
        location = FileRef(LOCAL_DEPLOYMENT, LOCAL_LOCATION, written.path).uri
        yield {"record": {"class": "File", "location": location, "basename": RECORD_FILE}}
    finally:
        remove_folder(folder)
