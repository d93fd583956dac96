# Licensed under the Apache License, Version 2.0; see the LICENSE file.
"""One check of a deployment. Imported by the first one: it needs all that reaches sites."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping

from airflow_hybrid.config import Deployment
from airflow_hybrid.errors import HybridError
from airflow_hybrid.sites.check import FAIL, Finding, check, fails
from airflow_hybrid.sites.closing import close_all

__all__ = ["checked", "fails", "no_answer"]
_COMMAND_S = 20.0
CLOSING_S = 10.0


async def checked(deployments: Mapping[str, Deployment], name: str, limit_s: float) -> list[Finding]:
    """What is found at a deployment; a check that takes too long is a finding, too."""
    try:
        findings = check(deployments, names=[name], timeout_s=min(_COMMAND_S, limit_s))
        return await asyncio.wait_for(findings, limit_s)
    except asyncio.TimeoutError:
        return [no_answer(name, limit_s)]
    except HybridError as error:
        return [Finding(name, "", "connector", FAIL, error.message, hint=error.hint or "")]
    finally:
        await asyncio.wait_for(close_all(), CLOSING_S)


def no_answer(name: str, limit_s: float) -> Finding:
    """That a check has not ended in time."""
    hint = "airflow hybrid check, on the command line, waits longer and says which step of it takes so long"
    return Finding(name, "", "all", FAIL, f"the check did not end in {limit_s:.0f} s", limit_s, hint)
