# Licensed under the Apache License, Version 2.0; see the LICENSE file.
"""The parts of the tasks that need no running Airflow."""

from __future__ import annotations

import re
import uuid
from types import SimpleNamespace
from typing import Any, cast

import pytest

from airflow_hybrid.errors import InputError
from airflow_hybrid.model import Port, WorkflowGraph
from airflow_hybrid.model.files import LineageEntry, counted
from airflow_hybrid.operators.given import given_inputs
from airflow_hybrid.operators.identity import identity_of
from airflow_hybrid.operators.plan import chunk_ranges, most_chunks
from tests.raising import raising

GRAPH = WorkflowGraph(name="w", path="/", inputs=(Port("count", "int"), Port("text", "string")), outputs=(), steps=())


@pytest.mark.parametrize(
    ("total", "most", "sizes"),
    [
        (0, 16, []),
        (1, 16, [1]),
        (16, 16, [1] * 16),
        (17, 16, [2] * 8 + [1]),
        (1000, 16, [63] * 15 + [55]),
        (5, 2, [3, 2]),
    ],
)
def test_a_scatter_is_cut_into_at_most_max_mapped_chunks(total: int, most: int, sizes: list[int]) -> None:
    chunks = chunk_ranges(total, most)
    assert [c["hi"] - c["lo"] for c in chunks] == sizes
    assert [i for c in chunks for i in range(c["lo"], c["hi"])] == list(range(total))


@pytest.mark.parametrize(
    ("total", "in_worker", "executor", "cores", "most"),
    [
        (1000, True, "LocalExecutor", 1, 2),
        (1000, True, "LocalExecutor", 6, 6),
        (1000, True, "LocalExecutor", 64, 16),
        (16, True, "LocalExecutor", 2, 16),
        (1000, False, "LocalExecutor", 2, 16),
        (1000, True, "CeleryExecutor", 2, 16),
        (1000, True, "LocalExecutor,CeleryExecutor", 2, 16),
    ],
)
def test_more_chunks_than_can_run_at_once_are_not_made(  # noqa: PLR0913 - fixtures and cases
    total: int, in_worker: bool, executor: str, cores: int, most: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AIRFLOW__CORE__EXECUTOR", executor)
    monkeypatch.setattr("os.cpu_count", lambda: cores)
    assert most_chunks(total, in_worker) == most


def test_conf_goes_before_params_and_job_before_conf() -> None:
    params = {"count": 1, "text": None}
    given = given_inputs(GRAPH, {"text": "settings"}, params, {"job": {"count": 3}})
    assert given == {"count": 3, "text": "settings"}


def test_an_unknown_conf_key_is_an_error_that_names_the_nearest_input() -> None:
    message = "unknown conf key: 'cuont' (did you mean 'count'?)\n  -> the inputs of this workflow are: count, text"
    with raising(InputError, message):
        given_inputs(GRAPH, {}, {}, {"cuont": 3})


def test_what_a_job_holds_beside_inputs_is_left_out_with_a_warning(caplog: pytest.LogCaptureFixture) -> None:
    assert given_inputs(GRAPH, {"other": 1}, {}, {"job": {"cuont": 3, "count": 2}}) == {"count": 2}
    assert "'cuont' (did you mean 'count'?)" in caplog.text and "'other'" in caplog.text


@pytest.mark.parametrize("key", ["cwl:requirements", "https://w3id.org/cwl/cwl#requirements"])
def test_requirements_among_the_inputs_are_kept(key: str) -> None:
    brought = [{"class": "NetworkAccess", "networkAccess": True}]
    assert given_inputs(GRAPH, {}, {}, {"job": {key: brought}})[key] == brought
    assert given_inputs(GRAPH, {key: brought}, {}, {})[key] == brought
    assert given_inputs(GRAPH, {}, {}, {key: brought})[key] == brought


def test_an_input_may_be_called_job() -> None:
    graph = WorkflowGraph(name="w", path="/", inputs=(Port("job", "string"),), outputs=(), steps=())
    assert given_inputs(graph, {}, {}, {"job": "x"}) == {"job": "x"}


class Store:
    """Airflow's task state store: a task instance's own, over all its tries."""

    def __init__(self) -> None:
        self.kept: dict[str, str] = {}

    def get(self, key: str) -> str | None:
        return self.kept.get(key)

    def set(self, key: str, value: str, *, retention: object) -> None:
        self.kept[key] = value


def test_a_retry_keeps_the_task_directory_and_a_clear_changes_it() -> None:
    def directory(try_number: int, max_tries: int, store: Store) -> str:
        task = SimpleNamespace(retries=2)
        ti = SimpleNamespace(
            dag_id="d", run_id="manual__2026-01-01T00:00:00+00:00", task_id="g.train", map_index=3, task=task,
            max_tries=max_tries, try_number=try_number, id=uuid.uuid4(),
        )  # fmt: skip
        return identity_of(cast(Any, {"ti": ti, "task_state_store": store})).directory

    store, store_of_another_run = Store(), Store()
    first, retry, cleared = directory(1, 2, store), directory(2, 2, store), directory(3, 4, store)
    assert first == retry != cleared
    assert directory(1, 2, store_of_another_run) not in (first, cleared)
    assert first.startswith("d/manual__2026-01-01T00_00_00_00_00-")
    assert re.search(r"/g_train-[0-9a-f]{8}/3/g0-[0-9a-f]{10}$", first)


def test_thousands_of_outputs_are_one_entry_of_the_lineage() -> None:
    made = [
        LineageEntry(f"hybrid://a/h/w/run/t/{n}/out", f"hybrid://a/h/w/run/t/{n}/out", "produced", 2, 0.0)
        for n in range(101)
    ]
    moved = [LineageEntry("file:///x", "hybrid://a/h/s", "relay", 7, 0.1)] * 101
    entry, *rest = counted([*made, *moved], {"produced"})
    assert rest == moved and counted(made[:100], {"produced"}) == made[:100]
    assert (entry.source, entry.destination, entry.bytes) == ("hybrid://a/h/w/run/t/", "hybrid://a/h/w/run/t/", 202)
    assert entry.note.startswith("101 files and directories")
    assert LineageEntry.from_json(entry.to_json()) == entry


@pytest.mark.parametrize(("value", "shown"), [("yes", '"yes"'), (1, "1"), ("true", '"true"')])
def test_a_wrong_reuse_of_a_conf_is_shown_with_what_to_do(value: Any, shown: str) -> None:
    with pytest.raises(InputError) as caught:
        given_inputs(GRAPH, {}, {}, {"reuse": value})
    assert str(caught.value) == (
        f"conf key 'reuse': must be true or false, not {shown}\n"
        "  -> true reuses outputs of the same jobs in other runs, false never does; without quotation marks"
    )
