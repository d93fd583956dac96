# Licensed under the Apache License, Version 2.0; see the LICENSE file.
"""A compiled step, or several that share a task: cwltool's objects of a document."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping
from typing import Any

from cwltool.process import shortname
from cwltool.utils import aslist

from airflow_hybrid.cwl import messages
from airflow_hybrid.cwl.jobs.context import HybridContext
from airflow_hybrid.cwl.jobs.runtime import HybridTool, HybridWorkflow, load_process
from airflow_hybrid.cwl.values.file_values import named
from airflow_hybrid.model import CwlObject


class CompiledStep:
    """A loaded document of one step, or of several that share a task; it is shared by its instances.

    :ivar owner: name of its document, whose expressions have their own process.
    :ivar several: it has several steps.
    :ivar process: the process that the step runs; of several steps, their workflow.
    :ivar single: one command-line tool without a loop: its jobs are numbered in order.
    """

    def __init__(self, document: Mapping[str, Any], *, chunked: bool = False) -> None:
        text = json.dumps(document, sort_keys=True)
        document = json.loads(text)
        self.owner = hashlib.sha256(text.encode()).hexdigest()
        step = document["steps"][0]
        self.several = len(document["steps"]) > 1
        if chunked and "scatter" in step:
            step["scatterMethod"] = "dotproduct"
        self.document = document
        self.name = str((document if self.several else step).get("label") or shortname(step["id"]))
        self.outputs = [shortname(port["id"]) for port in document["outputs"]]
        self.inputs = [shortname(port["id"]) for port in document["inputs"]]
        with messages.caught():
            self._workflow: HybridWorkflow = load_process(document)
        self.process = self._workflow if self.several else self._workflow.steps[0].embedded_tool
        self.single = isinstance(self.process, HybridTool) and not step.get("loop")
        self._not_connected = {
            port["id"] for port in self._workflow.steps[0].tool["inputs"] if port.get("not_connected")
        }

    def workflow_of(self, inputs: CwlObject, done: Callable[[Any, str], None], context: HybridContext) -> Any:
        """Cwltool's generator of the jobs of one instance."""
        return self._workflow.start(self.complete(inputs), done, context)

    @property
    def scattered_ports(self) -> list[str]:
        """The step's input ports that it scatters over; none if there are several steps."""
        if self.several:
            return []
        return [shortname(port) for port in aslist(self._workflow.steps[0].tool.get("scatter", []))]

    def complete(self, inputs: CwlObject) -> CwlObject:
        """The inputs of an instance with all ports, and with the File fields that expressions may read."""
        return {name: named(inputs.get(name)) for name in self.inputs}
