# Licensed under the Apache License, Version 2.0; see the LICENSE file.
"""The results of a check, and how long it took."""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import asdict, dataclass, field
from typing import TypeVar

from airflow_hybrid.errors import HybridError
from airflow_hybrid.model import JsonValue

T = TypeVar("T")

TIMEOUT_S = 60.0
OK, WARN, FAIL, SKIP = "ok", "warn", "FAIL", "skip"


@dataclass(frozen=True)
class Finding:
    """The result of one test.

    :ivar where: name of the deployment, or ``a -> b`` of a link; ``location``: which of its locations.
    :ivar what: ``reach``, ``host key``, ``login``, ``programs``, ``workdir``, ``locks``, ``scheduler``,
        ``capacity``, ``queue``, ``connections``, ``service``, ``containers``, ``image``, ``link``; ``all``: none of
        them could be tried.
    :ivar result: ``ok``; ``warn`` (steps run, but ...); ``FAIL``; ``skip`` (not tested, or told already: another
        test failed).
    :ivar seconds: how long it took.
    :ivar hint: what to do about it; it may have several lines.
    :ivar figures: the figures in ``detail``, by what they are of: ``{"free cores": "12 of 64"}``.
    """

    where: str
    location: str
    what: str
    result: str
    detail: str = ""
    seconds: float = 0.0
    hint: str = ""
    figures: Mapping[str, str] = field(default_factory=dict)

    def to_json(self) -> JsonValue:
        return asdict(self)


@dataclass
class Findings:
    """Findings of one location, in the order of the tests."""

    where: str
    location: str = ""
    entries: list[Finding] = field(default_factory=list)

    def add(self, what: str, result: str, detail: str = "", seconds: float = 0.0, hint: str | None = None) -> None:
        self.entries.append(Finding(self.where, self.location, what, result, detail, seconds, hint or ""))

    def tell(self, what: str, detail: str, figures: Mapping[str, str], seconds: float = 0.0) -> None:
        """A finding for information: nothing is wrong."""
        self.entries.append(Finding(self.where, self.location, what, OK, detail, seconds, figures=figures))

    def fail(self, what: str, error: HybridError, seconds: float = 0.0) -> None:
        self.add(what, FAIL, error.message, seconds, error.hint)


async def timed(action: Callable[[], Awaitable[T]]) -> tuple[T | None, HybridError | None, float]:
    """Do something; -> its result, or its error, and how many seconds it took."""
    began = time.monotonic()
    try:
        return await action(), None, time.monotonic() - began
    except HybridError as error:
        return None, error, time.monotonic() - began
