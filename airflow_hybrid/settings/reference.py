# Licensed under the Apache License, Version 2.0; see the LICENSE file.
"""``docs/reference/configuration.md`` from the settings: ``python -m airflow_hybrid.settings.reference FILE``."""

from __future__ import annotations

import sys
from collections.abc import Iterator

from airflow_hybrid.settings.options import OPTIONS, Option, variable_of

_INTRODUCTION = f"""\
<!-- Made from the settings by `python -m airflow_hybrid.settings.reference`; a test compares them. -->
# Configuration

Settings of airflow_hybrid are in the section `[airflow_hybrid]` of Airflow's configuration: in `airflow.cfg`, or in
environment variables as Airflow names them. Variables take precedence.

    [airflow_hybrid]
    document_roots = /srv/workflows https://example.org/tools/
    public_addresses_only = True

    export {variable_of("public_addresses_only")}=True

    airflow config list --section airflow_hybrid --include-descriptions --show-values
    airflow config get-value airflow_hybrid cache_dir

- They are for an administrator. No document, hybrid file, Connection or run has an influence on them. What belongs to
  one deployment or one workflow is in [the hybrid file](hybrid-file.md) and takes precedence where the table says so.
- Give all of Airflow's processes the same values (DAG processor, scheduler, API server, triggerers, workers, and the
  shell where `airflow hybrid ...` is called), and restart them after a change. `airflow hybrid run` hands the values of
  the Airflow that it is called in to its own.
- A value that is not allowed, and a name that is unknown, is an error: of the DAG's import, of the task, or of the
  command. It names section, key and value, and what is allowed. An empty value means the default.
- None of these settings is a secret. So the forms `..._CMD` and `..._SECRET`, which Airflow has for secrets, are
  errors here. Keys and passwords of sites are in Connections, for which Airflow's secrets backends work.
- Metrics have no settings of their own: Airflow's section `[metrics]` applies ([the list of metrics](metrics.md)).
"""


def reference() -> Iterator[str]:
    """Yield the page's lines."""
    yield _INTRODUCTION
    for group in dict.fromkeys(option.group for option in OPTIONS):
        yield f"## {group}"
        yield ""
        yield "| key | default | allowed | |"
        yield "|---|---|---|---|"
        for option in OPTIONS:
            if option.group == group:
                yield _row(option)
        yield ""


def _row(option: Option) -> str:
    default = f"`{option.default}`" if option.default else "(empty)"
    example = f" Example: `{option.example}`." if option.example else ""
    added = f" Since {option.version_added}."
    return f"| `{option.name}` | {default} | {option.allowed} | {option.description}{example}{added} |"


def main(path: str) -> None:
    """Write the page to ``path``."""
    with open(path, "w", encoding="utf-8") as stream:
        stream.write("\n".join(reference()).rstrip() + "\n")


if __name__ == "__main__":
    main(sys.argv[1])
