# Licensed under the Apache License, Version 2.0; see the LICENSE file.
"""Errors of tasks as explanations: they say what, where and what to do already."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from airflow_hybrid.reasons.actions import LOG_SAYS_MORE
from airflow_hybrid.reasons.explanation import Explanation, one_line
from airflow_hybrid.reasons.refused import refused

_REFUSED = re.compile(r"^(?P<scheduler>\w+) refused the batch: (?P<words>.*)", re.DOTALL)


def of_error(value: Mapping[str, Any]) -> Explanation:
    """The explanation of an error, as :meth:`airflow_hybrid.errors.HybridError.to_json` gives it."""
    message, where, hint = (str(value.get(key) or "") for key in ("message", "where", "hint"))
    match = _REFUSED.match(message)
    place = one_line(where.split(": ")[0])
    if match is not None:
        why = refused(match["words"])
        at = f" at {place}" if place else ""
        return Explanation(f"{match['scheduler']} refused it{at}: {why.sentence}", why.remedy, known=why.known)
    said = one_line(message.split("\n")[0])
    sentence = f"{place}: {said}" if place else said
    return Explanation(sentence or "it failed without a message", one_line(hint.split("\n")[0]) or LOG_SAYS_MORE)
