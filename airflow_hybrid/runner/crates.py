# Licensed under the Apache License, Version 2.0; see the LICENSE file.
"""Crates of a runner: the record of its run, and a recorded run that is run again."""

from __future__ import annotations

import argparse
import contextlib
import hashlib
import os
import sys
import tempfile
from collections.abc import Iterator
from typing import TYPE_CHECKING

from airflow_hybrid.crates.comparing import differ, table
from airflow_hybrid.crates.unpacking import UnpackedCrate, unpack, usable_inputs
from airflow_hybrid.errors import TransferError
from airflow_hybrid.model import CwlObject
from airflow_hybrid.removal.here import NotRemovedError, make_folder, remove_folder
from airflow_hybrid.sites.files.nofollow import opened

if TYPE_CHECKING:
    from airflow_hybrid.dag.hybrid_dag import HybridDag
    from airflow_hybrid.runner.dag_run import RunResult

_CHUNK = 1 << 20
_SHOWN = 10


@contextlib.contextmanager
def unpacked(path: str, prefix: str | None, prog: str) -> Iterator[UnpackedCrate]:
    """A crate in a folder of its own, until the run has ended.

    :param prefix: of the folder's path.
    :raises InputError: it is no crate of a run, or could do harm.
    """
    prefix = prefix or os.path.join(tempfile.gettempdir(), "airflow-hybrid-")
    folder = make_folder(os.path.dirname(prefix) or ".", os.path.basename(prefix))
    try:
        yield unpack(os.path.abspath(path), folder / "crate")
    finally:
        try:
            remove_folder(folder)
        except NotRemovedError as error:  # this does not change the run's result
            print(f"{prog}: {error}", file=sys.stderr)


def inputs_of(crate: UnpackedCrate, given: CwlObject) -> CwlObject:
    """The inputs of a recorded run, for another run.

    :param given: on the command line; they take precedence.
    :raises InputError: some of them are not here.
    """
    return usable_inputs(crate, given, _checksum)


def _checksum(path: str) -> str | None:
    digest = hashlib.sha1(usedforsecurity=False)
    try:
        with opened(path) as number, open(number, "rb", closefd=False) as file:
            while data := file.read(_CHUNK):
                digest.update(data)
    except (OSError, TransferError):
        return None
    return f"sha1${digest.hexdigest()}"


def tell_differences(crate: UnpackedCrate, outputs: CwlObject) -> bool:
    """Print whether the outputs are those of the recorded run; -> whether they differ."""
    from airflow_hybrid.crates.comparing import compared

    rows = compared(crate.outputs, outputs)
    print("\n".join(table(rows)), file=sys.stderr)
    return differ(rows)


def write_record(args: argparse.Namespace, dag: HybridDag, result: RunResult, prog: str) -> None:
    """Write the crate of a run that has ended.

    :raises HybridError: too little is known of it, or a file cannot be copied.
    """
    from airflow.utils.session import create_session

    from airflow_hybrid.crates.crate import CrateOptions, write_crate
    from airflow_hybrid.printable import printable
    from airflow_hybrid.runs.jobs import RunKey
    from airflow_hybrid.runs.recorded import facts_from_database

    with create_session() as session:
        facts = facts_from_database(session, RunKey(dag.dag_id, result.run_id), dag)
    options = CrateOptions(outputs=bool(args.with_outputs), inputs=bool(args.with_inputs))
    written = write_crate(facts, args.prov, opened, options)
    print(f"{prog}: the record of the run is in {written.path}", file=sys.stderr)
    for location in written.elsewhere[:_SHOWN]:
        print(f"{prog}: it only refers to {printable(location)}", file=sys.stderr)
    if len(written.elsewhere) > _SHOWN:
        print(f"{prog}: ... and to {len(written.elsewhere) - _SHOWN} more", file=sys.stderr)
