# Licensed under the Apache License, Version 2.0; see the LICENSE file.
"""Why a job failed, and what to do. Of the evidence, what tells most comes first: the site's fault, the state, what the
job itself said, its exit code.
"""

from __future__ import annotations

import re
import signal
from collections.abc import Mapping
from dataclasses import dataclass, replace

from airflow_hybrid.model import JobState
from airflow_hybrid.reasons.actions import CLEAR, NEXT_TRY_RUNS_IT, READ_STDERR, RUN_AGAIN, RUN_AGAIN_BY_RETRIES
from airflow_hybrid.reasons.clues import DISK, clue_in, explained
from airflow_hybrid.reasons.explanation import Explanation, Rule, first_of, one_line
from airflow_hybrid.reasons.pending import pending
from airflow_hybrid.reasons.programs import PATH

SITE_FAULT = "the site: "
"""begin of a reason that is a fault of the site"""
REFUSED_OUTPUTS = "its outputs: "
"""begin of the reason of a job that ended well, but whose outputs are not what its document says"""
WITHDRAWN = "it can never run as it is and was withdrawn: "
"""begin of the reason of a job that a queue would never start; the scheduler's own follows"""
NO_MEMORY_ASKED = "it asked for no memory"
_TIME_OF_SERVICE = "set the service's time limit in the hybrid file (Slurm `time`, PBS `walltime`, SGE `h_rt`)"
_OWN_TIME = "for more time, raise the document's ToolTimeLimit or `timelimit` of its binding's `resources`"


@dataclass(frozen=True)
class Ended:
    """What is known of a job that failed.

    :ivar reason: in the site's words.
    :ivar stderr: its end, or the line of it that tells most.
    :ivar memory_mib: that it asked for; None: it asked for none.
    :ivar limit_s: its own time limit, of the document or the binding; None: it has none.
    :ivar site_fault: what is wrong with the site, in words; ``""``: nothing, as far as is known.
    :ivar rule: what a rule of the job's binding did about it; ``""``: no rule is about it.
    """

    state: JobState
    exit_code: int | None = None
    reason: str = ""
    stderr: str = ""
    memory_mib: int | None = None
    limit_s: int | None = None
    site_fault: str = ""
    rule: str = ""

    @property
    def asked(self) -> str:
        """``it asked for 2048 MiB``."""
        return NO_MEMORY_ASKED if self.memory_mib is None else f"it asked for {self.memory_mib} MiB"

    @property
    def words(self) -> Mapping[str, str]:
        """For the names in braces of rules."""
        return {
            "memory": f"{self.asked}: raise `ramMin` of the step's ResourceRequirement or of its binding's `resources`",
            "asked": self.asked,
            "time": _OWN_TIME if self.limit_s else f"for more time, {_TIME_OF_SERVICE}",
            "reason": one_line(self.reason),
            "path": PATH,
        }


