# Licensed under the Apache License, Version 2.0; see the LICENSE file.
"""Tables of commands in Airflow's formats: short texts for people, all values as they are for programs."""

from __future__ import annotations

import functools
import json
import os
import select
import signal
import sys
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from airflow_hybrid.printable import printable, shortened

if TYPE_CHECKING:
    from airflow.cli.cli_config import ActionCommand
    from airflow.cli.simple_table import AirflowConsole

_LONGEST_REASON = 300
FOR_PEOPLE = ("table", "plain")


def print_rows(rows: Sequence[Mapping[str, Any]], output: str, shown: Sequence[Mapping[str, str]]) -> None:
    """Print rows in one of the formats of Airflow's ``--output``.

    :param rows: all values; ``shown``: what people see of them, already safe for a terminal.
    """
    if output in FOR_PEOPLE:
        console().print_as([dict(row) for row in shown], output)
    elif output == "json":
        json.dump(list(rows), sys.stdout, indent=1)
        sys.stdout.write("\n")
    else:
        import yaml

        yaml.safe_dump([dict(row) for row in rows], sys.stdout, sort_keys=False, allow_unicode=True)


def console() -> AirflowConsole:
    """Airflow's console for tables, which takes texts as they are: ``a[b].txt`` and ``[/x]`` are no markup."""
    from airflow.cli.simple_table import AirflowConsole

    return AirflowConsole(markup=False, emoji=False)


def guarded(command: ActionCommand) -> ActionCommand:
    """The command, which ends in silence when who reads its output has enough (``airflow hybrid jobs RUN | head``), and
    with a message where Airflow's database is not there.
    """
    act: Callable[..., Any] = command.func

    @functools.wraps(act)
    def act_and_flush(*args: Any, **kwargs: Any) -> Any:
        try:
            result = act(*args, **kwargs)
            sys.stdout.flush()
        except BrokenPipeError:
            if _is_read():
                raise  # it was another pipe
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # Python flushes once more at its end
            raise SystemExit(128 + signal.SIGPIPE) from None
        except Exception as error:
            problem = _problem_of_database(error)
            if problem is None:
                raise
            raise SystemExit(problem) from None
        return result

    return command._replace(func=act_and_flush)


def _problem_of_database(error: Exception) -> str | None:
    """What to tell about a database that cannot be used; None: it is something else."""
    errors = sys.modules.get("sqlalchemy.exc")  # not loaded: no database was asked
    if errors is None or not isinstance(error, errors.OperationalError | errors.ProgrammingError):
        return None
    reason = " ".join(str(error.orig).split())
    return (
        f"Airflow's database cannot be used: {shortened(printable(reason), _LONGEST_REASON)}\n"
        "  -> `airflow db migrate` makes or updates its tables; [database] sql_alchemy_conn says where it is"
    )


def _is_read() -> bool:
    """Whether standard output still has a reader, or needs none."""
    try:
        poll = select.poll()
        poll.register(sys.stdout.fileno(), 0)
    except (OSError, ValueError):
        return True
    return not any(events & select.POLLERR for _, events in poll.poll(0))
