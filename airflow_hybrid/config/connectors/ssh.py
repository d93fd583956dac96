# Licensed under the Apache License, Version 2.0; see the LICENSE file.
"""``ssh``: hosts reached by SSH; and how to log in to a host, which other types use, too."""

from __future__ import annotations

from datetime import timedelta
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BeforeValidator, Field, model_validator

from airflow_hybrid.config.base import Duration, Model, NonEmpty, SitePath, one_or_many
from airflow_hybrid.config.connectors.mpi import MpiModel
from airflow_hybrid.config.connectors.people import PersonalConnectionId, UsersModel, gives_connections
from airflow_hybrid.config.users import is_template


def _as_connection(value: Any) -> Any:
    return {"hostname": value} if isinstance(value, str) else value


def split_host(text: str) -> tuple[str, int | None]:
    """``host:22`` -> ``("host", 22)``; ``host``, ``::1`` -> port None; ``[::1]:22`` -> ``("::1", 22)``.

    :raises ValueError: the port is not valid.
    """
    if text.startswith("["):
        host, _, rest = text[1:].partition("]")
        port = rest.removeprefix(":")
    elif text.count(":") == 1:
        host, _, port = text.partition(":")
    else:
        host, port = text, ""
    if not host or (port and not (port.isascii() and port.isdigit() and 0 < int(port) < 65536)):
        raise ValueError(f"{text!r} is neither `host` nor `host:port`")
    return host, int(port) if port else None


def check_host(text: str) -> str:
    split_host(text)
    return text


class Authentication(Model):
    """How to log in to a host. Passwords and passphrases are in files, or in an Airflow Connection."""

    conn_id: PersonalConnectionId | None = Field(
        None,
        description="Airflow Connection of type `ssh` that gives host, port, user and key. `{{ triggering_user }}` in"
        " it is the name of the user who triggered the run. (airflow_hybrid)",
    )
    username: NonEmpty | None = Field(None, description="User to log in as.")
    sshKey: NonEmpty | None = Field(None, description="Path of the private key, relative to the hybrid file.")
    cert_file: NonEmpty | None = Field(
        None,
        description="Path of the key's certificate; default: `<sshKey>-cert.pub`, if it exists. (airflow_hybrid)",
    )
    sshKeyPassphraseFile: NonEmpty | None = Field(None, description="Path of a file with the key's passphrase.")
    passwordFile: NonEmpty | None = Field(None, description="Path of a file with the password.")
    checkHostKey: bool = Field(
        True, description="`false` is accepted and has no effect: the host key is always checked."
    )
    known_hosts: (
        Annotated[list[NonEmpty], BeforeValidator(one_or_many, json_schema_input_type=str | list[str])] | None
    ) = Field(None, description="Path or paths of known_hosts files, in place of the user's own. (airflow_hybrid)")
    host_key: NonEmpty | None = Field(
        None, description="The host's public key (`ssh-ed25519 AAAA...`), in place of known_hosts. (airflow_hybrid)"
    )
    ssh_config: NonEmpty | None = Field(
        None, description="Path of an OpenSSH client configuration, in place of `~/.ssh/config`. (airflow_hybrid)"
    )


_LOGIN = (
    "`interactive`: only a person can log in (one-time passwords), by `airflow hybrid login`; Airflow makes no attempts"
    " itself. (airflow_hybrid)"
)


class Connection(Authentication):
    """One SSH host. What is missing is inherited from the deployment's `config`."""

    hostname: Annotated[NonEmpty, AfterValidator(check_host)] | None = Field(
        None, description="`host` or `host:port`. Required unless `conn_id` is given."
    )
    connectTimeout: int = Field(30, ge=1, description="Seconds to wait for a connection.")
    login: Literal["automatic", "interactive"] | None = Field(None, description=_LOGIN)
    tunnel: SshNode | None = Field(None, description="Host to go through (ProxyJump).")

    @model_validator(mode="after")
    def _names_a_host(self) -> Connection:
        if self.hostname is None and self.conn_id is None:
            raise ValueError("a host needs `hostname` or `conn_id`")
        return self


