# Licensed under the Apache License, Version 2.0; see the LICENSE file.
"""Model of what the hybrid file says about checkpoints: ``checkpoint`` of a workflow or a binding."""

from __future__ import annotations

from datetime import timedelta
from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field, field_validator

from airflow_hybrid.config.base import Duration, Model, NonEmpty, wrong
from airflow_hybrid.model import KEPT_S, Checkpoint

NEVER = "never"
SHORTEST = timedelta(minutes=1)


class CheckpointModel(Model):
    """Where finished outputs of jobs are copied to while the run goes on. (airflow_hybrid)"""

    target: NonEmpty = Field(
        description="Name of a deployment, or URL of an object store: `s3://conn_id@bucket/checkpoints`."
    )
    expire: Duration | Literal["never"] = Field(
        timedelta(seconds=KEPT_S),
        description="How long a copy is kept after a run has last made it or found it; then `airflow hybrid cleanup`"
        " removes it. Default `30d`; `never`: it is kept for good.",
    )

    @field_validator("expire")
    @classmethod
    def _is_not_at_once(cls, expire: timedelta | str) -> timedelta | str:
        if isinstance(expire, timedelta) and expire < SHORTEST:
            raise wrong("must be a minute or more", f"write 30d, or `{NEVER}`")
        return expire

    @property
    def value(self) -> Checkpoint:
        if not self.target:
            return Checkpoint("")
        return Checkpoint(self.target, self.expire.total_seconds() if isinstance(self.expire, timedelta) else None)


def _as_checkpoint(value: Any) -> Any:
    if value is True:
        raise wrong("must be a deployment, a URL or false, not true", "write its name: `checkpoint: archive`")
    if value is False:
        return CheckpointModel.model_construct(target="")
    return {"target": value} if isinstance(value, str) else value


CheckpointNode = Annotated[
    CheckpointModel,
    BeforeValidator(_as_checkpoint, json_schema_input_type=str | Literal[False] | CheckpointModel),
]
