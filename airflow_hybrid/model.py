# Licensed under the Apache License, Version 2.0; see the LICENSE file.
"""The values that rooms hand to each other: frozen, plain, and JSON in and out."""

from __future__ import annotations

import dataclasses
import enum
import posixpath
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import quote, unquote, urlsplit

JsonValue = Any  # None | bool | int | float | str | list | dict, as json.loads gives it
CwlObject = dict[str, Any]  # input or output object: port name -> CWL value

SCHEME = "hybrid"
LOCAL_DEPLOYMENT = "local"
"""Name of the deployment that is always there: the machine that Airflow's process runs on."""
LOCAL_LOCATION = "localhost"


@dataclass(frozen=True)
class FileRef:
    """Where one copy (replica) of a file or directory is: deployment, location, absolute path.

    As a URI: ``hybrid://<deployment>/<location><absolute path>``, percent-encoded; the files of this machine
    are plain ``file:///absolute/path``. ``urllib.parse.urlsplit`` takes both apart.
    """

    deployment: str
    location: str
    path: str

    @property
    def uri(self) -> str:
        if self.deployment == LOCAL_DEPLOYMENT:
            return "file://" + quote(self.path)
        return f"{SCHEME}://{quote(self.deployment, safe='')}/{quote(self.location, safe='')}{quote(self.path)}"

    @classmethod
    def parse(cls, uri: str) -> FileRef:
        """Take a ``hybrid:`` or ``file:`` URI apart.

        :raises ValueError: another scheme, no location, or a path that is not absolute and normal
            (``..`` and doubled slashes are refused: a URI that came through XCom is input, not truth).
        """
        parts = urlsplit(uri)
        if parts.query or parts.fragment:
            raise ValueError(f"a file URI has no query or fragment (percent-encode '?' and '#'): {uri!r}")
        if parts.scheme == "file":
            if parts.netloc not in ("", "localhost"):
                raise ValueError(f"a file: URI names another host: {uri!r}")
            deployment, location, path = LOCAL_DEPLOYMENT, LOCAL_LOCATION, unquote(parts.path)
        elif parts.scheme == SCHEME:
            first, slash, rest = parts.path.removeprefix("/").partition("/")
            deployment, location, path = unquote(parts.netloc), unquote(first), slash + unquote(rest)
        else:
            raise ValueError(f"not a {SCHEME}: or file: URI: {uri!r}")
        if not deployment or not location or not path.startswith("/") or "\0" in path:
            raise ValueError(f"not the URI of a file at a location: {uri!r}")
        if posixpath.normpath(path) != path.rstrip("/") and path != "/":
            raise ValueError(f"the path in {uri!r} is not normal")
        return cls(deployment, location, path.rstrip("/") or "/")


class JobState(str, enum.Enum):
    """State of one job, by the names that schedulers' users know.

    ``UNKNOWN`` is the absence of evidence; it is neither gone nor finished. ``LOST`` is a failure: neither the
    exit code, nor the queue, nor the accounting knows the job after the grace period.
    """

    UNKNOWN = "UNKNOWN"
    PENDING = "PENDING"
    RUNNING = "RUNNING"
    COMPLETED = "COMPLETED"
    FAILED = "FAILED"
    TIMEOUT = "TIMEOUT"
    OUT_OF_MEMORY = "OUT_OF_MEMORY"
    NODE_FAIL = "NODE_FAIL"
    PREEMPTED = "PREEMPTED"
    CANCELLED = "CANCELLED"
    LOST = "LOST"

    @property
    def ended(self) -> bool:
        return self not in (JobState.UNKNOWN, JobState.PENDING, JobState.RUNNING)


@dataclass(frozen=True)
class Resources:
    """What a job asks for (CWL ResourceRequirement and ToolTimeLimit), already evaluated to numbers.

    ``explicit`` names the fields that the document itself gives; the others are defaults of the standard
    and are not turned into native requests.
    """

    cores: float = 1
    ram_mib: int = 256
    tmpdir_mib: int = 1024
    outdir_mib: int = 1024
    walltime_s: int | None = None
    explicit: frozenset[str] = frozenset()

    def to_json(self) -> JsonValue:
        return {**dataclasses.asdict(self), "explicit": sorted(self.explicit)}

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> Resources:
        return cls(**{**value, "explicit": frozenset(value["explicit"])})


@dataclass(frozen=True)
class StageEntry:
    """Something that must exist in a job's directory before its command starts.

    :ivar kind: ``mkdir``; ``file`` (with ``text``, a literal); ``link`` (symbolic, to ``source``);
        ``copy`` (of ``source``, file or directory, writable).
    :ivar target: absolute path at the location.
    :ivar source: absolute path at the location, for ``link`` and ``copy``.
    """

    kind: str
    target: str
    source: str | None = None
    text: bytes | None = None
    executable: bool = False


