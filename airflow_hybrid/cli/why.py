# Licensed under the Apache License, Version 2.0; see the LICENSE file.
"""``airflow hybrid why RUN [STEP]``: why steps of a run wait or failed, and what to do."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any

from airflow.cli.cli_config import ARG_OUTPUT, ActionCommand, Arg

if TYPE_CHECKING:
    import argparse
    from collections.abc import Sequence

    from airflow_hybrid.runs.answers.why import Answer

MOST_NAMES = 10
"""steps that are named of those that were not run for the same reason"""
NOT_RUN = "not run"
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
    from airflow.utils.session import create_session

    from airflow_hybrid.cli.printing import console
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
            wanted = [args.step]
            if args.step is not None:
                tasks = {task.task_id for task in tasks_of_run(session, run)}
                outline = outline_of_run(session, run)
                check_wanted(args.step, outline, sorted(tasks))
                wanted += [step.path for step in outline.steps if args.step in (step.task_id, step.plan_id)]
    except HybridError as error:
        raise SystemExit(str(error)) from None
    # what is about the whole run is about each of its steps
    found = [a for a in found if not a.step or any(is_below(a.step, name) for name in wanted)]
    if args.output == "json":
        json.dump([answer.to_json() for answer in found], sys.stdout, indent=1)
        sys.stdout.write("\n")
    elif args.output == "yaml":
        yaml.safe_dump([answer.to_json() for answer in found], sys.stdout, sort_keys=False, allow_unicode=True)
    elif args.output == "plain":
        console().print_as([row(answer) for answer in found], "plain")
    else:
        sys.stdout.write(text(found, args.step))


def row(answer: Answer) -> dict[str, str]:
    """An answer as a row."""
    from airflow_hybrid.printable import printable
    from airflow_hybrid.runs.answers.words import jobs_in_words

    return {
        "step": printable(answer.title),
        "state": answer.state,
        "jobs": jobs_in_words(answer),
        "place": printable(answer.place),
        "why": printable(answer.sentence),
        "remedy": printable(answer.remedy),
    }


def text(answers: list[Answer], step: str | None = None) -> str:
    """Answers for people: sentences are too long for the columns of a table. A step has one block, and steps that
    were not run for the same reason have one together.
    """
    if not answers:
        below = "" if step is None else f" below {step}"
        return f"nothing{below} waits or has failed\n"
    blocks: dict[tuple[str, str], list[Answer]] = {}
    for answer in answers:
        is_alike = answer.state == NOT_RUN
        blocks.setdefault((NOT_RUN, answer.sentence) if is_alike else ("", answer.step), []).append(answer)
    return "".join(not_run(block) if kind == NOT_RUN else paragraph(block) for (kind, _), block in blocks.items())


def paragraph(answers: Sequence[Answer]) -> str:
    """What is said about a step, in a few lines::

        /align failed at hpc/long (312 of 10,000 jobs, first: [17])
          it ran out of memory
          -> it asked for 2048 MiB: raise `ramMin` of the step's ResourceRequirement or of its binding's `resources`

    and where there is more than one thing to say::

        /align
          failed at hpc/long (312 of 10,000 jobs, first: [17])
            it ran out of memory
          runs at hpc/long (20 of 10,000 jobs)
            its jobs run
    """
    from airflow_hybrid.printable import printable

    title = printable(answers[0].title)
    if len(answers) == 1:
        return f"{title} {said(answers[0], '')}"
    return f"{title}\n" + "".join(f"  {said(answer, '  ')}" for answer in answers)


def said(answer: Answer, indent: str) -> str:
    """An answer without the name of its step."""
    from airflow_hybrid.printable import printable
    from airflow_hybrid.runs.answers.words import jobs_in_words

    place = f" at {printable(answer.place)}" if answer.place else ""
    jobs = f" ({jobs_in_words(answer)})" if answer.jobs else ""
    lines = [f"{answer.state}{place}{jobs}", f"{indent}  {printable(answer.sentence)}"]
    if answer.remedy:
        lines.append(f"{indent}  -> {printable(answer.remedy)}")
    return "\n".join(lines) + "\n"


def not_run(answers: Sequence[Answer]) -> str:
    """Steps that were not run for the same reason::

    these 12 steps were not run because /align failed: /call, /merge, the run's outputs (task outputs) and 9 more
      -> repair that and clear it: what was not run follows by itself
    """
    from airflow_hybrid.printable import printable

    names = ", ".join(printable(answer.title) for answer in answers[:MOST_NAMES])
    more = f" and {len(answers) - MOST_NAMES:,} more" if len(answers) > MOST_NAMES else ""
    sentence, remedy = printable(answers[0].sentence), answers[0].remedy
    text = f"these steps were not run {sentence}: {names}{more}\n"
    if len(answers) == 1:
        text = f"{names} was not run {sentence}\n"
    if remedy:
        text += f"  -> {printable(remedy)}\n"
    return text
