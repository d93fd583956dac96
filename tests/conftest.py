# Licensed under the Apache License, Version 2.0; see the LICENSE file.
"""Fixtures that bring real things up: sites (:func:`testbed`) and an Airflow (``system/conftest.py``).

Where a machine cannot hold them their tests are skipped, with what is needed and how to get it; with
``AIRFLOW_HYBRID_REQUIRE_TESTBED=1``, as in CI, they fail instead.
"""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

from airflow_hybrid import shell_text
from tests import canaries
from tests.canary_watch import Watch
from tests.machine import Machine
from tests.needs import unavailable
from tests.system import kube as kubernetes
from tests.system.kube import Kube
from tests.testbed.fixture import INSTALL, Testbed, missing

pytest.register_assert_rewrite("tests.raising")
# a busy machine is slow, and that is no fault of a test
settings.register_profile("any machine", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("any machine")

# quick feedback first; what is not listed comes in between
LAST = ("contract", "conformance", "system")
# whose tests run jobs or shell text of ours in folders with names that break what does not quote; the others write the
# names of their folders into documents as they are
ODDLY_NAMED = (
    "contract", "system/at_sites/test_hostile_values.py", "system/at_sites/test_data_mover_sites.py",
    "system/at_sites/test_reuse.py", "system/examples/test_examples.py", "unit/engine/placing/test_choosing.py",
    "unit/engine/placing/test_spreading.py", "unit/operators/gather", "unit/sites/check/test_check.py",
    "unit/sites/files/test_data_mover.py", "unit/sites/files/test_data_mover_scripts.py",
    "unit/sites/files/test_data_mover_store.py", "unit/sites/batches/test_job_directory.py",
    "unit/sites/batches/runner", "unit/sites/hosts/test_joining.py",
    "unit/sites/hosts/test_probe.py", "unit/sites/batches/test_queue_fakes.py",
    "unit/sites/batches/test_queue_process.py", "unit/sites/batches/slurm",
    "unit/sites/test_removal_at_sites.py", "unit/sites/reuse/test_reuse_index.py",
    "unit/sites/files/test_unchanged.py", "unit/cli/test_cleanup.py",
)  # fmt: skip
# whose sites are looked at after each test; those of the others after each module
LOOKED_AT_OFTEN = ("contract", "system/at_sites/test_hostile_values.py")
# folders in whose tests a warning is an error; elsewhere libraries warn of what real sites do
WARNINGS_FAIL = ("unit",)
SITE_FIXTURES = ("_bed", "testbed", "grid", "kube")
WATCH = Watch()


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark tests by the fixtures they use, only show warnings of real sites, and run the slow folders last."""
    here = Path(__file__).parent
    for item in items:
        if not any(item.path.is_relative_to(here / folder) for folder in WARNINGS_FAIL):
            item.add_marker(pytest.mark.filterwarnings("default"))
        if "testbed" in getattr(item, "fixturenames", ()):
            item.add_marker("testbed")
        if "airflow" in getattr(item, "fixturenames", ()):
            item.add_marker("system")

    def rank(item: pytest.Item) -> int:
        folder = item.path.relative_to(here).parts[0] if item.path.is_relative_to(here) else ""
        return LAST.index(folder) + 1 if folder in LAST else 0

    items.sort(key=rank)


@pytest.fixture(scope="session", autouse=True)
def _cores_of_these_tests() -> Iterator[None]:
    """Jobs that this process starts here share the machine's cores with each other, and with nobody else's jobs.

    Else they wait for jobs of an Airflow, or of other tests, that have the same user.
    """
    folder = tempfile.mkdtemp(prefix="airflow_hybrid-cores-")
    os.chmod(folder, 0o1777)  # as /tmp: some tests run jobs as another user
    with pytest.MonkeyPatch.context() as patch:
        load = shell_text.load

        def load_with_folder(package: str, name: str) -> str:
            return load(package, name).replace("/tmp/airflow_hybrid-", f"{folder}/airflow_hybrid-")

        patch.setattr(shell_text, "load", load_with_folder)
        for package, name in (("sites.batches", "runner.sh"), ("schedulers", "process_status.sh")):
            assert shell_text.load(f"airflow_hybrid.{package}", name).count(f"{folder}/airflow_hybrid-") == 1
        yield
    shutil.rmtree(folder)


@pytest.fixture(scope="session")
def _bed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Testbed]:
    """The session's one test bed; its sites come up as fixtures ask for them.

    A test bed that the environment names (``TESTBED_DIR``, as left by ``testbed up``) is used and stays up; otherwise
    one is made for the session.
    """
    named = os.environ.get("TESTBED_DIR")
    kept = bool(named) and (Path(str(named)) / "testbed.json").exists()
    # an address and an interface that hardly collide with a test bed that somebody brought up by hand, or with those of
    # other processes of pytest-xdist
    worker = int(os.environ.get("PYTEST_XDIST_WORKER", "gw0").removeprefix("gw"))
    bed = Testbed(
        Path(named) if named else tmp_path_factory.mktemp("testbed"),
        TESTBED_NET=f"10.79.{worker}",
        TESTBED_ID=f"tb2{worker or ''}",
    )
    os.environ.update(bed.variables())
    WATCH.bed = bed
    yield bed
    WATCH.bed = None
    if not kept:
        bed.down()


@pytest.fixture(scope="session")
def testbed(request: pytest.FixtureRequest) -> Testbed:
    """The sites ``hpc`` (Slurm), ``cloud`` and ``edge``: reachable by ssh only, nothing shared.

    A test that changes a site (cuts it, fills its disk) undoes that itself.
    """
    if lacks := missing():
        unavailable("the test bed", ", ".join(lacks), INSTALL)
    bed: Testbed = request.getfixturevalue("_bed")
    bed.up()
    return bed


@pytest.fixture(scope="session")
def kube(request: pytest.FixtureRequest) -> Iterator[Kube]:
    """A Kubernetes cluster: the double of the test bed's site ``kube``, or a real one (``tests/system/kube.py``)."""
    if real := kubernetes.real():
        yield from kubernetes.ready(real)
        return
    if lacks := missing(("kube",)):
        unavailable("the Kubernetes double", ", ".join(lacks), f"{INSTALL} kube")
    bed: Testbed = request.getfixturevalue("_bed")
    bed.up("kube")
    yield from kubernetes.ready(kubernetes.double(bed))


@pytest.fixture(scope="session")
def grid(testbed: Testbed) -> Testbed:
    """The test bed with the site ``grid`` (a real Grid Engine), too."""
    if lacks := missing(("grid",)):
        unavailable("the site grid", ", ".join(lacks), f"{INSTALL} grid")
    testbed.up("grid")
    return testbed


@pytest.fixture(autouse=True)
def _testbed_where_marked(request: pytest.FixtureRequest) -> None:
    """A test that is only marked ``testbed`` finds it by ``TESTBED_*`` variables, as the kit's commands do."""
    if request.node.get_closest_marker("testbed"):
        request.getfixturevalue("testbed")


# --- this machine's own folders: see tests/machine.py ----------------------------------------------------------------


@pytest.fixture(scope="session", autouse=True)
def _machine() -> Iterator[Machine]:
    """After the session this machine's own folders have the names in them that they had."""
    machine = Machine()
    yield machine
    machine.check()


@pytest.fixture(autouse=True)
def _root_folder(_machine: Machine) -> Iterator[None]:
    """After the test ``/bin``, ``/lib`` and all else in the root folder is there: the test that harmed it is named."""
    yield
    _machine.check_root()


# --- canaries: see tests/canaries.py ---------------------------------------------------------------------------------


def _is_in(path: Path, folders: tuple[str, ...]) -> bool:
    here = Path(__file__).parent
    return any(path.is_relative_to(here / folder) for folder in folders)


@pytest.fixture(scope="session")
def _canaries_of_this_machine(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """In the user's home and the folders of temporary files; what else there is, is the user's own."""
    WATCH.plant_here(canaries.anywhere(str(tmp_path_factory.getbasetemp())))
    folders = [Path(top, f"airflow_hybrid canaries {os.getpid()}") for top in (Path.home(), tempfile.gettempdir())]
    for folder in folders:
        _remove_those_of_killed_sessions(folder.parent)
        folder.mkdir()
        WATCH.plant_here(canaries.anywhere(str(folder)))
    yield
    for folder in folders:
        shutil.rmtree(folder)


def _remove_those_of_killed_sessions(top: Path) -> None:
    for folder in top.glob("airflow_hybrid canaries *"):
        process = folder.name.rsplit(" ", 1)[-1]
        if process.isdigit() and not Path("/proc", process).exists():
            shutil.rmtree(folder, ignore_errors=True)  # another session may be removing it as well


@pytest.fixture(autouse=True)
def _canaries(request: pytest.FixtureRequest) -> Iterator[None]:
    """After the test all canaries are there, unchanged: of this machine, and of the sites if it had the test bed."""
    request.getfixturevalue("_canaries_of_this_machine")
    has_sites = request.node.get_closest_marker("testbed") or set(SITE_FIXTURES) & set(request.fixturenames)
    if has_sites:
        WATCH.plant_sites()
    yield
    WATCH.check_here()
    if has_sites and _is_in(request.path, LOOKED_AT_OFTEN):
        WATCH.check_sites()


@pytest.fixture(autouse=True, scope="module")
def _canaries_of_a_module(request: pytest.FixtureRequest) -> Iterator[None]:
    """After the last test of a module all canaries at the sites are there, unchanged."""
    yield
    if not _is_in(request.path, LOOKED_AT_OFTEN):
        WATCH.check_sites(f"after the tests of {request.path.name}: ")


@pytest.fixture
def tmp_path(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Path]:
    """pytest's, with canaries around it; where jobs run its name may be one that breaks what does not quote."""
    folder, top = tmp_path, tmp_path.parent
    if _is_in(request.path, ODDLY_NAMED):
        folder, top = tmp_path / canaries.WORK, tmp_path
        folder.mkdir(parents=True)
    with WATCH.around(str(folder), str(top)):
        yield folder
