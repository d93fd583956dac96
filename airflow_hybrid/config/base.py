# Licensed under the Apache License, Version 2.0; see the LICENSE file.
"""Shared by all models of the hybrid file: strictness, and types for YAML scalars with a special meaning."""

from __future__ import annotations

import re
from datetime import datetime, timedelta, timezone
from typing import Annotated, Any

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    StringConstraints,
    TypeAdapter,
    ValidationError,
    ValidationInfo,
    model_validator,
)
from pydantic_core import PydanticCustomError

TOLD = "told"
"""type of the errors of :func:`wrong`"""


def wrong(message: str, hint: str) -> PydanticCustomError:
    """A validator's error with a hint about what to do."""
    return PydanticCustomError(TOLD, "{message}", {"message": message, "hint": hint})


NAME_PATTERN = r"^[a-z][a-zA-Z0-9._-]*$"
"""StreamFlow's pattern for the names of workflows and deployments."""
Name = Annotated[str, StringConstraints(pattern=NAME_PATTERN)]
NonEmpty = Annotated[str, StringConstraints(min_length=1, pattern=r"^[^\x00\n]+$")]
"""Text of one line: a path, a host name, a user."""


def _no_template(conn_id: str) -> str:
    if "{{" in conn_id or "{%" in conn_id:
        raise ValueError(
            "must be the id of a Connection: templates are for `conn_id` of `ssh`, `kubernetes` and `helm` deployments"
        )
    return conn_id


ConnectionId = Annotated[NonEmpty, AfterValidator(_no_template)]
"""The id of an Airflow Connection."""


def _site_path(path: str) -> str:
    if not path.startswith(("/", "~/", "$")) or ":" in path:
        raise ValueError("must be an absolute path at the location (or begin with ~/ or $NAME), without a colon")
    return path


SitePath = Annotated[NonEmpty, AfterValidator(_site_path)]
"""A path at a location, where ``~`` and ``$NAME`` are its own."""


class Model(BaseModel):
    """A mapping of the hybrid file: unknown keys and wrong types are errors; nothing is converted silently."""

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True, defer_build=True)

    @model_validator(mode="before")
    @classmethod
    def _remember_keys(cls, fields: Any, info: ValidationInfo) -> Any:
        """Record the known keys, so that a message about an unknown key can name the most similar one."""
        if isinstance(info.context, dict) and isinstance(fields, dict):
            info.context[id(fields)] = cls.known_keys()
        return fields

    @classmethod
    def known_keys(cls) -> tuple[str, ...]:
        return tuple(field.alias or name for name, field in cls.model_fields.items())

    def written_values(self) -> dict[str, Any]:
        """The values in the file, by the file's names, without defaults."""
        return self.model_dump(exclude_unset=True, by_alias=True)


_UNITS_S = {"s": 1, "m": 60, "h": 3600, "d": 86400}


def _read_duration(value: Any) -> Any:
    how = "give seconds, or a number with a unit (90s, 5m, 2h, 1d), or ISO 8601 (PT5M)"
    if isinstance(value, bool):  # which pydantic takes for a second
        raise ValueError(how)
    if isinstance(value, int | float):
        value = timedelta(seconds=value)
    elif isinstance(value, str) and (match := re.fullmatch(r"(\d+(?:\.\d+)?)\s*([smhd])", value.strip())):
        value = timedelta(seconds=float(match[1]) * _UNITS_S[match[2]])
    elif isinstance(value, str) and not re.search(r"[PT:]", value):
        raise ValueError(how)
    if isinstance(value, timedelta) and value < timedelta(0):
        raise ValueError("a duration cannot be negative")
    return value


Duration = Annotated[
    timedelta,
    Field(strict=False),
    BeforeValidator(_read_duration, json_schema_input_type=float | str),
]
"""Seconds, ``90s``/``5m``/``2h``/``1d``, ``HH:MM:SS`` or ISO 8601 (``PT5M``)."""


_DURATION: TypeAdapter[timedelta] = TypeAdapter(Duration)


def seconds_of(value: Any) -> int:
    """A duration in whole seconds; 0: it is none, or less than a second."""
    try:
        return int(_DURATION.validate_python(value).total_seconds())
    except (ValidationError, OverflowError):
        return 0


def _read_time(value: Any) -> Any:
    if isinstance(value, datetime):
        return value
    # pydantic reads a number, even in a string, as seconds since 1970
    if isinstance(value, str) and re.match(r"\d{4}-", value):
        try:
            return TypeAdapter(datetime).validate_python(value)
        except ValidationError:
            pass
    raise wrong(f"must be a date or time, not {value!r}", "write it as ISO 8601: 2026-01-31, 2026-01-31T12:00:00+01:00")


def _in_utc(value: datetime) -> datetime:
    return value if value.tzinfo else value.replace(tzinfo=timezone.utc)


Time = Annotated[
    datetime,
    Field(strict=False),
    BeforeValidator(_read_time, json_schema_input_type=str),
    AfterValidator(_in_utc),
]
"""ISO 8601, a date or a time; UTC by default."""


def one_or_many(value: Any) -> Any:
    """A list from a value that may be one item or a list."""
    return value if isinstance(value, list) else [value]
