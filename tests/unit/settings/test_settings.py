# Licensed under the Apache License, Version 2.0; see the LICENSE file.
"""Settings: what is read from where, and what is said of wrong values."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from airflow_hybrid import settings
from airflow_hybrid.errors import SettingError
from airflow_hybrid.settings.options import OPTIONS
from airflow_hybrid.settings.sources import FilesAndVariables, OnlyVariables

PREFIX = "AIRFLOW__AIRFLOW_HYBRID__"


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A home of Airflow's without ``airflow.cfg``, read without Airflow."""
    from airflow_hybrid.settings import reading

    for name in [name for name in os.environ if name.startswith(PREFIX)]:
        monkeypatch.delenv(name)
    monkeypatch.delenv("AIRFLOW_CONFIG", raising=False)
    monkeypatch.setenv("AIRFLOW_HOME", str(tmp_path))
    before = reading._source
    settings.read_from(FilesAndVariables())
    yield tmp_path
    settings.read_from(before)


def message(*lines: str, home: Path) -> str:
    return (
        "Airflow's configuration: "
        + "\n".join(lines)
        + f"\n  -> correct it in {home}/airflow.cfg, or in the environment (AIRFLOW__AIRFLOW_HYBRID__...), of all of"
        " Airflow's processes, and restart them; `airflow config list --section airflow_hybrid` shows what they read"
    )


def test_defaults(home: Path) -> None:
    values = settings.current()
    assert (values.cache_dir, values.document_roots, values.instance) == (f"{home}/airflow_hybrid_cache", (), "")
    assert (values.public_addresses_only, values.cache_size, values.command_timeout) == (False, 256, 120.0)


def test_the_file_is_read_as_airflow_reads_it(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TOOLS", "/srv/tools")
    (home / "airflow.cfg").write_text(
        "[airflow_hybrid]\ndocument_roots = $TOOLS https://example.org/a%%20b/\npublic_addresses_only = True # now\n"
        "web_timeout = 2.5\ncache_dir = ~/cache\ninstance =\n"
    )
    values = settings.current()
    assert values.document_roots == ("/srv/tools", "https://example.org/a%20b/")
    assert (values.public_addresses_only, values.web_timeout, values.instance) == (True, 2.5, "")
    assert values.cache_dir == os.path.expanduser("~/cache")


def test_variables_take_precedence_over_the_file(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (home / "airflow.cfg").write_text("[airflow_hybrid]\ncache_size = 5\ninstance = ours\n")
    monkeypatch.setenv(f"{PREFIX}CACHE_SIZE", "7")
    assert (settings.current().cache_size, settings.current().instance) == (7, "ours")
    monkeypatch.setenv(f"{PREFIX}CACHE_SIZE", "8")
    assert settings.current().cache_size == 8


def test_a_file_elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "other.cfg").write_text("[airflow_hybrid]\ninstance = elsewhere\n")
    monkeypatch.setenv("AIRFLOW_CONFIG", str(tmp_path / "other.cfg"))
    assert settings.current().instance == "elsewhere"


def test_a_program_with_an_airflow_of_its_own_reads_variables_only(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (home / "airflow.cfg").write_text("[airflow_hybrid]\ninstance = of another Airflow\nwrong = 1\n")
    monkeypatch.setenv(f"{PREFIX}CACHE_SIZE", "7")
    settings.read_from(OnlyVariables())
    assert (settings.current().cache_size, settings.current().instance) == (7, "")


@pytest.mark.parametrize(
    ("key", "value", "allowed"),
    [
        ("public_addresses_only", "maybe", "True or False"),
        ("cache_size", "many", "a whole number from 1 to 1048576"),
        ("cache_size", "0", "a whole number from 1 to 1048576"),
        ("cache_size", "1.5", "a whole number from 1 to 1048576"),
        ("web_timeout", "soon", "a number of seconds from 1 to 86400"),
        ("web_timeout", "nan", "a number of seconds from 1 to 86400"),
        ("web_timeout", "inf", "a number of seconds from 1 to 86400"),
        ("web_timeout", "-1", "a number of seconds from 1 to 86400"),
        ("pue", "0.9", "a number from 1 to 10"),
        ("grams_per_kwh", "nan", "a number from 0 to 5000"),
        ("core_watts", "12 W", "a number from 0 to 1000"),
        ("memory_watts", "-1", "a number from 0 to 100"),
        ("cache_dir", "cache", "an absolute path"),
        ("document_roots", "/srv tools", "absolute paths and http(s) URLs, joined by spaces"),
        ("document_roots", "ftp://example.org/", "absolute paths and http(s) URLs, joined by spaces"),
    ],
)
def test_a_wrong_value_is_one_error(
    key: str, value: str, allowed: str, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(f"{PREFIX}{key.upper()}", value)
    with pytest.raises(SettingError) as error:
        settings.current()
    assert str(error.value) == message(f"[airflow_hybrid] {key} is {value!r}, but must be {allowed}", home=home)


def test_all_problems_are_told_together(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (home / "airflow.cfg").write_text("[airflow_hybrid]\npublic_adresses_only = True\ncache_size = x\n")
    monkeypatch.setenv(f"{PREFIX}INSTANCE_CMD", "cat name")
    with pytest.raises(SettingError) as error:
        settings.current()
    assert str(error.value) == message(
        "AIRFLOW__AIRFLOW_HYBRID__INSTANCE_CMD is not read: only Airflow's secrets have _CMD and _SECRET; set"
        " [airflow_hybrid] instance",
        "there is no setting [airflow_hybrid] public_adresses_only; did you mean public_addresses_only?",
        "[airflow_hybrid] cache_size is 'x', but must be a whole number from 1 to 1048576",
        home=home,
    )


def test_a_file_that_cannot_be_read_is_an_error(home: Path) -> None:
    (home / "airflow.cfg").write_text("instance = without a section\n")
    with pytest.raises(SettingError) as error:
        settings.current()
    assert str(error.value).startswith(f"{home}/airflow.cfg: Airflow's configuration cannot be read: File contains no")


def test_a_setting_that_does_not_exist_is_no_name() -> None:
    assert settings.title_of("cache_dir") == "[airflow_hybrid] cache_dir"
    with pytest.raises(KeyError):
        settings.title_of("cache_folder")


def test_every_default_is_allowed_and_every_example_too(monkeypatch: pytest.MonkeyPatch) -> None:
    for option in OPTIONS:
        if option.example is not None:
            monkeypatch.setenv(f"{PREFIX}{option.name.upper()}", option.example)
    assert settings.current().instance == "production"
