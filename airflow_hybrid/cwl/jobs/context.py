# Licensed under the Apache License, Version 2.0; see the LICENSE file.
"""The context of a cwltool job while it is made and built: its position in the fragment, and its expressions."""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping, MutableMapping, Sequence
from decimal import Decimal
from typing import Any, cast

from cwltool.builder import Builder
from cwltool.context import RuntimeContext

from airflow_hybrid import settings
from airflow_hybrid.cwl.locations.location import JobLocation
from airflow_hybrid.cwl.values.file_values import as_changed, members_of
from airflow_hybrid.model import Binding
from airflow_hybrid.model.walking import is_file

NOWHERE = "/nonexistent"


class HybridContext(RuntimeContext):
    """A runtime context that makes no directories, knows its position in the fragment and, during a build, its site.

    :ivar scope: names and indexes of the enclosing steps, ``/variant[3]/count#2/train`` (``#``: iteration of a loop,
        from 0): the same in every attempt.
    :ivar first: index of the chunk's first job in the whole scatter.
    :ivar outer_indexes: of each instance, in the scatter of a sub-workflow around the fragment; empty: there is none.
    :ivar several: the fragment has several steps, so that messages name them.
    :ivar owner: the document of the JavaScript process (:func:`airflow_hybrid.cwl.javascript.node.process_of`).
    :ivar binding: that of a step, by its path.
    :ivar make_job: makes the jobs that a command-line tool yields, from its process, inputs, callback and context;
        they are placed, built and run later.
    :ivar raised: errors that are not the document's, which cwltool would report as its failure.
    :ivar iterations: number of iterations of each loop, by the scope of its step.
    """

    site: JobLocation | None = None
    scope: str = ""
    instance: int = 0
    expanded: list[Any] | None = None
    ran: list[str] | None = None
    binding: Callable[[str], Binding] | None = None
    first: int = 0
    outer_indexes: Sequence[int] = ()
    several: bool = False
    owner: str = ""
    make_job: Callable[[Any, Any, Any, HybridContext], Any] | None = None

    def __init__(self) -> None:
        super().__init__()
        self.raised: list[Exception] = []
        self.iterations: dict[str, int] = {}
        self.use_container = False
        self.compute_checksum = False
        self.eval_timeout = settings.current().expression_timeout
        self.basedir = NOWHERE
        self.on_error = "continue"
        self.move_outputs = "leave"

    def of_instance(self, number: int) -> HybridContext:
        """A copy for one instance of a fragment: it counts its own steps and iterations."""
        context = cast(HybridContext, self.copy())
        context.instance = number
        context.ran = []
        context.iterations = {}
        return context

    def get_outdir(self) -> str:
        return self.outdir or NOWHERE

    def get_tmpdir(self) -> str:
        return self.tmpdir or NOWHERE

    def get_stagedir(self) -> str:
        return self.stagedir or NOWHERE

    @property
    def postScatterEval(self) -> Callable[[Any], Any] | None:  # noqa: N802 - cwltool's name
        return self.__dict__.get("_post_scatter")

    @postScatterEval.setter
    def postScatterEval(self, function: Callable[[Any], Any] | None) -> None:  # noqa: N802
        if function is not None and self.expanded is not None:
            into, inner = self.expanded, function

            def function(order: Any) -> Any:
                result = inner(order)
                into.append(result)
                return result

        self.__dict__["_post_scatter"] = function


class HybridBuilder(Builder):
    """A builder that writes floats without an exponent, as cwltool does for floats read from YAML, and gives
    expressions the checksums of outputs that the site computed.

    :ivar copies: whether an expression's value is a copy of the input that it returns, and a changed folder a literal.
    :ivar name_literals: gives locations, which cwltool requires, to literals in the values of expressions about
        outputs; None: there are no outputs yet.
    :ivar unnamed: the texts of InitialWorkDirRequirement's entries without ``entryname``.
    """

    copies = False
    name_literals: Callable[[Any], None] | None = None
    unnamed: frozenset[str] = frozenset()

    def do_eval(self, ex: Any, context: Any = None, recursive: bool = False, strip_whitespace: bool = True) -> Any:
        if isinstance(context, list | Mapping):
            self._add_checksums(context)
        members = members_of(context) if self.copies else {}
        value = self._meant(ex, context, recursive) if not strip_whitespace else None
        if value is None:
            value = super().do_eval(ex, context=context, recursive=recursive, strip_whitespace=strip_whitespace)
        if not self.copies:
            return value
        changed = as_changed(copy.deepcopy(value), members)
        if self.name_literals is not None:
            self.name_literals(changed)
        return changed

    def _meant(self, ex: Any, context: Any, recursive: bool) -> Any:
        """The Files or Directories of an expression with white space around it (``entry: |`` ends with a line break).

        CWL converts the value to a text, its JSON, which becomes a file with the entry's name. An entry without a name
        has no such file: there the author can only have meant the Files or Directories. None for anything else.
        """
        if ex not in self.unnamed or ex == ex.strip():
            return None
        value = super().do_eval(ex, context=context, recursive=recursive)
        return value if _are_files(value) else None

    def _add_checksums(self, context: Any) -> None:
        facts = getattr(self.fs_access, "facts", None)
        if not facts:
            return
        for file in context if isinstance(context, list) else [context]:
            if isinstance(file, MutableMapping) and file.get("class") == "File" and "checksum" not in file:
                fact = facts.get(file.get("path"))
                if fact is not None and fact.checksum:
                    file["checksum"] = fact.checksum

    def tostr(self, value: Any) -> str:
        if isinstance(value, float):
            text = repr(value)
            return format(Decimal(text), "f") if "e" in text or "E" in text else text
        return str(super().tostr(value))


def _are_files(value: Any) -> bool:
    """Whether a value is a File or Directory, or a list of only these."""
    items = value if isinstance(value, list) else [value]
    return bool(items) and all(is_file(item) for item in items)
