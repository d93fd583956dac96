# Licensed under the Apache License, Version 2.0; see the LICENSE file.
"""Models of ``workflows.<name>.dag``: arguments of Airflow's DAG and of its tasks that YAML can express."""

from __future__ import annotations

import os
from datetime import timedelta
from typing import Annotated, Any, Literal

from croniter import croniter
from croniter.croniter import CroniterError
from pydantic import (
    AfterValidator,
    BeforeValidator,
    Field,
    TypeAdapter,
    ValidationError,
    field_validator,
    model_validator,
)
from pydantic_core import PydanticCustomError

from airflow_hybrid.config.base import Duration, Model, NonEmpty, Time, one_or_many, wrong
from airflow_hybrid.model.templates import syntax_problem


class DefaultArgs(Model):
    """Arguments of every task of the DAG, as for Airflow's `BaseOperator`."""

    owner: str | None = Field(None, description="Owner of the tasks.")
    retries: int | None = Field(None, ge=0, description="Retries of a task.")
    retry_delay: Duration | None = Field(None, description="Time between two tries.")
    retry_exponential_backoff: bool | float | None = Field(None, description="Lets the delay grow.")
    max_retry_delay: Duration | None = Field(None, description="Longest delay.")
    execution_timeout: Duration | None = Field(None, description="Longest time a task may take in a worker.")
    depends_on_past: bool | None = Field(None, description="Waits for the same task of the run before.")
    wait_for_downstream: bool | None = Field(None, description="Waits also for the downstream tasks of the run before.")
    email: Annotated[list[str], BeforeValidator(one_or_many, json_schema_input_type=str | list[str])] | None = Field(
        None, description="Addresses for e-mails."
    )
    email_on_failure: bool | None = Field(None, description="Sends an e-mail when a task fails.")
    email_on_retry: bool | None = Field(None, description="Sends an e-mail when a task is retried.")
    pool: str | None = Field(None, description="Pool of the tasks.")
    pool_slots: int | None = Field(None, ge=1, description="Slots of the pool that a task takes.")
    queue: str | None = Field(None, description="The executor's queue.")
    executor: str | None = Field(None, description="Name of the executor.")
    priority_weight: int | None = Field(None, description="Priority of the tasks.")
    weight_rule: str | None = Field(None, description="How priorities add up.")
    max_active_tis_per_dag: int | None = Field(None, ge=1, description="Running instances of a task.")
    max_active_tis_per_dagrun: int | None = Field(None, ge=1, description="Running instances of a task in one run.")
    run_as_user: str | None = Field(None, description="Unix user of the tasks.")


_PRESETS = [
    "@once",
    "@continuous",
    "@hourly",
    "@daily",
    "@weekly",
    "@monthly",
    "@quarterly",
    "@yearly",
    "@annually",
    "@midnight",
]


def _is_readable(text: str) -> str:
    if problem := syntax_problem(text):
        raise ValueError(problem)
    return text


Template = Annotated[NonEmpty, AfterValidator(_is_readable)]
"""Text that may use Jinja2."""


class AssetModel(Model):
    """The Airflow Asset of an output: its URI, or its name, or both."""

    name: Template | None = Field(None, description="Its name; default: the URI. May use Jinja2.")
    uri: Template | None = Field(None, description="Its URI; default: the name. May use Jinja2.")
    partition: Template | None = Field(
        None, description="Key of the partition that a run makes (`{{ ds }}`, `{{ run_id }}`); not with a name per run."
    )

    @model_validator(mode="after")
    def _has_a_name(self) -> AssetModel:
        if self.name is None and self.uri is None:
            raise ValueError("an asset needs `uri` or `name`")
        return self


def _as_asset(value: Any) -> Any:
    return {"uri": value} if isinstance(value, str) else value


AssetNode = Annotated[AssetModel, BeforeValidator(_as_asset, json_schema_input_type=str | AssetModel)]


class WatchedFilesModel(Model):
    """Files that start a run when they appear at a deployment."""

    files: NonEmpty = Field(
        description="Path with `*`, `?` and `[...]`; a relative one starts at the deployment's `workdir`."
    )
    deployment: NonEmpty = Field(description="Where: a deployment that exists by itself, with an account of its own.")
    settle: Duration | None = Field(
        None, description="A file is complete when it has not changed for so long; default: 30 s."
    )
    marker: NonEmpty | None = Field(
        None,
        description="A file is complete when there is a file with this name beside it: `_SUCCESS`, `{name}.done`.",
    )
    interval: Duration | None = Field(None, description="Between two looks at the site; default: 30 s.")
    existing: bool | None = Field(None, description="Whether files count that are there at the first look.")
    name: NonEmpty | None = Field(
        None, description="Name of the Airflow Asset that gets the events; default: made of the other keys."
    )


