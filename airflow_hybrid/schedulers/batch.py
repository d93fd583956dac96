# Licensed under the Apache License, Version 2.0; see the LICENSE file.
"""What all queue systems share, so that a new one needs little more than its own commands and parsers.

A subclass supplies the texts and parsers below. What makes a submit safe is here: the id is read from the answer, a
refusal is distinguished from an answer after which the job may have been accepted, a lost reply is looked up by the
job's name, and queue and accounting are merged. See ``docs/how-to/write-a-scheduler.md``.
"""

from __future__ import annotations

import abc
import re
import shlex
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from airflow_hybrid import shell_text
from airflow_hybrid.errors import StatusUnknownError
from airflow_hybrid.model import JobState
from airflow_hybrid.reasons.pending import told
from airflow_hybrid.schedulers.asking import ask_section, asking_functions, section
from airflow_hybrid.schedulers.base import Account, ElementState, QueueView, Scheduler, Submission, render
from airflow_hybrid.schedulers.words import flag, kebab, logged, option


@dataclass(frozen=True)
class Record:
    """One line of the queue or of the accounting.

    :ivar array: the submitted id (one of those that were asked for).
    :ivar state: what the native state means; its name stays in the reason.
    :ivar reason: why it does not run, or how it ended, in the site's words.
    :ivar element: id of the array element; ``""`` for a whole array or a job without elements.
    :ivar tasks: how many elements the line stands for.
    :ivar exited: its script ended on its own, with an exit code other than 0.
    """

    array: str
    state: JobState
    reason: str = ""
    element: str = ""
    tasks: int = 1
    exited: bool = False