@dataclass(frozen=True)
class JobScript:
    """One job, ready to run at a location: what to type there.

    :ivar command: the argument vector, unquoted; when ``shell`` is true the single element is shell text
        (ShellCommandRequirement, already quoted by cwltool).
    :ivar environment: EnvVarRequirement plus HOME and TMPDIR; values unquoted.
    :ivar stdin: absolute path or None; ``stdout`` and ``stderr``: paths relative to outdir, or None for the
        job's log files.
    :ivar stage: in the order in which it is to be made.
    """

    command: tuple[str, ...]
    outdir: str
    tmpdir: str
    environment: Mapping[str, str] = field(default_factory=dict)
    stdin: str | None = None
    stdout: str | None = None
    stderr: str | None = None
    shell: bool = False
    stage: tuple[StageEntry, ...] = ()
    walltime_s: int | None = None


@dataclass(frozen=True)
class JobResult:
    """How one job ended: its state, exit code, and what evidence there is."""

    state: JobState
    exit_code: int | None = None
    reason: str = ""
    """the site's own words (``NonZeroExitCode``, ``node2 down`` ...)"""
    scheduler_id: str | None = None
    stderr_tail: str = ""
    stdout_path: str = ""
    stderr_path: str = ""
    seconds: float | None = None


@dataclass(frozen=True)
class FileFact:
    """What a probe saw at a path: kind ``f`` (file), ``d`` (directory) or ``?`` (neither, or not there)."""

    kind: str
    size: int = 0
    checksum: str | None = None
    """``sha1$<hex>``; None where it was not asked for"""
    realpath: str | None = None
    """set when the path, or a part of it below the probed folder, is a symbolic link"""


@dataclass(frozen=True)
class Question:
    """One thing to ask of a location's file system. ``ask``: ``stat``, ``contents``, ``list`` or ``checksum``."""

    ask: str
    path: str


class FactsNeeded(Exception):  # noqa: N818 - not an error: a request for a probe
    """Raised while a job is built or collected when the facts at hand do not answer a question.

    Whoever drives the evaluation gathers the questions of a whole batch, asks them in one probe, and tries again.
    """

    def __init__(self, questions: Sequence[Question]) -> None:
        super().__init__(", ".join(f"{q.ask} {q.path}" for q in questions))
        self.questions = tuple(questions)


@dataclass
class SiteFacts:
    """What is known of one location's file system: answers to questions, grown by probes."""

    files: dict[str, FileFact] = field(default_factory=dict)
    listings: dict[str, tuple[str, ...]] = field(default_factory=dict)
    contents: dict[str, bytes] = field(default_factory=dict)
    """the first 64 KiB + 1 byte (CWL v1.2 section 5.1.1 allows loadContents up to 64 KiB)"""

    def merge(self, other: SiteFacts) -> None:
        self.files.update(other.files)
        self.listings.update(other.listings)
        self.contents.update(other.contents)


@dataclass(frozen=True)
class LineageEntry:
    """One file or directory that was staged or produced, for placement, provenance and the UI.

    :ivar route: ``in place``, ``link``, ``copy``, ``direct``, ``relay``, ``fetch`` (from the web, by the
        destination itself), or ``produced``.
    """

    source: str
    destination: str
    route: str
    bytes: int
    seconds: float
    checksum: str | None = None
    reused: bool = False

    def to_json(self) -> JsonValue:
        return dataclasses.asdict(self)

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> LineageEntry:
        return cls(**value)


@dataclass(frozen=True)
class Target:
    """One target of a binding: deployment and, where it has several, a service of it."""

    deployment: str
    service: str | None = None
    workdir: str | None = None
    locations: int = 1


@dataclass(frozen=True)
class Binding:
    """Where the jobs of a step may run, and how its scatter is cut.

    :ivar path: step path (``/train``, ``/`` for all); the longest matching prefix wins.
    """

    path: str
    targets: tuple[Target, ...]
    scatter: str | None = None
    """``batch``: a leaf's whole scatter is one batch"""
    max_mapped: int = 16
    fuse: bool = False
    policy: str | None = None
    filters: tuple[Mapping[str, Any], ...] = ()
    """StreamFlow's binding filters, in their order: ``{name, type: shuffle | matching, config}``"""
    position: str = field(default="", compare=False)
    """``file:line: YAML path`` of the binding, for messages"""

    def to_json(self) -> JsonValue:
        return dataclasses.asdict(self)

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> Binding:
        return cls(
            **{
                **value,
                "targets": tuple(Target(**t) for t in value["targets"]),
                "filters": tuple(value.get("filters", ())),
            }
        )


