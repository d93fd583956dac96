# Licensed under the Apache License, Version 2.0; see the LICENSE file.
"""What is written down is read back as it was: addresses of files, ids of tasks, words for a shell."""

from __future__ import annotations

import posixpath
import subprocess

from hypothesis import given, settings
from hypothesis import strategies as st

from airflow_hybrid.dag.task_ids import MOST_OF_DAG_ID, MOST_OF_ID, TaskIds, dag_id_of
from airflow_hybrid.model import FileRef
from airflow_hybrid.sites.batches.script import shell_word

NO_NUL = st.characters(exclude_characters="\0", exclude_categories=["Cs"])
PATHS = st.lists(st.text(NO_NUL, min_size=1), min_size=1).map(lambda parts: posixpath.normpath("/" + "/".join(parts)))
NAMES = st.text(NO_NUL, min_size=1, max_size=30)


@settings(deadline=None)
@given(deployment=NAMES, location=NAMES, path=PATHS)
def test_an_address_of_a_file_is_read_back_as_it_was(deployment: str, location: str, path: str) -> None:
    path = "/" + path.lstrip("/")
    ref = FileRef(deployment, location, path)
    if deployment == "local":
        ref = FileRef("local", "local", path)
    assert FileRef.parse(ref.uri) == ref


@settings(deadline=None)
@given(names=st.lists(st.text(max_size=400), max_size=30))
def test_ids_of_tasks_are_unique_and_fit(names: list[str]) -> None:
    ids = TaskIds(("inputs", "outputs"))
    given_out = [ids.new("", name) for name in names]
    assert len({"inputs", "outputs", *given_out}) == len(names) + 2
    assert all(len(id_) <= MOST_OF_ID for id_ in given_out)
    again = TaskIds(("inputs", "outputs"))
    assert [again.new("", name) for name in names] == given_out


@settings(deadline=None)
@given(name=st.text(st.characters(exclude_categories=["Cs"]), min_size=1))
def test_the_id_of_a_dag_fits_a_folder_s_name(name: str) -> None:
    assert len(dag_id_of(name).encode()) <= MOST_OF_DAG_ID


@settings(max_examples=25, deadline=None)
@given(words=st.lists(st.text(NO_NUL), max_size=20))
def test_a_shell_gets_every_word_as_it_was(words: list[str]) -> None:
    text = "for w in " + " ".join(map(shell_word, words)) + r"; do printf '%s\0' "
    done = subprocess.run(["sh", "-c", text + '"$w"; done'], capture_output=True, check=True)
    assert done.stdout.decode() == "".join(f"{word}\0" for word in words)
