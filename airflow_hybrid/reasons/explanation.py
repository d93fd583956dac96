# Licensed under the Apache License, Version 2.0; see the LICENSE file.
"""A sentence with a remedy, and rules that make one of a site's words."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from airflow_hybrid.printable import printable, shortened, uncoloured

MOST_CHARS = 500
"""of a site's words in a sentence"""
_NO_WORDS: Mapping[str, str] = {"job": "JOB"}
"""what stands in a command that a remedy names, where the job's id is unknown"""


@dataclass(frozen=True)
class Explanation:
    """Why something waits or failed.

    :ivar sentence: begins with a small letter and has no full stop, so that it fits into another one.
    :ivar remedy: what a user can do; ``""``: nothing.
    :ivar known: False: no rule knows the reason, and the sentence is what the site says.
    :ivar passes: nothing is wrong: it passes by itself.
    """

    sentence: str
    remedy: str = ""
    known: bool = True
    passes: bool = False

    def __str__(self) -> str:
        return f"{self.sentence}: {self.remedy}" if self.remedy else self.sentence


@dataclass(frozen=True)
class Rule:
    """What a text that matches means.

    ``{name}`` in sentence and remedy stands for the pattern's group of that name, or for a given word; ``{job}``
    is the job's id.

    :ivar pattern: is searched for, in any case of letters.
    :ivar passes: see :class:`Explanation`.
    """

    pattern: str
    sentence: str
    remedy: str = ""
    passes: bool = False

    def explain(self, text: str, words: Mapping[str, str] = _NO_WORDS) -> Explanation | None:
        """The explanation of a text; None: this rule does not know it.

        :param words: for other names in braces.
        """
        match = re.search(self.pattern, text, re.IGNORECASE)
        if match is None:
            return None
        groups = {name: value or "" for name, value in match.groupdict().items()}
        words = {**_NO_WORDS, **words, **groups}
        sentence = " ".join(self.sentence.format_map(words).split())
        return Explanation(sentence, self.remedy.format_map(words), passes=self.passes)


def one_line(text: str) -> str:
    """A site's words in one line that is safe to show."""
    return shortened(printable(" ".join(uncoloured(text).split())), MOST_CHARS)


def first_of(rules: Iterable[Rule], text: str, words: Mapping[str, str] = _NO_WORDS) -> Explanation | None:
    """What the first rule that knows a text makes of it; None: no rule knows it.

    :param text: as :func:`one_line` gives it.
    """
    for rule in rules:
        explanation = rule.explain(text, words)
        if explanation is not None:
            return explanation
    return None
