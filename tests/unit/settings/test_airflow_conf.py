# Licensed under the Apache License, Version 2.0; see the LICENSE file.
"""Settings by Airflow's own configuration: its variables, its file, its description of providers, and its commands."""

from __future__ import annotations

import argparse
import io
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from airflow import configuration
from airflow.cli.commands.config_command import get_value

from airflow_hybrid import settings
from airflow_hybrid.cli import commands
from airflow_hybrid.installation.conf import as_variables, use_airflow_conf
from airflow_hybrid.provider_info import get_provider_info
from airflow_hybrid.settings import reading, reference
from airflow_hybrid.settings.options import OPTIONS, Settings

ROOT = Path(__file__).parents[3]
PAGE = ROOT / "docs" / "reference" / "configuration.md"
CONFIG = """
[airflow_hybrid]
document_roots = $TOOLS https://example.org/a%%20b/
public_addresses_only = True # for now
cache_dir = ~/cache
cache_size = 5
instance =
"""
BARE = """
import sys
from airflow_hybrid import settings
print(vars(settings.current()))
assert not [name for name in sys.modules if name.partition(".")[0] in ("airflow", "cwltool", "pydantic")]
"""


@pytest.fixture(autouse=True)
def airflow_cfg(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """Airflow's configuration as in a new process with this file."""
    path = tmp_path / "airflow.cfg"
    path.write_text(CONFIG)
    before = reading._source
    for name in [name for name in os.environ if name.startswith("AIRFLOW__AIRFLOW_HYBRID__")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("AIRFLOW_CONFIG", str(path))
    monkeypatch.setenv("TOOLS", "/srv/tools")
    monkeypatch.setenv("AIRFLOW__AIRFLOW_HYBRID__CACHE_SIZE", "7")
    monkeypatch.setattr(configuration, "AIRFLOW_CONFIG", str(path))
    monkeypatch.setattr(configuration, "conf", configuration.initialize_config())
    use_airflow_conf()
    yield path
    settings.read_from(before)


def test_a_process_reads_the_same_settings_with_and_without_airflow() -> None:
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    command = [sys.executable, "-c", BARE]
    bare = subprocess.run(command, env=environment, capture_output=True, text=True, check=True).stdout
    values = settings.current()
    assert bare.strip() == str(vars(values))
    assert values.document_roots == ("/srv/tools", "https://example.org/a%20b/")
    assert (values.public_addresses_only, values.cache_size, values.instance) == (True, 7, "")
    assert values.cache_dir == os.path.expanduser("~/cache")


def test_a_runner_gets_what_is_set_here() -> None:
    assert as_variables() == {
        "AIRFLOW__AIRFLOW_HYBRID__CACHE_DIR": os.path.expanduser("~/cache"),
        "AIRFLOW__AIRFLOW_HYBRID__CACHE_SIZE": "7",
        "AIRFLOW__AIRFLOW_HYBRID__DOCUMENT_ROOTS": "/srv/tools https://example.org/a%20b/",
        "AIRFLOW__AIRFLOW_HYBRID__PUBLIC_ADDRESSES_ONLY": "True # for now",
        # the default is in the home of this Airflow, which is not the runner's
        "AIRFLOW__AIRFLOW_HYBRID__LOGIN_DIR": os.path.join(settings.airflow_home(), "airflow_hybrid_logins"),
    }


def test_a_name_that_nobody_reads_is_an_error(airflow_cfg: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    airflow_cfg.write_text("[airflow_hybrid]\npublic_adresses_only = True\n")
    monkeypatch.setattr(configuration, "conf", configuration.initialize_config())
    use_airflow_conf()
    monkeypatch.setenv("AIRFLOW__AIRFLOW_HYBRID__CACHE_SIZE", "8")
    with pytest.raises(settings.SettingError) as error:
        settings.current()
    said = "there is no setting [airflow_hybrid] public_adresses_only; did you mean public_addresses_only?"
    assert error.value.message == said


def test_airflow_lists_every_setting_with_its_description(capsys: pytest.CaptureFixture[str]) -> None:
    listed = io.StringIO()
    configuration.conf.write(listed, section="airflow_hybrid")
    words = re.sub(r"\n#? ?", " ", listed.getvalue())
    for option in OPTIONS:
        assert re.search(rf"^#? ?{option.name} = ", listed.getvalue(), re.M), option.name
        assert f"# Variable: {settings.variable_of(option.name)}\n" in listed.getvalue()
        words = re.sub(r"\n# ", " ", listed.getvalue())
        assert option.description in words, option.name
    get_value(argparse.Namespace(section="airflow_hybrid", option="transfer_timeout", verbose=False))
    assert capsys.readouterr().out == "604800\n"


def test_a_command_tells_a_wrong_setting_in_one_message(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    document = tmp_path / "tool.cwl"
    document.write_text("cwlVersion: v1.2\nclass: CommandLineTool\ninputs: []\noutputs: []\nbaseCommand: ls\n")
    monkeypatch.setenv("AIRFLOW__AIRFLOW_HYBRID__CACHE_SIZE", "none")
    with pytest.raises(SystemExit) as error:
        commands.compile_file(argparse.Namespace(file=str(document), json=False))
    assert str(error.value) == (
        "Airflow's configuration: [airflow_hybrid] cache_size is 'none', but must be a whole number from 1 to 1048576"
        f"\n  -> correct it in {tmp_path}/airflow.cfg, or in the environment (AIRFLOW__AIRFLOW_HYBRID__...), of all of"
        " Airflow's processes, and restart them; `airflow config list --section airflow_hybrid` shows what they read"
    )


def test_the_page_has_every_setting_of_the_provider_and_no_other() -> None:
    made = "\n".join(reference.reference()).rstrip() + "\n"
    assert PAGE.read_text() == made, "python -m airflow_hybrid.settings.reference docs/reference/configuration.md"
    options: dict[str, Any] = get_provider_info()["config"]["airflow_hybrid"]["options"]
    rows = re.findall(r"^\| `(\w+)` \|", made, re.M)
    assert sorted(rows) == sorted(options) == sorted(Settings.__dataclass_fields__)


def test_every_setting_is_read_somewhere() -> None:
    texts = [path.read_text() for path in (ROOT / "airflow_hybrid").rglob("*.py") if path.parent.name != "settings"]
    code = "\n".join(texts)
    unread = [option.name for option in OPTIONS if not re.search(rf"\.{option.name}\b", code)]
    assert unread == []