class DagModel(Model):
    """The Airflow side of a workflow. (airflow_hybrid)"""

    dag_id: Annotated[str, Field(pattern=r"^[\w.-]+$", max_length=250)] | None = Field(
        None, description="Id of the DAG; default: the workflow's name."
    )
    schedule: str | list[NonEmpty | WatchedFilesModel] | None = Field(
        None,
        description="Cron text, a preset (`@daily`), an ISO 8601 interval (`PT6H`), or a list of asset URIs and files"
        " to watch for.",
    )
    start_date: Time | None = Field(None, description="First date of the schedule (ISO 8601, UTC by default).")
    end_date: Time | None = Field(None, description="Last date of the schedule.")
    catchup: bool | None = Field(None, description="Runs missed intervals of the schedule.")
    default_args: DefaultArgs = Field(default_factory=DefaultArgs, description="Arguments of every task.")
    tags: list[Annotated[str, Field(min_length=1, max_length=100)]] = Field(
        default_factory=list, description="Tags in the UI."
    )
    retries: int | None = Field(None, ge=0, description="Retries of each task.")
    retry_delay: Duration | None = Field(None, description="Time between two tries.")
    max_active_runs: int | None = Field(None, ge=1, description="Runs at a time.")
    max_active_tasks: int | None = Field(None, ge=1, description="Tasks at a time.")
    max_consecutive_failed_dag_runs: int | None = Field(None, ge=0, description="Failed runs before it is paused.")
    dagrun_timeout: Duration | None = Field(None, description="Longest time a run may take; then it is cancelled.")
    owner: str | None = Field(None, description="Owner of the tasks.")
    owner_links: dict[str, str] = Field(default_factory=dict, description="Owner -> URL.")
    description: str | None = Field(None, description="One line; default: the document's label.")
    doc_md: str | None = Field(
        None,
        description="Markdown; default: the document's `doc`, inputs, outputs and text, and the hybrid file's text"
        " without what could be a secret.",
    )
    dag_display_name: str | None = Field(None, description="Name in the UI.")
    is_paused_upon_creation: bool | None = Field(None, description="Paused when first seen.")
    fail_fast: bool | None = Field(None, description="Ends the run at the first failure.")
    access_control: dict[str, Any] = Field(default_factory=dict, description="Role -> permissions.")
    run_requirements: Annotated[
        list[NonEmpty], BeforeValidator(one_or_many, json_schema_input_type=str | list[str])
    ] = Field(
        default_factory=list,
        description="Classes of requirements that a run may set as `cwl:requirements` of its inputs, besides"
        " ResourceRequirement, ToolTimeLimit and WorkReuse; `any`: all. Most let the run's user execute any code.",
    )
    outdir: Template | None = Field(
        None,
        description="Where outputs go: a folder (relative to the hybrid file) or an object-store URL; may use Jinja2.",
    )
    outdirs: Annotated[list[Template], BeforeValidator(one_or_many, json_schema_input_type=str | list[str])] = Field(
        default_factory=list,
        description="Further folders or object-store URLs; the conf of a run may choose its `outdir` below them.",
    )
    existing_outputs: Literal["rename", "fail", "replace"] | None = Field(
        None,
        description="What to do with an output if something that the run did not make has its name: `rename` (default;"
        " the output is called `name_2`), `fail`, or `replace` (unchanged outputs of earlier runs; other files stay).",
    )

    assets: dict[NonEmpty, AssetNode] = Field(
        default_factory=dict,
        description="Airflow Assets of outputs, by their names: a URI, or `name` and `uri`; may use Jinja2. They get an"
        " event with the output's files when a run has succeeded.",
    )

    @field_validator("schedule")
    @classmethod
    def _is_a_schedule(
        cls, value: str | list[str | WatchedFilesModel] | None
    ) -> str | list[str | WatchedFilesModel] | None:
        if not isinstance(value, str) or value in _PRESETS:
            return value
        if value.startswith("P"):
            interval_of(value)
        elif len(value.split()) not in (5, 6):
            raise ValueError(f"{value!r} is neither five fields of cron, nor PT6H, nor one of {', '.join(_PRESETS)}")
        else:
            _check_cron(value)
        return value

    @field_validator("outdir")
    @classmethod
    def _outdir_is_a_folder(cls, value: str | None) -> str | None:
        if value is not None and is_all(value):
            raise everywhere("outdir")
        return value

    @field_validator("outdirs")
    @classmethod
    def _outdirs_are_folders(cls, value: list[str]) -> list[str]:
        if any(is_all(outdir) for outdir in value):
            raise everywhere("outdirs")
        return value


def interval_of(text: str) -> timedelta:
    """The time between two runs from an ISO 8601 interval.

    :raises PydanticCustomError: it is not an interval, or is zero.
    """
    try:
        interval = TypeAdapter(timedelta).validate_python(text)
    except ValidationError:
        interval = timedelta(0)
    if interval <= timedelta(0):
        raise wrong(f"{text!r} is not an interval of ISO 8601", "write it as PT6H, P1D or P1DT12H")
    return interval


def _check_cron(text: str) -> None:
    """:raises PydanticCustomError: it is not a cron expression, or one that no time matches."""
    try:
        croniter(text).get_next()
    except (CroniterError, ValueError) as error:
        hint = "the fields are minute (0-59), hour (0-23), day (1-31), month (1-12), day of the week (0-6)"
        raise wrong(f"{text!r} is not a cron expression: {error}", hint) from None


def is_all(outdir: str) -> bool:
    """Whether a folder for outputs is the root of this machine, in any spelling."""
    path = outdir if "://" not in outdir else outdir.partition("://")[2]
    local = "://" not in outdir or outdir.lower().startswith("file:")
    return local and os.path.normpath(os.path.expanduser(path)) in ("/", "//")


def everywhere(key: str) -> PydanticCustomError:
    """The error for ``/`` as ``outdir`` or among ``outdirs``."""
    hint = "name the folders that outputs may go to: `/data/results`"
    return wrong(f"`{key}` is `/`: the user who starts a run could have outputs written anywhere on this machine", hint)
