# Licensed under the Apache License, Version 2.0; see the LICENSE file.
from __future__ import annotations

import os

import pytest

from airflow_hybrid.errors import ConfigError
from airflow_hybrid.sites.hosts.ssh.settings import SshSettings, jump_hosts, nodes_of
from tests.raising import raising


def test_streamflow_config_is_read_with_inheritance() -> None:
    nodes = nodes_of(
        {
            "nodes": ["one", "two:2222", {"hostname": "[::1]:23", "username": "other", "sshKey": "/k2"}],
            "username": "me",
            "sshKey": "/k1",
            "sshKeyPassphraseFile": "/pass",
            "connectTimeout": 7,
            "maxConcurrentSessions": 99,
            "tunnel": {"hostname": "bastion", "username": "jump"},
        }
    )
    assert list(nodes) == ["one", "two:2222", "[::1]:23"]
    one, two, three = nodes.values()
    assert (one.host, one.port, one.username, one.key_files, one.passphrase_file) == (
        "one",
        None,
        "me",
        ("/k1",),
        "/pass",
    )
    assert (two.host, two.port, two.name) == ("two", 2222, "me@two:2222")
    assert (three.host, three.port, three.username, three.key_files) == ("::1", 23, "other", ("/k2",))
    assert (one.connect_timeout_s, one.max_sessions) == (7.0, 8)
    assert one.tunnel is not None and (one.tunnel.host, one.tunnel.username) == ("bastion", "jump")
    assert one.tunnel.key_files == ("/k1",) and one.tunnel.tunnel is None


def test_a_connection_id_alone_is_a_node() -> None:
    assert nodes_of({"conn_id": "hpc"}) == {"hpc": SshSettings(conn_id="hpc")}


def test_a_node_with_a_connection_of_its_own_does_not_use_that_of_the_deployment() -> None:
    nodes = nodes_of({"conn_id": "a", "nodes": [{"hostname": "x"}, {"conn_id": "b"}]})
    assert [(n.host, n.conn_id) for n in nodes.values()] == [("x", "a"), ("", "b")]


def test_a_tunnel_with_a_connection_inherits_no_secret() -> None:
    node = nodes_of({"nodes": ["x"], "sshKey": "/k", "tunnel": {"conn_id": "bastion"}})["x"]
    assert node.tunnel == SshSettings(conn_id="bastion")


def test_home_is_expanded() -> None:
    assert nodes_of({"nodes": ["x"], "sshKey": "~/k"})["x"].key_files == (os.path.expanduser("~/k"),)


@pytest.mark.parametrize("host", ["-oProxyCommand=x", "a b", "a\nHost *", 'a"b', "a;b", "$(x)"])
def test_a_host_name_cannot_be_an_option_or_a_line(host: str) -> None:
    with raising(ConfigError, f"hostname {host!r} is not a valid hostname"):
        nodes_of({"nodes": [host]})


@pytest.mark.parametrize("user", ["-x", "a b", "a\nb", "a'b"])
def test_a_user_name_cannot_be_an_option_or_a_line(user: str) -> None:
    with raising(ConfigError, f"username {user!r} is not a valid username"):
        SshSettings(host="x", username=user)


def test_a_node_without_a_host_or_twice_is_refused() -> None:
    with raising(ConfigError, "an SSH node needs a hostname or a conn_id"):
        nodes_of({"username": "me"})
    with raising(ConfigError, "node 'a' is listed twice"):
        nodes_of({"nodes": ["a", "a"]})


def test_proxy_jump_chains_end_nearest_to_the_host() -> None:
    hop = jump_hosts("me@first:2200,second", SshSettings(host="x", username="u", ssh_config="/c"))
    assert (hop.host, hop.port, hop.username, hop.ssh_config) == ("second", None, None, "/c")
    assert hop.tunnel is not None and (hop.tunnel.host, hop.tunnel.port, hop.tunnel.username) == ("first", 2200, "me")
