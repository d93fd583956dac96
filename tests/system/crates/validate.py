# Licensed under the Apache License, Version 2.0; see the LICENSE file.
"""``python validate.py CRATE``: rocrate-validator on a crate, without the network; prints each problem in a line.

The terms that crates of this package use are known here. So a term that is none of RO-Crate's is a problem, too.
"""

from __future__ import annotations

import sys
from typing import Any

SCHEMA = (
    "about", "actionStatus", "additionalProperty", "additionalType", "agent", "alternateName", "Collection",
    "ComputerLanguage", "containedInPlace", "contentSize", "contentUrl", "ControlAction", "CreateAction",
    "CreativeWork", "Dataset", "dateCreated", "datePublished", "defaultValue", "description", "encodingFormat",
    "endTime", "error", "exampleOfWork", "hasPart", "HowTo", "HowToStep", "identifier", "instrument", "license",
    "location", "mainEntity", "mentions", "multipleValues", "name", "object", "OrganizeAction", "Person", "Place",
    "position", "programmingLanguage", "propertyID", "PropertyValue", "result", "SoftwareApplication",
    "softwareRequirements", "SoftwareSourceCode", "softwareVersion", "startTime", "step", "text", "unitCode", "url",
    "value", "valueRequired", "version", "workExample",
)  # fmt: skip
RUN = (
    "connection", "containerImage", "ContainerImage", "ParameterConnection", "registry", "resourceUsage", "sha1",
    "sha256", "sourceParameter", "tag", "targetParameter",
)  # fmt: skip
BIOSCHEMAS = "https://bioschemas.org/ComputationalWorkflow"
CONTEXTS: dict[str, dict[str, str]] = {
    "https://w3id.org/ro/crate/1.1/context": {
        **{term: f"http://schema.org/{term}" for term in SCHEMA},
        "File": "http://schema.org/MediaObject",
        "conformsTo": "http://purl.org/dc/terms/conformsTo",
        "ComputationalWorkflow": BIOSCHEMAS,
        "FormalParameter": "https://bioschemas.org/FormalParameter",
        "input": f"{BIOSCHEMAS}#input",
        "output": f"{BIOSCHEMAS}#output",
    },
    "https://w3id.org/ro/terms/workflow-run/context": {
        term: f"https://w3id.org/ro/terms/workflow-run#{term}" for term in RUN
    },
}


def answer(self: Any, url: str, *arguments: Any, **options: Any) -> Any:
    """What would come from the web."""
    import json

    import requests

    response = requests.Response()
    response.url = url
    response.status_code = 200 if url in CONTEXTS else 404
    response._content = json.dumps({"@context": CONTEXTS.get(url, {})}).encode()
    response.headers["Content-Type"] = "application/ld+json"
    return response


def main(crate: str) -> int:
    from rocrate_validator import models, services  # type: ignore[import-not-found]
    from rocrate_validator.utils.http import HttpRequester  # type: ignore[import-not-found]

    for method in ("get", "head", "fetch_fresh"):
        setattr(HttpRequester, method, answer)
    settings = services.ValidationSettings(
        rocrate_uri=crate,
        profile_identifier="provenance-run-crate",
        requirement_severity=models.Severity.REQUIRED,
    )
    result = services.validate(settings)
    for issue in result.get_issues():
        print(issue.check.identifier, issue.message)
    return 0 if result.passed() else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
