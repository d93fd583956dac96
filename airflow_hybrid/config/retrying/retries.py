# Licensed under the Apache License, Version 2.0; see the LICENSE file.
"""Models of what the hybrid file says about retries: ``retry`` of a binding, and StreamFlow's ``failureManager``."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Any

from pydantic import BeforeValidator, Field, model_validator

from airflow_hybrid.config.base import Model, NonEmpty, one_or_many, wrong
from airflow_hybrid.model import JsonValue, RetryCodes

UNLIMITED = 10
"""retries for StreamFlow's unlimited ones: a job that always fails would be run for ever"""
_ROLLBACK = ("default", "rollback")
"""StreamFlow's types of failure managers that run failed jobs again"""

ExitCode = Annotated[int, Field(ge=1, le=255)]
ExitCodes = Annotated[
    list[ExitCode], BeforeValidator(one_or_many, json_schema_input_type=ExitCode | list[ExitCode]), Field(min_length=1)
]


class RetryModel(Model):
    """Which failed jobs of a step are run again where `retries` are left. (airflow_hybrid)"""

    codes: ExitCodes | None = Field(
        None,
        description="Only jobs with these exit codes, or with `temporaryFailCodes` of the document, are run again."
        " They take precedence over the document's `permanentFailCodes`.",
    )
    never: ExitCodes | None = Field(
        None, alias="not", description="Jobs with these exit codes are not, whatever the document says."
    )

    @model_validator(mode="after")
    def _is_clear(self) -> RetryModel:
        if self.codes is None and self.never is None:
            raise wrong("`retry` is empty", "write `codes`, `not`, or both: `retry: {codes: [75], not: [2]}`")
        both = sorted(set(self.codes or ()) & set(self.never or ()))
        if both:
            shown = ", ".join(str(code) for code in both)
            raise wrong(f"exit code {shown} is in `codes` and in `not`", "remove it from one of them")
        return self

    @property
    def value(self) -> RetryCodes:
        return RetryCodes(tuple(self.codes or ()), tuple(self.never or ()))


class FailureManagerModel(Model):
    """StreamFlow's failure manager: its retries become those of every workflow, unless its `dag` says otherwise."""

    type: NonEmpty | None = Field(
        None, description="`rollback` or `default`: failed jobs are run again; `dummy`: they are not."
    )
    enabled: bool = Field(False, description="Without `type`: whether failed jobs are run again.")
    config: dict[str, Any] = Field(
        default_factory=dict,
        description="`max_retries` (without it, StreamFlow tries without end: here 10 times) and `retry_delay` in"
        " seconds (default: 0).",
    )

    @model_validator(mode="after")
    def _is_known(self) -> FailureManagerModel:
        if not self.runs_again:
            return self
        for key, value in self.config.items():
            if key not in ("max_retries", "retry_delay"):
                raise wrong(f"unknown key `{key}` in `config`", "there are: max_retries, retry_delay")
            if not isinstance(value, int) or isinstance(value, bool) or value < 0:
                raise wrong(f"`{key}` must be an integer that is not negative, not {value!r}", "write 3, for example")
        return self

    @property
    def runs_again(self) -> bool:
        """Whether failed jobs are run again. As in StreamFlow, `enabled` counts only without a type."""
        return self.enabled if self.type is None else self.type in _ROLLBACK


@dataclass(frozen=True)
class TranslatedRetries:
    """A failure manager as options of a DAG.

    :ivar notice: what it has become, for the user.
    """

    retries: int
    retry_delay_s: int
    notice: str

    def added_to(self, section: dict[str, JsonValue]) -> dict[str, JsonValue]:
        """A workflow's ``dag`` section with the retries, unless it has its own."""
        written = {**section, **section.get("default_args", {})}
        if "retries" in written:
            return section
        added: dict[str, JsonValue] = {"retries": self.retries}
        if "retry_delay" not in written:
            added["retry_delay"] = float(self.retry_delay_s)
        return {**section, **added}


NO_RETRIES = "accepted, but has no effect: `retries` of `workflows.<name>.dag`, or of a binding, run failed jobs again"
"""the notice about a failure manager that runs nothing again, or whose type is unknown"""


def translated(manager: FailureManagerModel) -> TranslatedRetries | None:
    """The retries of a file's failure manager; None if it has none."""
    if not manager.runs_again:
        return None
    most, delay_s = manager.config.get("max_retries"), manager.config.get("retry_delay", 0)
    retries = UNLIMITED if most is None else most
    notice = (
        f"becomes `dag: {{retries: {retries}, retry_delay: {delay_s}}}` of each workflow whose `dag` has no `retries`"
    )
    if most is None:
        notice += f" (StreamFlow's retries without `max_retries` never end; here they are {UNLIMITED})"
    return TranslatedRetries(retries, delay_s, notice)
