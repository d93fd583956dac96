# Licensed under the Apache License, Version 2.0; see the LICENSE file.
"""The settings: name, type, default, what is allowed, and what it is for. The provider's description and the page
``docs/reference/configuration.md`` are made from them.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from typing import Any, Literal

SECTION = "airflow_hybrid"
_DAY_S = 24 * 3600
_LONGEST_S = 366 * _DAY_S

Kind = Literal["text", "folder", "roots", "boolean", "integer", "number", "seconds"]


@dataclass(frozen=True)
class Option:
    """One setting.

    :ivar default: as in ``airflow.cfg``.
    :ivar least, most: of a number.
    :ivar group: heading of the page.
    :ivar example: a value as in ``airflow.cfg``.
    """

    name: str
    kind: Kind
    default: str
    description: str
    group: str
    least: int = 0
    most: int = 0
    example: str | None = None
    version_added: str = "0.1.0"

    def default_in(self, airflow_home: str) -> str:
        return self.default.replace("{AIRFLOW_HOME}", airflow_home)

    @property
    def allowed(self) -> str:
        """What a value may be, for messages and the page."""
        if self.kind == "boolean":
            return "True or False"
        if self.kind == "integer":
            return f"a whole number from {self.least} to {self.most}"
        if self.kind == "number":
            return f"a number from {self.least} to {self.most}"
        if self.kind == "seconds":
            return f"a number of seconds from {self.least} to {self.most}"
        if self.kind == "folder":
            return "an absolute path"
        if self.kind == "roots":
            return "absolute paths and http(s) URLs, joined by spaces"
        return "any text"

    def described(self) -> dict[str, Any]:
        """The option in Airflow's ``provider_info.schema.json``."""
        types = {"boolean": "boolean", "integer": "integer", "number": "float", "seconds": "float"}
        allowed = "" if self.kind == "text" else f" Allowed: {self.allowed}."
        return {
            "description": f"{self.description}{allowed}\n",
            "version_added": self.version_added,
            "type": types.get(self.kind, "string"),
            "example": self.example,
            "default": self.default,
        }


def _option(  # noqa: PLR0913 - one call is one row of a table
    kind: Kind, default: str, group: str, description: str, *, least: int = 0, most: int = 0, example: str | None = None
) -> Any:
    row = Option("", kind, default, description, group, least, most, example)
    return field(metadata={"option": row})


def _seconds(default: str, group: str, description: str, *, least: int = 1, most: int = _DAY_S) -> Any:
    return _option("seconds", default, group, description, least=least, most=most)


def _count(default: str, group: str, description: str, *, least: int, most: int) -> Any:
    return _option("integer", default, group, description, least=least, most=most)


def _number(default: str, description: str, *, least: int, most: int) -> Any:
    return _option("number", default, _ENERGY, description, least=least, most=most)


_GENERAL, _TRUST = "In general", "What documents and inputs may reach"
_EXPRESSIONS, _SITES = "Expressions", "Commands at sites"
_FILES, _JOBS, _ENERGY = "Files", "Jobs and images", "Energy in reports"


