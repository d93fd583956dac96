# Licensed under the Apache License, Version 2.0; see the LICENSE file.
"""CWL's basic types (Any, File, Directory), by which cwltool validates inputs, without reading CWL's whole schema.

cwltool reads the schema of CWL v1.0 for these three, in each process that makes an object of it: 0.4 s. Here they are
in a file, `basic_types.json`, without their texts; a test compares it with the schema of the cwltool that is installed.
"""

from __future__ import annotations

import json
from importlib.resources import files

import cwltool.process

NAMES = {
    "SCHEMA_ANY": "https://w3id.org/cwl/salad#Any",
    "SCHEMA_FILE": "https://w3id.org/cwl/cwl#File",
    "SCHEMA_DIR": "https://w3id.org/cwl/cwl#Directory",
}
"""variable of cwltool.process -> the type's name in the schema"""


def install() -> None:
    """Give cwltool its basic types; to be called before its first object is made."""
    types = json.loads(files("airflow_hybrid.cwl").joinpath("basic_types.json").read_text(encoding="utf-8"))
    for variable, name in NAMES.items():
        setattr(cwltool.process, variable, types[name])
