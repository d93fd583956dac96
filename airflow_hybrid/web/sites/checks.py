# Licensed under the Apache License, Version 2.0; see the LICENSE file.
"""Runs what ``airflow hybrid check`` does, in the API server: few at a time, each for a bounded time."""

from __future__ import annotations

import asyncio
import hashlib
import json
import threading
import time
from collections.abc import Mapping
from concurrent.futures import Future
from concurrent.futures import TimeoutError as FutureTimeout
from dataclasses import dataclass
from typing import TYPE_CHECKING

from fastapi import HTTPException, status

from airflow_hybrid.config import Deployment
from airflow_hybrid.model import JsonValue

if TYPE_CHECKING:
    from airflow_hybrid.sites.check import Finding

MOST_AT_ONCE = 4
EVERY_S = 5.0
"""a site is not asked again sooner: whoever clicks gets the result that is there, with its age"""
LIMIT_S = 60.0
_MOST_KEPT = 1000


@dataclass(frozen=True)
class CheckResult:
    """What a check of a deployment found.

    :ivar at: when it ended, in seconds since the epoch.
    :ivar ok: nothing failed.
    """

    at: float
    seconds: float
    ok: bool
    findings: tuple[Finding, ...]

    def to_json(self) -> JsonValue:
        findings = [finding.to_json() for finding in self.findings]
        return {"at": self.at, "seconds": round(self.seconds, 3), "ok": self.ok, "findings": findings}


class Checks:
    """The checks of this process, and the last result of each deployment."""

    def __init__(self, most_at_once: int = MOST_AT_ONCE, limit_s: float = LIMIT_S) -> None:
        self._most_at_once = most_at_once
        self._limit_s = limit_s
        self._lock = threading.Lock()
        self._running: set[str] = set()
        self._last: dict[str, CheckResult] = {}

    def last(self, key: str) -> CheckResult | None:
        """The last result of the deployment with a key (:func:`key_of`)."""
        return self._last.get(key)

    @property
    def has_results(self) -> bool:
        return bool(self._last)

    def run(self, deployments: Mapping[str, Deployment], name: str) -> CheckResult:
        """Check a deployment; the caller waits, for a bounded time.

        :raises HTTPException: it is being checked, or too many others are (429).
        """
        # here: what reaches sites takes long to import, and pages that nobody checks anything with need none of it
        from airflow_hybrid.web.sites import checking

        key = key_of(deployments, name)
        last = self._last.get(key)
        if last is not None and time.time() - last.at < EVERY_S:
            return last
        self._begin(key, name)
        began = time.monotonic()
        outcome: Future[list[Finding]] = Future()
        # a daemon: a name server that does not answer holds up neither the request nor the end of the process
        thread = threading.Thread(target=self._work, args=(key, deployments, name, outcome), daemon=True)
        thread.start()
        try:
            findings = outcome.result(self._limit_s + checking.CLOSING_S)
        except (FutureTimeout, TimeoutError):
            findings = [checking.no_answer(name, self._limit_s)]
        result = CheckResult(time.time(), time.monotonic() - began, not checking.fails(findings), tuple(findings))
        with self._lock:
            self._last.pop(key, None)
            self._last[key] = result
            for oldest in list(self._last)[: max(0, len(self._last) - _MOST_KEPT)]:
                del self._last[oldest]
        return result

    def _begin(self, key: str, name: str) -> None:
        with self._lock:
            if key in self._running:
                problem = f"deployment {name} is being checked; wait for the result of that check"
                raise HTTPException(status.HTTP_429_TOO_MANY_REQUESTS, problem)
            if len(self._running) >= self._most_at_once:
                problem = (
                    f"too many deployments are being checked ({self._most_at_once} at a time); try again in a minute"
                )
                raise HTTPException(status.HTTP_429_TOO_MANY_REQUESTS, problem)
            self._running.add(key)

    def _work(self, key: str, deployments: Mapping[str, Deployment], name: str, outcome: Future[list[Finding]]) -> None:
        try:
            from airflow_hybrid.web.sites import checking

            outcome.set_result(asyncio.run(checking.checked(deployments, name, self._limit_s)))
        except BaseException as error:
            outcome.set_exception(error)  # to the request
        finally:
            with self._lock:
                self._running.discard(key)


def key_of(deployments: Mapping[str, Deployment], name: str) -> str:
    """What tells a deployment, as a user has it, from others: its options and Connection, and those that it wraps."""
    chain: list[JsonValue] = []
    current: str | None = name
    seen: set[str] = set()
    while current is not None and current in deployments and current not in seen:
        seen.add(current)
        chain.append(deployments[current].to_json())
        current = deployments[current].wraps
    return hashlib.sha256(json.dumps(chain, sort_keys=True, default=str).encode()).hexdigest()
