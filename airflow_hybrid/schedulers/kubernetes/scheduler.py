# Licensed under the Apache License, Version 2.0; see the LICENSE file.
"""Kubernetes as a scheduler: a batch is one Indexed Job, an array element one of its pods. Pure text and values.

The storage's shell cannot and must not use the API server: it has no credentials. So its functions *ask back*
(``ah_ask``): they print a question and read the answer from the process that runs the command
(:mod:`airflow_hybrid.sites.hosts.dialogue`). Everything else (the lock, the order of the steps, what is written when)
is the same as with other schedulers.

Source: https://kubernetes.io/docs/concepts/workloads/controllers/job/
"""

from __future__ import annotations

import json
import re
from collections.abc import Sequence

from airflow_hybrid import shell_text
from airflow_hybrid.errors import StatusUnknownError
from airflow_hybrid.model import JobState
from airflow_hybrid.schedulers.asking import section
from airflow_hybrid.schedulers.base import Account, ElementState, QueueView, Scheduler, Submission
from airflow_hybrid.schedulers.kubernetes import manifest


class KubernetesScheduler(Scheduler):
    """Indexed Jobs in one namespace."""

    name = "kubernetes"
    asks = True
    status_interval_s = 0.3
    """a watch has the answer, so questions cost nothing"""

    def parts(self, submission: Submission) -> int:
        return 1

    def scripts(self, submission: Submission) -> dict[str, str]:
        """The manifest, for people only: Jobs are created from the submitting process's memory, never from a file."""
        return {"batch.0.json": json.dumps(manifest.job(submission), indent=1)}

    def runner_tail(self, submission: Submission) -> str:
        return f"""ah_first=${{JOB_COMPLETION_INDEX:-0}}
ah_me={self.part_name(submission, 0)}_$ah_first
ah_restarts=0
ah_group=/
ah_reserved=all # a pod that fails is begun again
mkdir -p s
[ -e "s/$ah_first" ] && ah_restarts=1 # a pod of this index was here before: evicted, or its node was lost
: >|"s/$ah_first"
ah_drained() {{ :; }}
ah_element
"""

    def part_name(self, submission: Submission, part: int) -> str:
        return manifest.job_name(submission)

    def submit_function(self, submission: Submission) -> str:
        name = self.part_name(submission, 0)
        return f"ah_start() {{\n    ah_ask create {name}\n    ah_rc=$?\n    ah_id={name}\n    return $ah_rc\n}}\n"

    def functions(self) -> str:
        return shell_text.load(__package__, "functions.sh")

    def status_command(self, ids: Sequence[str]) -> str:
        return _question("status", ids)

    def parse_status(self, text: str, ids: Sequence[str]) -> dict[str, QueueView]:
        answer = section(text, "status")
        if answer.code != 0:
            raise StatusUnknownError(f"the cluster did not answer: {answer.words[-500:] or 'no reason given'}")
        counts_by_name = json.loads("\n".join(answer.lines))
        return {
            id_: QueueView(int(counts_by_name[id_][0]), int(counts_by_name[id_][1]), tuple(counts_by_name[id_][2]))
            for id_ in ids
            if id_ in counts_by_name
        }

    def account_command(self, ids: Sequence[str]) -> str:
        return _question("account", ids)

    def parse_account(self, text: str, ids: Sequence[str]) -> Account:
        answer = section(text, "account")
        if answer.code != 0:
            return Account({}, complete=False, problem=answer.words[-500:] or "the cluster did not answer", heard=False)
        ends_by_element = json.loads("\n".join(answer.lines))
        return Account(
            {id_: ElementState(JobState(state), why) for id_, (state, why) in ends_by_element.items()}, complete=True
        )

    def element_id(self, ids: Sequence[str], jobs: int, index: int, max_array: int) -> str | None:
        return f"{ids[0]}_{index}" if ids else None

    def array_id(self, element: str) -> str:
        return element.partition("_")[0]

    def restarts(self, submission: Submission) -> bool:
        return True

    def refused_for_good(self, refusal: str) -> bool:
        """A quota that others have used up is temporary; a quota below one pod and an invalid manifest are not."""
        if "exceeded quota" in refusal:
            return beyond_quota(refusal)
        return bool(
            re.search(r"invalid|forbidden|denied|unsupported|not allowed|must |cannot ", refusal, re.IGNORECASE)
        )


def _question(kind: str, ids: Sequence[str]) -> str:
    return f"ah_ask {kind} {' '.join(ids)}; ah_rc=$?\nprintf '#{kind}\\n%s\\n#rc %s\\n' \"$ah_said\" $ah_rc\n"


def beyond_quota(refusal: str) -> bool:
    """Whether one request alone exceeds the quota's limit, so that waiting does not help.

    ``exceeded quota: q, requested: requests.memory=9Gi, used: requests.memory=0, limited: requests.memory=8Gi``
    """
    lists = dict(re.findall(r"(requested|limited): ([^ ]+?)(?:, |$|\s)", refusal))
    values = {key: dict(pair.split("=", 1) for pair in text.split(",") if "=" in pair) for key, text in lists.items()}
    limits = values.get("limited", {})
    return any(
        name in limits and manifest.quantity(value) > manifest.quantity(limits[name])
        for name, value in values.get("requested", {}).items()
    )
