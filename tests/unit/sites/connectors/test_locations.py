# Licensed under the Apache License, Version 2.0; see the LICENSE file.
"""What is where, as the deployments of a workflow tell it."""

from __future__ import annotations

import pytest

from airflow_hybrid.config import Deployment, Link
from airflow_hybrid.errors import ConfigError
from airflow_hybrid.model import FileRef
from airflow_hybrid.sites.connectors import open_connector
from airflow_hybrid.sites.connectors.locations import Locations
from airflow_hybrid.sites.hosts.base import Host

DEPLOYMENTS = {
    "one": Deployment("one", "local"),
    "two": Deployment("two", "local"),
    "queue": Deployment("queue", "slurm", wraps="one"),
}


async def host(name: str) -> Host:
    return (await open_connector(DEPLOYMENTS, name).hosts())[0]


async def test_only_the_workflows_own_places_are_known() -> None:
    locations = Locations(DEPLOYMENTS)
    assert locations.knows(FileRef("one", "localhost", "/x")) and locations.knows(FileRef("local", "localhost", "/x"))
    assert not locations.knows(FileRef("evil", "localhost", "/x"))
    with pytest.raises(ConfigError) as error:
        await locations.host_of(FileRef("evil", "localhost", "/x"))
    assert str(error.value) == ("hybrid://evil/localhost/x is at deployment 'evil', which is not in this workflow")
    with pytest.raises(ConfigError) as error:
        await locations.host_of(FileRef("one", "elsewhere", "/x"))
    assert str(error.value) == (
        "hybrid://one/elsewhere/x is at location 'elsewhere', which deployment 'one' does not have\n"
        "  -> it has: localhost"
    )


async def test_a_file_is_at_its_own_deployments_storage() -> None:
    locations = Locations(DEPLOYMENTS)
    assert await locations.host_of(FileRef("one", "localhost", "/x")) is await host("one")
    assert locations.same_storage(FileRef("one", "localhost", "/x"), await host("one"))
    assert not locations.same_storage(FileRef("one", "localhost", "/x"), await host("two"))


async def test_a_link_of_a_queue_is_one_of_the_host_that_it_works_on() -> None:
    links = [Link("queue", "two", "me@two"), Link("two", "elsewhere")]
    assert Locations(DEPLOYMENTS, links).links() == [Link("one", "two", "me@two"), Link("two", "elsewhere")]
