# Licensed under the Apache License, Version 2.0; see the LICENSE file.
"""What a record says of a job's outputs is what they were."""

from __future__ import annotations

import pytest

from airflow_hybrid.engine.placing.places import Place
from airflow_hybrid.engine.reuse.records import described, is_sound, with_locations
from airflow_hybrid.model import FileFact, SiteFacts, Target
from airflow_hybrid.schedulers.process import ProcessScheduler
from airflow_hybrid.sites.batches.queue import JobQueue
from airflow_hybrid.sites.hosts.local import LocalHost


@pytest.fixture
def place() -> Place:
    host = LocalHost("cluster", "login")
    facts = SiteFacts(files={"/w/a": FileFact("f", 3, "sha1$aa")})
    return Place(host, JobQueue(host, ProcessScheduler()), "/w", {}, Target("cluster"), facts=facts)


def test_what_is_recorded_is_what_is_handed_on(place: Place) -> None:
    file = {"class": "File", "location": place.uri("/w/a"), "size": 3, "checksum": "sha1$aa"}
    outputs = {"o": [file], "record": {"location": "Berne", "path": 4, "file": file}}
    record = described(outputs, place, "task")
    assert record is not None
    path = {"class": "File", "path": "/w/a", "size": 3, "checksum": "sha1$aa"}
    assert record["outputs"] == {"o": [path], "record": {"location": "Berne", "path": 4, "file": path}}
    assert record["files"] == [("/w/a", 3, "sha1$aa")] * 2
    assert is_sound(record)
    assert with_locations(record["outputs"], place) == outputs


def test_a_record_names_no_file_that_it_does_not_describe(place: Place) -> None:
    record = {"outputs": {"o": {"class": "File", "path": "/w/a"}}, "files": [], "trees": [], "task": "t"}
    assert not is_sound(record)
    assert is_sound({**record, "files": [("/w/a", 3, "sha1$aa")]})