# --- the compiled workflow --------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Port:
    """A workflow input: name, CWL type as resolved JSON, and what the trigger form shows of it."""

    name: str
    type: JsonValue
    doc: str = ""
    label: str = ""
    default: JsonValue = None
    has_default: bool = False
    document: JsonValue = None
    """the whole input parameter (secondaryFiles, format, loadContents ...), as resolved JSON"""


@dataclass(frozen=True)
class Source:
    """What a port is connected to: output ``port`` of the step at path ``step``; without one, a workflow input."""

    step: str | None
    port: str


@dataclass(frozen=True)
class StepInput:
    """A step's input port, with the sources it reads.

    Sources refer to the scope that the step is in: in a sub-workflow, ``step`` None is an input of that sub-workflow.
    """

    name: str
    sources: tuple[Source, ...] = ()
    document: JsonValue = None
    """the step's ``in`` entry as resolved JSON (linkMerge, pickValue, default, valueFrom, loadContents ...)"""
    plain: bool = False
    """one source, nothing else: the value passes unchanged (and the types need no merging)"""


@dataclass(frozen=True)
class Step:
    """A node of the workflow: a leaf (``tool`` or ``expression``) or a sub-workflow.

    :ivar path: ``/variant/train``
    :ivar document: key (SHA-256) of a self-contained CWL document in the compile cache: a Workflow of this one
        step, whose inputs are the step's input ports *before* scatter, ``valueFrom`` and ``when`` and after
        linkMerge/pickValue/default; ``cwl.fragment.Fragment`` runs it. A workflow step's document holds the
        whole sub-workflow.
    :ivar workflow: the sub-workflow's graph, for a step that is one
    """

    path: str
    kind: str
    inputs: tuple[StepInput, ...]
    outputs: tuple[str, ...]
    document: str
    label: str = ""
    doc: str = ""
    scatter: tuple[str, ...] = ()
    scatter_method: str | None = None
    when: bool = False
    loop: bool = False
    workflow: WorkflowGraph | None = None
    position: str = ""
    """``file:line`` of the step, for messages"""

    @property
    def name(self) -> str:
        return self.path.rsplit("/", 1)[1]

    @property
    def dimensions(self) -> int:
        """Dimensions of the scatter: one per port for cross products, else one."""
        return len(self.scatter) if "crossproduct" in str(self.scatter_method) else 1


@dataclass(frozen=True)
class WorkflowOutput:
    """A workflow output: its type and sources, and the output parameter (linkMerge, pickValue ...) as resolved JSON."""

    name: str
    type: JsonValue
    sources: tuple[Source, ...]
    document: JsonValue = None


@dataclass(frozen=True)
class WorkflowGraph:
    """A compiled CWL document: what the DAG is built from. Steps are in topological order.

    A CommandLineTool or ExpressionTool at top level is a graph of one step with the tool's own name.
    """

    name: str
    path: str
    """``/`` for the top level, else the path of the step that it is"""
    inputs: tuple[Port, ...]
    outputs: tuple[WorkflowOutput, ...]
    steps: tuple[Step, ...]
    doc: str = ""
    label: str = ""
    source: str = ""
    """path or URI of the top-level document"""
    files: tuple[str, ...] = ()
    """every file that the graph came from, for the cache key"""
    requirements: JsonValue = None

    def walk(self) -> list[Step]:
        """All steps, sub-workflows' included, outermost first."""
        found: list[Step] = []
        for step in self.steps:
            found.append(step)
            if step.workflow is not None:
                found.extend(step.workflow.walk())
        return found

    def to_json(self) -> JsonValue:
        return dataclasses.asdict(self)

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> WorkflowGraph:
        return cls(
            **{
                **value,
                "inputs": tuple(Port(**p) for p in value["inputs"]),
                "outputs": tuple(
                    WorkflowOutput(**{**o, "sources": tuple(Source(**s) for s in o["sources"])})
                    for o in value["outputs"]
                ),
                "steps": tuple(_step_from_json(s) for s in value["steps"]),
                "files": tuple(value["files"]),
            }
        )


def _step_from_json(value: Mapping[str, Any]) -> Step:
    inputs = tuple(StepInput(**{**i, "sources": tuple(Source(**s) for s in i["sources"])}) for i in value["inputs"])
    workflow = value["workflow"]
    return Step(
        **{
            **value,
            "inputs": inputs,
            "outputs": tuple(value["outputs"]),
            "scatter": tuple(value["scatter"]),
            "workflow": WorkflowGraph.from_json(workflow) if workflow else None,
        }
    )
