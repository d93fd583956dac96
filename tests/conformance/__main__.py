# Licensed under the Apache License, Version 2.0; see the LICENSE file.
"""``python -m tests.conformance [--site local|hpc|cloud] [--fuse] [--suite FILE or FOLDER] [pytest's options]``.

Runs a suite, all of it unless pytest's ``-k`` or cwltest's ``--cwl-tags`` say less; ``-n 2`` uses two processes.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import re
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.conformance.sites import SITES, connections
from tests.testbed.fixture import INSTALL, Testbed, missing

ROOT = Path(__file__).parents[2]
DEFAULT = Path(__file__).parent / "v1.2"


def suite_file(given: str) -> Path:
    """The file of a suite: itself, or found in its folder by the names that the standards' repositories use.

    :raises SystemExit: there is none.
    """
    path = Path(given).absolute()
    if path.is_file():
        return path
    for pattern in ("conformance_tests.yaml", "conformance_test_v1.0.yaml", "conformance_test*.yaml"):
        for found in sorted(path.glob(pattern)) or sorted(path.glob(f"*/{pattern}")):
            return found
    raise SystemExit(f"{given}: no conformance_tests.yaml (nor conformance_test_v1.0.yaml) there")


def version_of(suite: Path) -> str:
    """The version of CWL that a suite is for, as its path says it."""
    found = re.findall(r"v1\.\d+(?:\.\d+)?(?:-dev\d*)?", str(suite))
    return found[-1] if found else ""


@contextlib.contextmanager
def the_site(site: str) -> Iterator[None]:
    """The test bed's site is up and its Connection is known; a test bed that was there before stays."""
    if site == "local":
        yield
        return
    if lacks := missing((site,)):
        raise SystemExit(f"site {site} needs {', '.join(lacks)}; to get it: {INSTALL}")
    named = os.environ.get("TESTBED_DIR")
    kept = bool(named) and (Path(str(named)) / "testbed.json").exists()
    with tempfile.TemporaryDirectory(prefix="conformance-testbed-") as folder:
        bed = Testbed(Path(named or folder))
        try:
            bed.up(site)
            # the suite's tools call their interpreter by this name, as its images do
            bed.exec(site, "ln", "-sf", "/usr/bin/python3", "/usr/local/bin/python")
            os.environ.update(connections(bed))
            yield
        finally:
            if not kept:
                bed.down()


def main(argv: list[str]) -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.conformance", description=__doc__, allow_abbrev=False)
    parser.add_argument("--site", choices=SITES, default="local", help="where all steps run")
    parser.add_argument("--fuse", action="store_true", help="all workflows with `fuse: chains`")
    parser.add_argument(
        "--suite",
        default=os.environ.get("CWL_CONFORMANCE_DIR") or str(DEFAULT),
        help="file of a suite, or folder with one (default: $CWL_CONFORMANCE_DIR, else the copy of v1.2 here)",
    )
    parser.add_argument("--results", default=str(ROOT / "conformance-results"), help="folder for tables and badges")
    args, more = parser.parse_known_args(argv)
    suite = suite_file(args.suite)
    options = [
        "-p", "tests.conformance.plugin", "-c", str(ROOT / "pyproject.toml"), "--rootdir", str(ROOT),
        "-p", "no:cacheprovider", "--tb=no", "--no-header", "-r", "", "-o", "addopts=", "-q",
        "--cwl-site", args.site, "--cwl-version", version_of(suite), "--cwl-results", args.results,
        "--cwl-basedir", str(suite.parent),
        *(["--cwl-fuse"] if args.fuse else []),
    ]  # fmt: skip
    os.chdir(ROOT)
    with the_site(args.site):
        return int(pytest.main([*options, *more, str(suite)]))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