class BatchScheduler(Scheduler):
    """A queue system, used through its command line programs; nothing is installed at the site.

    :cvar programs: the programs that it needs; the first one submits.
    :cvar directive: what the option lines of its job scripts begin with (``#SBATCH``).
    :cvar name_option: how a job gets its name, ``-N`` or ``--job-name=``; ``fixed``: words that every submit has.
    :cvar flags: key of a service -> option, where they differ. Options of one letter are written ``-x value``.
    :cvar ours: options that a service cannot set.
    :cvar short: option letter -> long name, where both exist (``-t`` -> ``time``).
    :cvar own_log: the job's script writes the job's output itself, because the scheduler would deliver it later.
    :cvar element: shell text at a job's start: sets ``ah_task`` (index of the array element, from 0), ``ah_me`` (its
        id) and ``ah_restarts`` (how often it was started before), and may define ``ah_drained`` (cancel the elements
        that still wait).
    :cvar accepted: shell text that sets ``ah_id`` if the word ``$ah_w`` of a submit's output is an id.
    :cvar listed: shell text that prints ``<id> <name>`` for the user's jobs, if possible also for those that ended;
        ``$ah_name`` is the one looked for. Non-zero exit code: unknown. Programs are run by ``ah_apart``; output after
        a line ``#said`` is not part of the answer.
    :cvar cancel: shell text that cancels the id ``$ah_c``, and succeeds silently if the job has ended already.
    :cvar never: matches a pending reason that does not pass: the job can never run as it is.
    :cvar for_good: matches a refusal that would be the same next time, unless ``passing`` matches it, too.
    :cvar large: matches a refusal because of an array's size. ``limits`` is asked then; ``largest`` matches its answer.
    :cvar lags: the accounting is behind the queue, so it cannot know that a job is alive.
    """

    leaves_elements = True
    status_interval_s = 2.0
    programs: tuple[str, ...]
    directive: str
    name_option = "-N"
    fixed: tuple[str, ...] = ()
    flags: Mapping[str, str] = {}
    ours: frozenset[str] = frozenset({"file"})
    short: Mapping[str, str] = {}
    own_log = True
    element: str
    accepted: str
    listed: str = ""
    cancel: str
    never = re.compile(r"(?!)")
    for_good = re.compile(r"(?!)")
    passing = re.compile(r"temporar|try again|limit", re.IGNORECASE)
    large = re.compile(r"(?!)")
    largest = re.compile(r"(?!)")
    lags = True

    # --- what a subclass supplies --------------------------------------------------------------------------------

    @abc.abstractmethod
    def rules(self, submission: Submission, part: int) -> Sequence[tuple[str, Sequence[str]]]:
        """Requests as ``(names, words)``. A request is left out if the user sets one of the options ``names``.

        Resources in lists (``-l a=1,b=2``) are called ``l:a``, ``l:b``.
        """

    def array(self, count: int, most: int | None) -> list[str]:
        """Words that make an array of ``count`` elements, of which ``most`` run at a time."""
        return []

    def named(self, name: str, count: int, most: int | None) -> list[str]:
        """Words that give the job its name and, where ``count`` is more than one, make it an array."""
        words = [self.name_option + name] if self.name_option.endswith("=") else [self.name_option, name]
        return [*words, *(self.array(count, most) if count > 1 else [])]

    @abc.abstractmethod
    def element_name(self, id_: str, task: int) -> str:
        """Id of one element, from 0, of the array ``id_``."""

    @abc.abstractmethod
    def ask_queue(self, ids: Sequence[str]) -> str:
        """Shell text that asks the queue about ``ids``; its exit code tells whether the queue answered.

        Programs are run by ``ah_asks SECONDS``, so that one that hangs is ended. Their stderr is left as it is.
        """

    @abc.abstractmethod
    def queue_records(self, lines: Sequence[str], ids: Sequence[str]) -> Iterable[Record]:
        """Parse the answer to :meth:`ask_queue`; other jobs' lines may be among them."""

    def ask_accounting(self, ids: Sequence[str]) -> str:
        """Shell text that asks the accounting about ``ids`` after they left the queue."""
        return ":"

    def accounting_records(self, lines: Sequence[str], ids: Sequence[str]) -> Iterable[Record]:
        """Parse the answer to :meth:`ask_accounting`; of several records of an element the last counts."""
        return ()

    def answered(self, lines: Sequence[str], code: int) -> bool:
        """Whether the queue answered; some exit with non-zero because of one bad id among many.

        :param lines: lines of stdout, then of stderr.
        """
        return code == 0

    def accounted(self, lines: Sequence[str], code: int) -> bool:
        """Whether the accounting answered, or the site has none."""
        return code == 0

    def native(self, options: Mapping[str, Any]) -> list[str]:
        """Words of the service's native options."""
        words: list[str] = []
        for key, value in options.items():
            name = self.flags.get(key, key if len(key) == 1 else kebab(key))
            if name not in self.ours:
                words += flag(name, value) if len(name) == 1 else option(name, value)
        return words

    # --- submit --------------------------------------------------------------------------------------------------

    def parts(self, submission: Submission) -> int:
        return -(-submission.jobs // max(1, submission.max_array))

    def size(self, submission: Submission, part: int) -> int:
        """Number of jobs, and of elements, in one part; a part with one job is not an array."""
        most = max(1, submission.max_array)
        return min(most, submission.jobs - part * most)

    def job_name(self, submission: Submission, part: int) -> str:
        return submission.name if submission.jobs <= submission.max_array else f"{submission.name}.{part}"

    def part_name(self, submission: Submission, part: int) -> str:
        return self.job_name(submission, part)

    def scripts(self, submission: Submission) -> dict[str, str]:
        runner = shlex.quote(f"{submission.directory}/runner.sh")
        script_by_name = {}
        for part in range(self.parts(submission)):
            text = render(submission, f"/bin/sh {runner} {part * submission.max_array}", part=part)
            script_by_name[f"batch.{part}.sh"] = logged(text, f"{submission.directory}/log") if self.own_log else text
        return script_by_name

    def runner_tail(self, submission: Submission) -> str:
        # elements with nothing left to do end at once
        return f"ah_drained() {{ :; }}\n{self.element}ah_first=$((ah_task + ${{1:-0}}))\nah_element\n"

    def directives(self, template: str | None) -> list[str]:
        """Words of the option lines of a template."""
        words: list[str] = []
        for line in (template or "").splitlines():
            if line.startswith(self.directive):
                try:
                    words += shlex.split(line[len(self.directive) :], comments=True)
                except ValueError:  # the queue system may still be able to read it
                    words += line[len(self.directive) :].split()
        return words

    def user_options(self, submission: Submission) -> set[str]:
        """Long names of the options that the user sets; resources in ``-l`` lists as ``l:<name>``."""
        words = [*self.directives(submission.template), *self.native(submission.options)]
        names: set[str] = set()
        for word, following in zip(words, [*words[1:], ""], strict=False):
            if word.startswith("--"):
                names.add(word[2:].partition("=")[0])
            elif word[:2] in self.short:
                names.add(self.short[word[:2]])
            elif re.match(r"-[A-Za-z]", word):
                names.add(word[1:])
            if re.match(r"-l([a-z_]+=|$)", word):
                names.update(f"l:{resource.partition('=')[0]}" for resource in (word[2:] or following).split(","))
        return names

    def arguments(self, submission: Submission, part: int) -> list[str]:
        """The command line that submits one part of the batch, unquoted."""
        count, user_options = self.size(submission, part), self.user_options(submission)
        name = self.job_name(submission, part)
        return [
            self.programs[0],
            *self.fixed,
            *self.named(name, count, submission.max_concurrent),
            *(
                w
                for names, words in self.rules(submission, part)
                if not user_options & set(names.split())
                for w in words
            ),
            *self.native(submission.options),
            *self.run(submission, part),
        ]

    def asks_alike(self, one: Submission, other: Submission) -> bool:
        return self.arguments(one, 0) == self.arguments(other, 0)

    def run(self, submission: Submission, part: int) -> list[str]:
        """The end of the command line: the script."""
        return [f"{submission.directory}/batch.{part}.sh"]

    def submit_function(self, submission: Submission) -> str:
        starts = "\n".join(
            f"    {part}) set -- {shlex.join(self.arguments(submission, part))} ;;"
            for part in range(self.parts(submission))
        )
        begin = shell_text.filled(__package__, "batch_begin.sh", {"ACCEPTED": self.accepted})
        return f'{begin}ah_start() {{\n    case $1 in\n{starts}\n    esac\n    ah_begin "$@"\n}}\n'

    def functions(self) -> str:
        values = {"PROGRAMS": shlex.join(self.programs), "LISTED": self.list_jobs(), "CANCEL": self.cancel}
        return asking_functions() + shell_text.filled(__package__, "batch_functions.sh", values)

    def list_jobs(self) -> str:
        """The shell text of :attr:`listed`."""
        return self.listed

    def limits_command(self) -> str:
        if not self.limits:
            return ""
        return asking_functions() + self.limits

    def refused_for_good(self, refusal: str) -> bool:
        return bool(self.for_good.search(refusal)) and not self.passing.search(refusal)

    def refusal_passes(self, refusal: str) -> bool:
        return bool(self.passing.search(refusal)) and not self.refused_for_good(refusal)

    def parse_max_array(self, text: str) -> int | None:
        match = self.largest.search(text)
        return max(1, int(match[1])) if match else None

    def too_large(self, refusal: str) -> bool:
        return bool(self.large.search(refusal))

    def explain(self, reason: str) -> str:
        return told(reason, self.name)

    def hopeless(self, reason: str) -> bool:
        return bool(self.never.search(reason))

    # --- status and accounting -----------------------------------------------------------------------------------

    def status_command(self, ids: Sequence[str]) -> str:
        return asking_functions() + ask_section("queue", self.ask_queue(ids))

    def _queue(self, text: str, ids: Sequence[str]) -> list[Record]:
        answer = section(text, "queue")
        if answer.code is None or not self.answered([*answer.lines, *answer.complaints], answer.code):
            raise StatusUnknownError(
                f"{self.name} did not answer (exit code {answer.program_code}): {answer.words[-500:]}"
            )
        return [record for record in self.queue_records(answer.lines, ids) if record.array in ids]

    def parse_status(self, text: str, ids: Sequence[str]) -> dict[str, QueueView]:
        records_by_id: dict[str, list[Record]] = {}
        for record in self._queue(text, ids):
            if not record.state.ended:
                records_by_id.setdefault(record.array, []).append(record)
        return {
            id_: QueueView(
                running=sum(r.tasks for r in records if r.state is JobState.RUNNING),
                pending=sum(r.tasks for r in records if r.state is not JobState.RUNNING),
                reasons=tuple(sorted({r.reason for r in records if r.state is not JobState.RUNNING})),
            )
            for id_, records in records_by_id.items()
        }

    def account_command(self, ids: Sequence[str]) -> str:
        return self.status_command(ids) + ask_section("accounting", self.ask_accounting(ids))

    def parse_account(self, text: str, ids: Sequence[str]) -> Account:
        elements: dict[str, ElementState] = {}
        problems = []
        answer = section(text, "accounting")
        if answer.code is None or not self.accounted([*answer.lines, *answer.complaints], answer.code):
            problems.append(f"accounting: {answer.words[-300:]}")
        queued: list[Record] = []
        heard = True
        try:
            queued = self._queue(text, ids)
        except StatusUnknownError as error:
            problems.append(error.message)
            heard = False
        for record in self.accounting_records(answer.lines, ids):
            state = record.state
            if heard and self.lags and not state.ended:
                state = JobState.UNKNOWN  # the queue answered and does not list it, so the accounting is behind
            elements[record.element or record.array] = ElementState(state, record.reason, record.exited)
        for record in queued:
            elements[record.element or record.array] = ElementState(record.state, record.reason, record.exited)
        return Account(elements, not problems, "; ".join(problems), heard)

    def element_id(self, ids: Sequence[str], jobs: int, index: int, max_array: int) -> str | None:
        part, task = divmod(index, max(1, max_array))
        if part >= len(ids):
            return None
        return (
            ids[part] if jobs - part * max(1, max_array) == 1 or max_array <= 1 else self.element_name(ids[part], task)
        )
