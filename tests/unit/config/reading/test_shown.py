# Licensed under the Apache License, Version 2.0; see the LICENSE file.
"""A hybrid file for people who may not read it all."""

from __future__ import annotations

import textwrap

import yaml

from airflow_hybrid.config.reading.shown import MOST_CHARACTERS, shown

FILE = """
    version: v1.0
    workflows: {}
    deployments:
      chart:
        type: helm
        config:
          chart: https://me:SECRET@example.org/chart.tgz?signature=SECRET
          values: {db: SECRET}
          commandLineValues: [a=SECRET]
          setJson: ['{"a": "SECRET"}']
      box:
        type: docker
        config: {image: 'debian:12', env: [TOKEN=SECRET], command: [sh, -c, SECRET], hostname: box}
      far:
        type: ssh
        config: {nodes: [h], sshKeyPassphraseFile: /SECRET, checkHostKey: true, tunnel: {passwordFile: /SECRET}}
      queue:
        type: slurm
        config: {services: {a: {partition: p, export: 'ALL,DB_PWD=SECRET,LICENSE=SECRET'}}}
        containers: {options: [--user, SECRET, -eKEY=SECRET, --init]}
      others: {type: theirs, config: {anything: SECRET}, workdir: /w}
"""


def test_what_could_be_a_secret_is_not_shown() -> None:
    text = shown(yaml.safe_load(textwrap.dedent(FILE)))
    assert "SECRET" not in text
    deployments = yaml.safe_load(text)["deployments"]
    assert deployments == {
        "chart": {
            "type": "helm",
            "config": {
                "chart": "https://***@example.org/chart.tgz?signature=***",
                "values": "***",
                "commandLineValues": "***",
                "setJson": "***",
            },
        },
        "box": {
            "type": "docker",
            "config": {"image": "debian:12", "env": "***", "command": "***", "hostname": "box"},
        },
        "far": {
            "type": "ssh",
            "config": {
                "nodes": ["h"],
                "sshKeyPassphraseFile": "***",
                "checkHostKey": True,
                "tunnel": {"passwordFile": "***"},
            },
        },
        "queue": {
            "type": "slurm",
            "config": {"services": {"a": {"partition": "p", "export": "ALL,DB_PWD=***,LICENSE=***"}}},
            "containers": {"options": ["--user", "***", "-eKEY=***", "--init"]},
        },
        "others": {"type": "theirs", "config": "***", "workdir": "/w"},
    }


def test_a_long_file_is_shown_in_part() -> None:
    text = shown({"version": "v1.0", "workflows": {f"w{number}": {"type": "cwl"} for number in range(5000)}})
    lines = text.splitlines()
    assert len(text) < MOST_CHARACTERS + 100
    assert lines[-1] == f"# {2 + 10_000 - (len(lines) - 1):,} more lines"
