# Licensed under the Apache License, Version 2.0; see the LICENSE file.
"""Classes of CWL's requirements."""

from __future__ import annotations

_EXTENSIONS = "http://commonwl.org/cwltool#"

ANY = "any"
"""stands for every class"""
REQUIREMENTS = (
    "DockerRequirement",
    "EnvVarRequirement",
    "InitialWorkDirRequirement",
    "InlineJavascriptRequirement",
    "InplaceUpdateRequirement",
    "LoadListingRequirement",
    "MultipleInputFeatureRequirement",
    "NetworkAccess",
    "ResourceRequirement",
    "ScatterFeatureRequirement",
    "SchemaDefRequirement",
    "ShellCommandRequirement",
    "StepInputExpressionRequirement",
    "SubworkflowFeatureRequirement",
    "ToolTimeLimit",
    "WorkReuse",
    f"{_EXTENSIONS}CUDARequirement",
    f"{_EXTENSIONS}InplaceUpdateRequirement",
    f"{_EXTENSIONS}LoadListingRequirement",
    f"{_EXTENSIONS}MPIRequirement",
    f"{_EXTENSIONS}NetworkAccess",
    f"{_EXTENSIONS}ShmSize",
    f"{_EXTENSIONS}TimeLimit",
    f"{_EXTENSIONS}WorkReuse",
)
"""those of CWL v1.0 to v1.2, and cwltool's extensions by the names that they have in an input object"""
