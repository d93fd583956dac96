# Licensed under the Apache License, Version 2.0; see the LICENSE file.
"""Jobs find their places: several targets, what is down or full, and what was placed before."""

from __future__ import annotations

from collections.abc import AsyncIterator
from importlib.metadata import EntryPoint, EntryPoints
from pathlib import Path
from typing import Any

import pytest

from airflow_hybrid.config import Deployment
from airflow_hybrid.engine.placing import places, policies
from airflow_hybrid.errors import ConfigError, HostUnreachableError, SiteError
from airflow_hybrid.model import Binding, LineageEntry, Resources, Target
from airflow_hybrid.placement import Choice, Policy
from airflow_hybrid.sites.closing import close_all
from airflow_hybrid.sites.connectors.hosts import LocalConnector
from tests.raising import raising
from tests.unit.engine.fragments import TOOL, execution, spec


@pytest.fixture(autouse=True)
async def clean(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[None]:
    monkeypatch.setenv("AIRFLOW__AIRFLOW_HYBRID__CACHE_DIR", str(tmp_path / "cache"))
    yield
    await close_all()


@pytest.fixture
def sites(tmp_path: Path) -> dict[str, Deployment]:
    """Two sites of this machine with four cores each, and one that nobody reaches."""
    made = {name: Deployment(name, "local", {"cores": 4}, workdir=f"{tmp_path}/{name}") for name in ("north", "south")}
    node = {"hostname": "127.0.0.1:1", "connectTimeout": 2}
    return {**made, "gone": Deployment("gone", "ssh", {"nodes": [node]}, workdir="/gone")}


def jobs(tmp_path: Path, count: int, **more: Any) -> list[dict[str, Any]]:
    return [{"name": f"job{i}", "runs": f"{tmp_path}/runs", **more} for i in range(count)]


def runs(tmp_path: Path) -> list[str]:
    return sorted((tmp_path / "runs").read_text().split())


def placed(lineage: list[LineageEntry]) -> list[str]:
    """Deployments of the placements in a lineage."""
    return [entry.destination.split("/")[2] for entry in lineage if entry.route == "placed"]


async def test_jobs_are_spread_over_equal_targets_and_it_says_why(tmp_path: Path, sites: dict[str, Deployment]) -> None:
    run, log = execution(spec(tmp_path, sites, {"target": ["north", "south"]}, jobs(tmp_path, 4)))
    outcome = await run.run()
    assert sorted(placed(outcome.lineage)) == ["north", "north", "south", "south"]
    notes = [entry.note for entry in outcome.lineage if entry.route == "placed"]
    assert all("least used" in note for note in notes) and "least used" in log.text
    assert len(runs(tmp_path)) == 4


async def test_many_jobs_are_counted_in_the_lineage(tmp_path: Path, sites: dict[str, Deployment]) -> None:
    run, log = execution(spec(tmp_path, sites, {"target": ["north", "south"]}, jobs(tmp_path, 24)))
    outcome = await run.run()
    notes = [(entry.source, entry.note) for entry in outcome.lineage if entry.route == "placed"]
    assert [source for source, _ in notes] == ["/tool [12 jobs]"] * 2 and "DataLocality" in notes[0][1]
    assert "12 to north" in log.text


async def test_a_target_that_is_down_is_passed_over(tmp_path: Path, sites: dict[str, Deployment]) -> None:
    run, log = execution(spec(tmp_path, sites, {"target": ["gone", "south"]}, jobs(tmp_path, 2)))
    outcome = await run.run()
    assert placed(outcome.lineage) == ["south", "south"]
    assert "gone" in log.text and "is unavailable and skipped" in log.text


async def test_a_target_that_is_down_is_not_asked_by_everybody_and_is_asked_again_later(
    tmp_path: Path, sites: dict[str, Deployment], monkeypatch: pytest.MonkeyPatch
) -> None:
    sites["gone"] = Deployment("gone", "local", {"cores": 4}, workdir=f"{tmp_path}/gone")
    binding = {"target": ["gone", "south"], "policy": "in_order"}

    async def where(index: int) -> tuple[list[str], str]:
        run, log = execution(spec(tmp_path, sites, binding, jobs(tmp_path, 1), map_index=index))
        return placed((await run.run()).lineage), log.text

    broken = pytest.MonkeyPatch()

    async def lost(self: LocalConnector, host: Any, service: str | None = None) -> str:
        raise HostUnreachableError("it is cut off")

    broken.setattr(LocalConnector, "workdir", _for("gone", lost))
    try:
        assert (await where(0))[0] == ["south"]
    finally:
        broken.undo()
    chosen, log = await where(1)
    assert chosen == ["south"] and "s ago; asked again" in log
    monkeypatch.setattr(places, "DOWN_FOR_S", 0)
    assert (await where(2))[0] == ["gone"]


async def test_when_all_are_down_one_message_names_each(tmp_path: Path, sites: dict[str, Deployment]) -> None:
    sites["off"] = Deployment("off", "ssh", {"nodes": [{"hostname": "127.0.0.1:2"}]}, workdir="~/x")
    run, _ = execution(spec(tmp_path, sites, {"target": ["gone", "off"]}, jobs(tmp_path, 1)))
    message = (
        "none of the 2 locations that the job may have is available:\n"
        "  gone (127.0.0.1:1): no connection to 127.0.0.1:1: Connection refused\n"
        "  off (127.0.0.1:2): no connection to 127.0.0.1:2: Connection refused\n"
        "  -> `airflow hybrid check` tries each of them and says what to do; the task can be retried"
    )
    with raising(SiteError, message) as caught:
        await run.run()
    assert caught.value.retryable


async def test_what_was_placed_stays_there_whatever_has_changed(tmp_path: Path, sites: dict[str, Deployment]) -> None:
    made = spec(tmp_path, sites, {"target": ["north", "south"], "policy": "in_order"}, jobs(tmp_path, 3))
    run, _ = execution(made)
    shares = await run.chooser.divide((await pending(run))[:3])  # the process dies before anything is submitted
    assert [(share.place.host.deployment, len(share.jobs)) for share in shares] == [("north", 3)]
    again, log = execution(
        spec(tmp_path, sites, {"target": ["south", "north"], "policy": "in_order"}, jobs(tmp_path, 3))
    )
    outcome = await again.run()
    assert placed(outcome.lineage) == ["north"] * 3 and "placed there earlier" in log.text
    (tmp_path / "north").rename(tmp_path / "away")  # only the other target remembers it
    third, _ = execution(spec(tmp_path, sites, {"target": ["south", "north"], "policy": "in_order"}, jobs(tmp_path, 3)))
    assert placed((await third.run()).lineage) == ["north"] * 3


async def pending(run: Any) -> list[Any]:
    """The jobs of a fragment, found and not run."""
    from airflow_hybrid.cwl.fragments.fragment import Fragment
    from airflow_hybrid.engine.common import in_cwl_thread

    fragment = await in_cwl_thread(Fragment.load, run.context.spec.document)
    started = await in_cwl_thread(
        lambda: fragment.start(run.context.spec.instances, name=run.context.spec.identity.directory)
    )
    return list(await in_cwl_thread(started.pump))


async def test_jobs_whose_place_is_down_wait_for_it_and_are_not_placed_again(
    tmp_path: Path, sites: dict[str, Deployment], monkeypatch: pytest.MonkeyPatch
) -> None:
    made = spec(tmp_path, sites, {"target": ["north", "south"], "policy": "in_order"}, jobs(tmp_path, 1))
    run, _ = execution(made)
    await run.chooser.divide(await pending(run))
    broken = pytest.MonkeyPatch()

    async def lost(self: LocalConnector, host: Any, service: str | None = None) -> str:
        raise HostUnreachableError("it is cut off")

    broken.setattr(LocalConnector, "workdir", _for("north", lost))
    try:
        message = (
            "jobs were placed earlier at locations that are unavailable: north (localhost): it is cut off\n"
            "  -> they go on there, and the next try finds them; clear the task to place them again"
        )
        with raising(SiteError, message) as caught:
            await execution(made)[0].run()
    finally:
        broken.undo()
    assert caught.value.retryable and not (tmp_path / "runs").exists()
    # it is back: though it was found down a moment ago, whoever has jobs there asks
    assert placed((await execution(made)[0].run()).lineage) == ["north"]


def _for(name: str, instead: Any) -> Any:
    """``LocalConnector.workdir``, with another one for one deployment."""
    real = LocalConnector.workdir

    async def workdir(self: LocalConnector, host: Any, service: str | None = None) -> str:
        return str(await (instead if self.deployment.name == name else real)(self, host, service))

    return workdir


async def test_a_note_that_a_kill_cut_off_spoils_nothing(tmp_path: Path, sites: dict[str, Deployment]) -> None:
    made = spec(tmp_path, sites, {"target": ["north", "south"]}, jobs(tmp_path, 2))
    folder = tmp_path / "south" / made.identity.directory
    folder.mkdir(parents=True)
    (folder / "placed").write_text("some key\tnor")
    outcome = await execution(made)[0].run()
    assert len(placed(outcome.lineage)) == 2 and len(runs(tmp_path)) == 2


async def test_a_full_target_is_passed_over_while_its_jobs_run(
    tmp_path: Path, sites: dict[str, Deployment], monkeypatch: pytest.MonkeyPatch
) -> None:
    from airflow_hybrid.sites.connectors.hosts import LocalConnector

    def options(self: LocalConnector, service: str | None = None) -> dict[str, Any]:
        return {"maxConcurrentJobs": 2} if self.deployment.name == "north" else {}

    monkeypatch.setattr(LocalConnector, "options", options)
    binding = {"target": ["north", "south"], "policy": "in_order"}
    run, _ = execution(spec(tmp_path, sites, binding, jobs(tmp_path, 5)))
    outcome = await run.run()
    assert sorted(placed(outcome.lineage)) == ["north", "north", "south", "south", "south"]
    assert any("full: north" in entry.note for entry in outcome.lineage)
    # they have ended: there is room again
    after, _ = execution(spec(tmp_path, sites, binding, jobs(tmp_path, 1), generation=1))
    assert placed((await after.run()).lineage) == ["north"]


async def test_inputs_decide_by_a_matching_filter(tmp_path: Path, sites: dict[str, Deployment]) -> None:
    big = tmp_path / "big.bin"
    big.write_bytes(b"x" * 5000)
    file = {"class": "File", "location": big.as_uri(), "basename": "big.bin", "size": 5000}
    rules = [
        {"target": "south", "job": [{"port": "file", "min": 1000}]},
        {"target": "north", "job": [{"port": "name", "regex": "job[0-9]"}]},
    ]
    filters = ({"name": "by-size", "type": "matching", "config": {"filters": rules}},)
    binding = Binding("/", (Target("north"), Target("south")), filters=filters, policy="in_order")
    small = [{**job, "name": "job1"} for job in jobs(tmp_path, 1)]
    large = [{**job, "name": "other"} for job in jobs(tmp_path, 1, file=file)]
    assert placed((await execution(spec(tmp_path, sites, binding, small))[0].run()).lineage) == ["north"]
    assert placed((await execution(spec(tmp_path, sites, binding, large, map_index=1))[0].run()).lineage) == ["south"]
    odd = [{**job, "name": "other"} for job in jobs(tmp_path, 1)]
    message = (
        "the binding filter `by-size` leaves no target for a job with file = None, name = 'other' (of north, south)\n"
        "  -> add a rule for it, or one with `job: []`, which takes every job"
    )
    with raising(ConfigError, message):
        await execution(spec(tmp_path, sites, binding, odd, map_index=2))[0].run()


class Southmost(Policy):
    def __init__(self, name: str = "south") -> None:
        self.name = name

    def choose(self, candidates: Any, resources: Resources) -> Choice:
        return next(Choice(index, f"it is {self.name}") for index, c in candidates if c.deployment == self.name)


@pytest.fixture
def package(monkeypatch: pytest.MonkeyPatch) -> None:
    points = EntryPoints([EntryPoint("southmost", f"{__name__}:Southmost", policies.POLICY_GROUP)])
    monkeypatch.setattr(policies, "entry_points", lambda **kwargs: points.select(**kwargs))


@pytest.mark.usefixtures("package")
async def test_a_policy_of_another_package_is_used_with_its_arguments(
    tmp_path: Path, sites: dict[str, Deployment]
) -> None:
    binding = {"target": ["north", "south"], "policy": "southmost"}
    by_default = Binding("/", (Target("north"), Target("south")), policy="southmost")
    with_name = Binding("/", by_default.targets, policy="southmost", policy_config={"name": "north"})
    assert binding["policy"] == by_default.policy
    run, log = execution(spec(tmp_path, sites, by_default, jobs(tmp_path, 1)))
    assert placed((await run.run()).lineage) == ["south"] and "it is south" in log.text
    run, _ = execution(spec(tmp_path, sites, with_name, jobs(tmp_path, 1), generation=1))
    assert placed((await run.run()).lineage) == ["north"]
    wrong = Binding("/", by_default.targets, policy="southmost", policy_config={"colour": "red"})
    message = (
        "the policy 'southmost' cannot be created with {'colour': 'red'}: Southmost.__init__() got an unexpected "
        "keyword argument 'colour'"
    )
    with raising(ConfigError, message):
        await execution(spec(tmp_path, sites, wrong, jobs(tmp_path, 1), generation=2))[0].run()
    message = (
        "there is no policy 'best'\n  -> there are: data_locality, in_order, spread, load, queue_wait, cost, southmost"
    )
    with raising(ConfigError, message):
        policies.find_policy("best", {})


async def test_more_cores_than_any_has_are_refused(tmp_path: Path, sites: dict[str, Deployment]) -> None:
    text = TOOL.replace("coresMin: 1", "coresMin: 64")
    run, _ = execution(spec(tmp_path, sites, {"target": ["north", "south"]}, jobs(tmp_path, 1), text))
    capacity = r"\(localhost\) has 4 cores and \d+ MiB"
    words = rf"\Ano location can hold a job of 64 cores and 256 MiB: north {capacity}, south {capacity}\Z"
    with pytest.raises(ConfigError, match=words):
        await run.run()


@pytest.mark.parametrize(("cores", "warned"), [(3, False), (64, True)])
async def test_the_only_place_runs_jobs_that_ask_for_more_than_it_has_and_says_so(
    tmp_path: Path, sites: dict[str, Deployment], cores: int, warned: bool
) -> None:
    text = TOOL.replace("coresMin: 1", f"coresMin: {cores}")
    run, log = execution(spec(tmp_path, sites, {"target": "north"}, jobs(tmp_path, 1), text))
    await run.run()
    assert runs(tmp_path) == ["job0"]
    words = f"asks for {cores} cores, but north (localhost) has 4: its jobs run one at a time"
    assert (words in log.text) is warned


async def test_cancel_reaches_what_it_can_and_says_what_it_cannot(tmp_path: Path, sites: dict[str, Deployment]) -> None:
    made = spec(tmp_path, sites, {"target": ["gone", "south"]}, jobs(tmp_path, 1))
    message = (
        f"gone (127.0.0.1:1): cancel /gone/{made.identity.directory}: "
        "no connection to 127.0.0.1:1: Connection refused\n"
        "  -> is it running, and reachable from here?"
    )
    with raising(SiteError, message):
        await execution(made)[0].cancel()
    assert (tmp_path / "south" / made.identity.directory / "cancelled.1").exists()