_LOST = (
    Rule(
        r"batch directory no longer exists",
        "its job directory has disappeared, so nobody knows how it ended",
        f"{RUN_AGAIN}; is the file system of `workdir` there, and does nobody clean it up while again",
    ),
    Rule(
        r"no answer: (?P<problem>.+)",
        "it left no exit code, and the scheduler does not know it ({problem})",
        f"{NEXT_TRY_RUNS_IT}; did its node or the file system of `workdir` fail?",
    ),
    Rule(
        r"^",
        "it left no exit code, and the scheduler does not know how it ended",
        f"{NEXT_TRY_RUNS_IT}; did its node or the file system of `workdir` fail, or did somebody end it?",
    ),
)
_MEMORY = (Rule(r"^", "it ran out of memory", "{memory}"),)
_TIMEOUT = (
    Rule(r"time limit of (?P<limit>\d+) s", "it ran longer than its time limit of {limit} s", _OWN_TIME),
    Rule(r"DEADLINE|DeadlineExceeded", "it could not end before its deadline", "{time}"),
    Rule(r"^", "it ran longer than its time limit", "{time}"),
)
_NODE = (
    Rule(r"BOOT_FAIL", "its node did not come up", NEXT_TRY_RUNS_IT),
    Rule(r"LAUNCH_FAILED|RECONFIG_FAIL", "the site could not start it on its node", NEXT_TRY_RUNS_IT),
    Rule(r"\bon (?P<node>[\w.,\[\]-]+)|(?P<down>[\w.-]+) down", "its node {node}{down} failed", NEXT_TRY_RUNS_IT),
    Rule(r"^", "its node failed", NEXT_TRY_RUNS_IT),
)
_PREEMPTED = (
    Rule(
        r"Evicted: (?P<why>[^()]+)",
        "its node had to evict it: {why}",
        f"{NEXT_TRY_RUNS_IT}; if it uses more than it asks for, raise `ramMin`, `tmpdirMin` or `outdirMin` of the step",
    ),
    Rule(
        r"^",
        "jobs with a higher priority took its place",
        f"{NEXT_TRY_RUNS_IT}; another `qos` or `partition` of the service may not be preempted",
    ),
)
_CANCELLED = (
    Rule(
        r"the task was cancelled",
        "its task was cancelled: marked, cleared, or out of time",
        RUN_AGAIN,
    ),
    Rule(r"CANCELLED by (?P<user>\w+)", "somebody cancelled it (user {user})", RUN_AGAIN_BY_RETRIES),
    Rule(
        r"its runner got (?P<signal>SIG\w+)",
        "somebody ended it ({signal})",
        f"{RUN_AGAIN_BY_RETRIES}; was it an administrator, or a limit of the site?",
    ),
    Rule(r"^", "somebody cancelled it", RUN_AGAIN_BY_RETRIES),
)
_DISK_FULL = (
    Rule(r": (?P<room>[^:]*(left|free|inodes|quota)[^:]*(in|of) \S+)$", "a disk of the site was full: {room}", DISK),
    Rule(r"^", "a disk of the site was full", DISK),
)
_BY_STATE: Mapping[JobState, tuple[Rule, ...]] = {
    JobState.LOST: _LOST,
    JobState.OUT_OF_MEMORY: _MEMORY,
    JobState.TIMEOUT: _TIMEOUT,
    JobState.NODE_FAIL: _NODE,
    JobState.PREEMPTED: _PREEMPTED,
    JobState.CANCELLED: _CANCELLED,
    JobState.DISK_FULL: _DISK_FULL,
}
_OF_SITE = (
    Rule(r"OOMKilled|oom-kill|reason OutOfMemory", "it ran out of memory", "{memory}"),
    Rule(r"Outof(?P<what>memory|cpu)", "its node had too little {what} for it after all", RUN_AGAIN_BY_RETRIES),
    Rule(
        r"(InvalidImageName|ErrImage\w*|ImagePullBackOff|CreateContainer\w*|RunContainerError|StartError)\b",
        "its container was not started: {reason}",
        f"correct the image or the service in the hybrid file, then {CLEAR}",
    ),
    Rule(r"reason JobLaunchFailure", "the site could not start it on its node", RUN_AGAIN_BY_RETRIES),
    Rule(
        r"assumedly (before|after) job|before prolog|in prolog|opening (in|out)put|before writing|no config"
        r"|can't chdir",
        "the site could not start it: {reason}",
        f"ask the site's administrators; {RUN_AGAIN_BY_RETRIES}",
    ),
    Rule(r"cannot be started|could not be started", "it could not be started: {reason}", RUN_AGAIN_BY_RETRIES),
)
"""reasons of jobs that failed without a state of its own"""
_SIGNALS: Mapping[int, tuple[str, str]] = {
    signal.SIGKILL: (
        "somebody, or the kernel for lack of memory, killed it",
        "{asked}: perhaps raise `ramMin` of the step's ResourceRequirement or of its binding's `resources`",
    ),
    signal.SIGSEGV: (
        "its program crashed: it used memory that is not its own",
        "this is a defect of the program, or its libraries do not fit; a larger stack (`ulimit -s unlimited` in"
        " the service's template) helps some",
    ),
    signal.SIGABRT: ("its program gave up (abort)", "its stderr says why"),
    signal.SIGILL: (
        "the node's processor lacks instructions that the program needs",
        "build it for the nodes there, or let the service choose newer nodes (`constraint`, `nodeSelector`)",
    ),
    signal.SIGBUS: (
        "its program crashed: a file was cut off while it was read, or a disk or /dev/shm was full",
        "look for a full disk there (`df`)",
    ),
    signal.SIGFPE: (
        "its program crashed in a calculation (division by zero)",
        "this is a defect of the program or its input",
    ),
    signal.SIGTERM: ("somebody ended it", "was it an administrator, a limit of the site, or the program itself?"),
    signal.SIGINT: ("somebody interrupted it", "was it an administrator, a limit of the site, or the program itself?"),
    signal.SIGPIPE: ("a program that it wrote to had ended", "in a pipe of several programs, look at the last one"),
    signal.SIGXCPU: (
        "it used more processor time than it may",
        "`ulimit -t` in the service's template (`file`) shows the limit",
    ),
    signal.SIGXFSZ: (
        "it wrote a larger file than it may",
        "`ulimit -f` in the service's template (`file`) shows the limit",
    ),
}
_CODES: Mapping[int, tuple[str, str]] = {
    126: (
        "its command cannot be run",
        "it is not executable, its interpreter (`#!`) is missing, or an argument is longer than"
        " the system allows (128 KiB)",
    ),
    127: ("its command was not found", "{path}"),
}