SshNode = Annotated[Connection, BeforeValidator(_as_connection, json_schema_input_type=str | Connection)]
_ONE_ACCOUNT = "`username` would be the account of all users: leave it out, their Connections give it"
DEPRECATED_FILE = "(Deprecated: use `services`.) Path of the Jinja2 template around a job's command."


class SshConfig(Authentication):
    """One or more hosts that are reached by SSH and run jobs themselves."""

    users: UsersModel | None = Field(
        None, description="Whose Connection a run uses, and who may run steps here. (airflow_hybrid)"
    )
    nodes: list[SshNode] | None = Field(
        None,
        min_length=1,
        description="The hosts. Required unless `conn_id` or `users` give a Connection, which is then the only host.",
    )
    tunnel: SshNode | None = Field(None, description="Host to go through (ProxyJump).")
    connectTimeout: int = Field(30, ge=1, description="Seconds to wait for a connection.")
    login: Literal["automatic", "interactive"] = Field("automatic", description=_LOGIN)
    wait_for_login: Duration | Literal["off"] = Field(
        timedelta(days=3),
        description="How long tasks wait, without using retries, while the host refuses the login, until its"
        " credentials are renewed; `off`: they fail at once. (airflow_hybrid)",
    )
    maxConcurrentSessions: int = Field(
        10, ge=1, description="Sessions at a time on one connection; more than 8 are never used."
    )
    maxConnections: int = Field(1, ge=1, description="Accepted; there is one connection per host.")
    retries: int = Field(3, ge=0, description="Accepted; has no effect: tasks are retried.")
    retryDelay: int = Field(5, ge=0, description="Accepted; has no effect.")
    dataTransferConnection: SshNode | None = Field(None, description="Accepted; has no effect yet.")
    sharedPaths: list[NonEmpty] = Field(default_factory=list, description="Folders that all nodes share.")
    services: dict[NonEmpty, NonEmpty] = Field(
        default_factory=dict, description="Name -> path of the Jinja2 template around a job's command."
    )
    file: NonEmpty | None = Field(None, description=DEPRECATED_FILE)
    cores: int | None = Field(
        None,
        ge=1,
        description="Jobs of one core at a time on each node; default: all cores of the node. (airflow_hybrid)",
    )
    mpi: MpiModel | None = Field(
        None, description="How MPI programs (cwltool:MPIRequirement) are started. (airflow_hybrid)"
    )
    path: Annotated[list[SitePath], BeforeValidator(one_or_many, json_schema_input_type=str | list[str])] = Field(
        default_factory=list,
        description="Folders at the location that come first on the `PATH` of commands and jobs. (airflow_hybrid)",
    )
    profile: SitePath | None = Field(
        None,
        description="A file at the location in the language of `sh`, which is read before every command there: for"
        " programs that are only there for login shells. (airflow_hybrid)",
    )
    transferBufferSize: int = Field(65536, ge=1, description="Accepted; has no effect.")

    @model_validator(mode="after")
    def _names_a_host(self) -> SshConfig:
        if not self.nodes and self.conn_id is None and not gives_connections(self.users):
            raise ValueError("an ssh deployment needs `nodes`, or `conn_id`")
        return self

    @model_validator(mode="after")
    def _uses_connections(self) -> SshConfig:
        if gives_connections(self.users) and self.nodes and all(node.conn_id for node in self.nodes):
            raise ValueError("the Connections of `users` have no effect: every node has a `conn_id` of its own")
        return self

    @model_validator(mode="after")
    def _has_an_account_for_each(self) -> SshConfig:
        differs = gives_connections(self.users) or is_template(self.conn_id or "")
        if self.username and differs:
            raise ValueError(_ONE_ACCOUNT)
        for node in self.nodes or ():
            if (node.username or self.username) and (is_template(node.conn_id) if node.conn_id else differs):
                raise ValueError(_ONE_ACCOUNT)
        return self
