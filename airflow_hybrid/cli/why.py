# Licensed under the Apache License, Version 2.0; see the LICENSE file.
"""``airflow hybrid why RUN [STEP]``: why steps of a run wait or failed, and what to do."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any

from airflow.cli.cli_config import ARG_OUTPUT, ActionCommand, Arg

from airflow_hybrid.amounts import counted

if TYPE_CHECKING:
    import argparse

    from airflow_hybrid.runs.answers.why import Answer

_Arg: Any = Arg  # it has no type hints
ARG_RUN = _Arg(("run_id",), help="id of the DAG run")
ARG_STEP = _Arg(("step",), nargs="?", help="only this step (a path: /align, or /qc for all below it), or a task")
ARG_DAG = _Arg(("-d", "--dag-id"), help="its DAG, where several have a run of that id")


def why_command() -> ActionCommand:
    """The command, for Airflow's parser."""
    return ActionCommand(
        name="why",
        help="Show why steps of a run wait or failed, and what to do",
        description="Show, for each step of a DAG run that is not a plain success, what it waits for or why it failed,"
        " in one sentence, and what to do about it. Jobs with the same reason are one row.",
        func=show_why,
        args=(ARG_RUN, ARG_STEP, ARG_DAG, ARG_OUTPUT),
    )


def show_why(args: argparse.Namespace) -> None:
    """Print why a run's steps wait or failed, in one of Airflow's formats."""
    import json

    import yaml
    from airflow.cli.simple_table import AirflowConsole
    from airflow.utils.session import create_session

    from airflow_hybrid.errors import HybridError
    from airflow_hybrid.overviews.steps import check_wanted, is_below
    from airflow_hybrid.runs.answers.why import why_run
    from airflow_hybrid.runs.jobs import find_run
    from airflow_hybrid.runs.outline import outline_of_run
    from airflow_hybrid.runs.tasks import tasks_of_run

    try:
        with create_session() as session:
            run = find_run(session, args.run_id, args.dag_id)
            found = why_run(session, run)
            if args.step is not None:
                tasks = {task.task_id for task in tasks_of_run(session, run)}
                check_wanted(args.step, outline_of_run(session, run), sorted(tasks))
    except HybridError as error:
        raise SystemExit(str(error)) from None
    # what is about the whole run is about each of its steps
    found = [answer for answer in found if not answer.step or is_below(answer.step, args.step)]
    if args.output == "json":
        json.dump([answer.to_json() for answer in found], sys.stdout, indent=1)
        sys.stdout.write("\n")
    elif args.output == "yaml":
        yaml.safe_dump([answer.to_json() for answer in found], sys.stdout, sort_keys=False, allow_unicode=True)
    elif args.output == "plain":
        AirflowConsole().print_as([row(answer) for answer in found], "plain")
    else:
        sys.stdout.write(text(found, args.step))


def row(answer: Answer) -> dict[str, str]:
    """An answer as a row."""
    from airflow_hybrid.printable import printable

    return {
        "step": printable(answer.step) or "the run",
        "state": answer.state,
        "jobs": jobs_in_words(answer),
        "place": printable(answer.place),
        "why": printable(answer.sentence),
        "remedy": printable(answer.remedy),
    }


def jobs_in_words(answer: Answer) -> str:
    """``312 of 10,000 jobs, first: [17]``; nothing for a whole step."""
    from airflow_hybrid.printable import printable

    if not answer.jobs:
        return ""
    words = counted(max(answer.jobs, answer.total), "job")
    if answer.total > answer.jobs:
        words = f"{answer.jobs:,} of {words}"
    if not answer.first:
        return words
    return f"{words}{', first' if answer.jobs > 1 else ''}: {printable(answer.first)}"


def text(answers: list[Answer], step: str | None = None) -> str:
    """Answers for people: sentences are too long for the columns of a table."""
    if not answers:
        below = "" if step is None else f" below {step}"
        return f"nothing{below} waits or has failed\n"
    return "".join(paragraph(answer) for answer in answers)


def paragraph(answer: Answer) -> str:
    """An answer in two or three lines::

    /align failed at hpc/long (312 of 10,000 jobs, first: [17])
      it ran out of memory
      -> it asked for 2048 MiB: raise `ramMin` of the step's ResourceRequirement
    """
    from airflow_hybrid.printable import printable

    verb = "was not run" if answer.state == "not run" else answer.state
    place = f" at {printable(answer.place)}" if answer.place else ""
    jobs = f" ({jobs_in_words(answer)})" if answer.jobs else ""
    lines = [f"{printable(answer.step) or 'the run'} {verb}{place}{jobs}", f"  {printable(answer.sentence)}"]
    if answer.remedy:
        lines.append(f"  -> {printable(answer.remedy)}")
    return "\n".join(lines) + "\n"