def failed(ended: Ended) -> Explanation:
    """Why a job failed."""
    text = one_line(ended.reason)
    if ended.rule:
        why = failed(replace(ended, rule=""))
        return replace(why, sentence=f"{why.sentence}; {one_line(ended.rule)}")
    fault = ended.site_fault or (text.removeprefix(SITE_FAULT) if text.startswith(SITE_FAULT) else "")
    if fault:
        return Explanation(
            f"its site is at fault: {one_line(fault)}", f"make room, or put the files back; then {CLEAR}"
        )
    if text.startswith(REFUSED_OUTPUTS):
        words = text.removeprefix(REFUSED_OUTPUTS)
        return Explanation(
            f"its program reports success, but its outputs are not what its document says: {words}",
            f"correct `outputBinding` of the step's tool, or look why it made them otherwise: {READ_STDERR}",
        )
    if ended.state in _BY_STATE:
        explanation = first_of(_BY_STATE[ended.state], text, ended.words)
        if explanation is not None:
            return explanation
    if text.startswith(WITHDRAWN):
        never = pending(text.removeprefix(WITHDRAWN))
        return Explanation(f"it could never run, and was withdrawn: {never.sentence}", never.remedy, known=never.known)
    said = explained(clue_in(ended.stderr) or _without_code(text), ended.words)
    if said is not None:
        return _with_code(said, ended)
    explanation = first_of(_OF_SITE, text, ended.words)
    return explanation or _of_code(ended, text)


def _without_code(reason: str) -> str:
    """The rest of a reason after ``exit code 1: ``."""
    return re.sub(r"^exit code -?\d+(: )?", "", reason)


def _with_code(explanation: Explanation, ended: Ended) -> Explanation:
    if ended.exit_code is None:
        return explanation
    return Explanation(f"{explanation.sentence} (exit code {ended.exit_code})", explanation.remedy)


def _of_code(ended: Ended, reason: str) -> Explanation:
    """What the exit code alone tells."""
    code = ended.exit_code
    if code is None:
        return Explanation(reason or f"the site says only {ended.state.value}", READ_STDERR, known=False)
    number = code - 128
    if code in _CODES:
        sentence, remedy = _CODES[code]
        return Explanation(f"{sentence} (exit code {code})", remedy.format_map(ended.words))
    if number in _SIGNALS:
        sentence, remedy = _SIGNALS[number]
        name = signal.Signals(number).name
        return Explanation(f"{sentence} (exit code {code}, {name})", remedy.format_map(ended.words))
    if code == 0:
        return Explanation(
            "its document calls exit code 0 a failure",
            "take 0 out of its `permanentFailCodes` and `temporaryFailCodes`",
        )
    more = _without_code(reason)
    return Explanation(
        f"its program reports a failure: exit code {code}{f' ({more})' if more else ''}", READ_STDERR, known=False
    )