@dataclass(frozen=True, kw_only=True)
class Settings:
    """The values of all settings. Times are in seconds, sizes in MiB; see :data:`OPTIONS`."""

    instance: str = _option(
        "text", "", _GENERAL,
        "A name of this Airflow, for whatever it makes for a run at sites. Needed where several Airflows share both"
        " home and Fernet key, or where these may change. Empty: a digest of both.",
        example="production",
    )  # fmt: skip
    cache_dir: str = _option(
        "folder", "{AIRFLOW_HOME}/airflow_hybrid_cache", _GENERAL,
        "Folder of compiled documents and checked hybrid files. DAG processor, workers and triggerers on several"
        " machines may share one; else each machine compiles documents for itself."
        " (`airflow hybrid run` uses ~/.cache/airflow_hybrid by default.)",
        example="/shared/airflow_hybrid_cache",
    )  # fmt: skip
    cache_size: int = _count(
        "256", _GENERAL, "MiB that the cache may have; entries unused for the longest time are removed.",
        least=1, most=1 << 20,
    )  # fmt: skip
    document_roots: tuple[str, ...] = _option(
        "roots", "", _TRUST,
        "Folders, and prefixes of URLs, that CWL documents may read from. Empty: the DAGs folder for documents in it,"
        " else the document's project. See SECURITY.md.",
        example="/srv/workflows https://example.org/tools/",
    )  # fmt: skip
    public_addresses_only: bool = _option(
        "boolean", "False", _TRUST, "Nothing is fetched from loopback and private addresses."
    )
    web_timeout: float = _seconds("60", _TRUST, "Without an answer, fetching from the web ends.")
    fetched_document_size: int = _count("64", _TRUST, "MiB that a document from the web may have.", least=1, most=4096)
    output_members: int = _count(
        "100000", _TRUST, "Files and folders that an output Directory may have, following its links.",
        least=1, most=100_000_000,
    )  # fmt: skip
    expression_timeout: float = _seconds(
        "30", _EXPRESSIONS, "A JavaScript expression that takes longer is ended.", most=3600
    )
    expression_memory: int = _count(
        "512", _EXPRESSIONS,
        "MiB for the values of a Node.js process. The process may have three times as much in all.",
        least=64, most=1 << 20,
    )  # fmt: skip
    expression_processes: int = _count(
        "4", _EXPRESSIONS, "Node.js processes of one worker or triggerer process.", least=1, most=64
    )
    command_timeout: float = _seconds("120", _SITES, "For a short command at a site.")
    look_timeout: float = _seconds("600", _SITES, "For a command that looks at files, and makes checksums of them.")
    submit_timeout: float = _seconds("300", _SITES, "For the command that submits, cancels or judges a batch of jobs.")
    status_timeout: float = _seconds("60", _SITES, "For the command that asks for the states of jobs.")
    max_unreachable: float = _seconds(
        "21600", _SITES,
        "While a site or its scheduler does not answer, tasks wait for so long, without using retries; then they fail.",
        most=30 * _DAY_S,
    )  # fmt: skip
    ssh_connect_timeout: float = _seconds(
        "30", _SITES,
        "To connect and log in by SSH. A deployment's `connectTimeout` and a Connection's"
        " `conn_timeout` take precedence.",
    )  # fmt: skip
    ssh_max_sessions: int = _count(
        "8", _SITES,
        "Commands at a time on one SSH connection. sshd's MaxSessions must allow two more (it is 10 by default)."
        " A deployment's `maxConcurrentSessions` may be lower.",
        least=1, most=1000,
    )  # fmt: skip
    ssh_commands_per_minute: int = _count(
        "0", _SITES,
        "Commands at one SSH account in any minute, of all processes of Airflow on a machine together, copies of files"
        " among them; 0: any number.",
        least=0, most=100_000,
    )  # fmt: skip
    submissions_per_minute: int = _count(
        "0", _SITES,
        "Submissions (`sbatch`, `qsub`; an array of jobs is one) to one queue system in any minute, of all processes of"
        " Airflow on a machine together; 0: any number.",
        least=0, most=100_000,
    )  # fmt: skip
    login_dir: str = _option(
        "folder", "{AIRFLOW_HOME}/airflow_hybrid_logins", _SITES,
        "Folder of logins that `airflow hybrid login` keeps open, and of what the limits per minute count; each machine"
        " has a folder in it. All processes of"
        " Airflow on a machine must see it. The path of a socket is limited to 107 bytes.",
        example="/run/airflow/logins",
    )  # fmt: skip
    kubernetes_timeout: float = _seconds("60", _SITES, "For a request to a Kubernetes API server.")
    transfer_timeout: float = _seconds("604800", _FILES, "For one copy of files.", most=_LONGEST_S)
    transfer_attempts: int = _count("3", _FILES, "Times that a copy is tried before the task fails.", least=1, most=100)
    transfers_at_a_time: int = _count("3", _FILES, "Copies at a time from or to one location.", least=1, most=1000)
    reuse_file_size: int = _count(
        "4096", _FILES,
        "MiB of an input up to which its checksum is made to find an earlier job's outputs (WorkReuse).",
        least=0, most=1 << 30,
    )  # fmt: skip
    image_timeout: float = _seconds("7200", _JOBS, "To bring a container image to a site.", most=30 * _DAY_S)
    deploy_timeout: float = _seconds(
        "600", _JOBS,
        "Until what is deployed for a run is ready. A deployment's `deployTimeout` or `timeout` takes precedence.",
    )  # fmt: skip
    core_watts: float = _number(
        "12", "Power of a processor core in use, in watts. `airflow hybrid report --core-watts` takes precedence.",
        least=0, most=1000,
    )  # fmt: skip
    memory_watts: float = _number(
        "0.3725", "Power of a GB of memory, in watts. `--memory-watts` takes precedence.", least=0, most=100
    )
    pue: float = _number(
        "1.67", "Power of the data centre by that of its computers. `--pue` takes precedence.", least=1, most=10
    )
    grams_per_kwh: float = _number(
        "475",
        "CO2 equivalent of a kWh of electricity, in grams: the carbon intensity of your grid (the default is an average"
        " of the world). `--grams-per-kwh` takes precedence.",
        least=0, most=5000,
    )  # fmt: skip


OPTIONS: tuple[Option, ...] = tuple(
    Option(**{**vars(row.metadata["option"]), "name": row.name}) for row in fields(Settings)
)


def default_of(name: str, airflow_home: str) -> str:
    """A setting's default for an Airflow with this home."""
    (option,) = (option for option in OPTIONS if option.name == name)
    return option.default_in(airflow_home)


def described() -> Mapping[str, Any]:
    """The section ``config`` of the provider's description."""
    return {
        SECTION: {
            "description": "Settings of airflow_hybrid. docs/reference/configuration.md explains them.",
            "options": {option.name: option.described() for option in OPTIONS},
        }
    }


def title_of(name: str) -> str:
    """A setting's name in messages.

    :raises KeyError: there is none of this name.
    """
    return f"[{SECTION}] {Settings.__dataclass_fields__[name].name}"


def variable_of(name: str) -> str:
    """A setting's environment variable, as Airflow names it."""
    return f"AIRFLOW__{SECTION}__{name}".upper()
