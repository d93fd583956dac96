# Licensed under the Apache License, Version 2.0; see the LICENSE file.
"""The canaries of a session: on this machine and at the sites of the test bed, looked at after every test.

A site is looked at by one command, and only after a test that had the test bed. A site that was restarted has lost all
its files, and gets new canaries.
"""

from __future__ import annotations

import concurrent.futures
import json
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from tests import canaries
from tests.canaries import WORK, Entry, State
from tests.testbed.fixture import Site, Testbed

PROGRAM = Path(canaries.__file__)
VOLUME = "/srv/kubesim/pvc/default/airflow-hybrid-test"
"""where the Kubernetes double keeps the claim of the tests (tests/system/kube.py)"""


@dataclass
class Place:
    """Where canaries lie.

    :ivar plant: makes those that are not there.
    :ivar look: asks for what there is.
    """

    title: str
    plant: Callable[[Sequence[Entry]], dict[str, State]]
    look: Callable[[Sequence[str]], dict[str, State]]
    entries: list[Entry] = field(default_factory=list)
    states: dict[str, State] = field(default_factory=dict)

    def add(self, entries: Sequence[Entry]) -> None:
        """Plant more; what was there before is not ours and is not watched."""
        made = self.plant(entries)
        self.entries += [entry for entry in entries if entry.path in made]
        self.states.update(made)

    def damage(self) -> list[str]:
        """A line for each canary that is not as it was; then they are made again, for the next test."""
        lines = canaries.compare(self.states, self.look(list(self.states)))
        if lines:
            self.plant(self.entries)
            self.states = self.look([entry.path for entry in self.entries])
        return [f"{self.title}: {line}" for line in lines]


def here() -> Place:
    """This machine."""
    return Place("here", canaries.plant, canaries.look)


def at_site(bed: Testbed, site: Site, uid: int) -> Place:
    """A site of the test bed; the canaries belong to its user, who could remove them."""

    def plant(entries: Sequence[Entry]) -> dict[str, State]:
        fields = [[entry.path, entry.kind, entry.target] for entry in entries]
        return canaries.loaded(_program(bed, site.name, "plant", {"owner": uid, "entries": fields}))

    def look(paths: Sequence[str]) -> dict[str, State]:
        return canaries.loaded(_program(bed, site.name, "look", list(paths)))

    return Place(site.name, plant, look)


def _program(bed: Testbed, site: str, task: str, given: object) -> str:
    """Run tests/canaries.py at a site, as root there: it works while the site is cut off."""
    return bed.exec(site, "/usr/bin/python3", "-c", PROGRAM.read_text(), task, stdin=json.dumps(given))


def of_site(site: Site) -> list[Entry]:
    """What is planted at a site: around and in the work directories that tests use, in its home, scratch and temp."""
    tops = [site.home, site.scratch]
    if site.scheduler == "kube":
        tops.append(VOLUME)
    entries: list[Entry] = []
    for top in tops:
        work = f"{top}/{WORK}"
        entries += [*canaries.around(work, top), *canaries.inside(work)]
    return [*entries, *canaries.anywhere("/tmp")]


class Watch:
    """All places of a session."""

    def __init__(self) -> None:
        self.bed: Testbed | None = None
        self._here = here()
        self._sites: dict[str, tuple[str, Place]] = {}

    def plant_here(self, entries: Sequence[Entry]) -> None:
        self._here.add(entries)

    @contextmanager
    def around(self, folder: str, top: str) -> Iterator[None]:
        """Canaries around a folder of this machine that is a test's own, inside of the block."""
        place = here()
        place.add(canaries.around(folder, top))
        yield
        _complain(place.damage())

    def plant_sites(self) -> None:
        """Canaries at the sites that are up and have none."""
        for site in self._up():
            life = self._life(site.name)
            if self._sites.get(site.name, ("",))[0] != life:
                place = self._new(site)
                self._sites[site.name] = (life, place)

    def _new(self, site: Site) -> Place:
        assert self.bed is not None
        uid = int(self.bed.exec(site.name, "id", "-u", site.user))
        place = at_site(self.bed, site, uid)
        place.add(of_site(site))
        return place

    def _up(self) -> list[Site]:
        if self.bed is None or not (self.bed.folder / "testbed.json").exists():
            return []
        return list(self.bed.sites.values())

    def _life(self, name: str) -> str:
        """Which start of a site this is."""
        assert self.bed is not None
        return (self.bed.folder / name / "pid").read_text()

    def check_here(self) -> None:
        _complain(self._here.damage())

    def check_sites(self, when: str = "") -> None:
        """Look at the sites that have not been restarted.

        :param when: begins the message, where more than one test may have done it.
        :raises AssertionError: names each canary that is not as it was.
        """
        up = {site.name for site in self._up()}
        alive = [place for name, (life, place) in self._sites.items() if name in up and self._life(name) == life]
        with concurrent.futures.ThreadPoolExecutor() as threads:
            found = list(threads.map(Place.damage, alive))
        _complain([line for lines in found for line in lines], when)


def _complain(lines: Sequence[str], when: str = "") -> None:
    if lines:
        raise AssertionError("\n".join([f"{when}files that the test does not own are not as they were:", *lines]))
