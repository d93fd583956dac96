# Licensed under the Apache License, Version 2.0; see the LICENSE file.
"""Find the paths of one job in text (in its directory, or of its inputs) among other paths. Pure."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field

MARK = "\0"
"""delimiter of a path's replacement: no path, argument or variable can contain it"""
_MARKED = re.compile(f"{MARK}[^{MARK}]*{MARK}")


@dataclass
class _PathTree:
    """:ivar ends: names of paths that end here -> their marks; ``lengths``: of those names."""

    folders: dict[str, _PathTree] = field(default_factory=dict)
    ends: dict[str, str] = field(default_factory=dict)
    lengths: set[int] = field(default_factory=set)


class JobPaths:
    """Replaces a job's paths in a text by their meanings, the longest path first.

    :param meanings: absolute path -> its meaning.
    """

    def __init__(self, meanings: Mapping[str, str]) -> None:
        self._whole = {path: f"{MARK}{meaning}{MARK}" for path, meaning in meanings.items()}
        self._root = _PathTree()
        for path, mark in self._whole.items():
            *parents, name = path.strip("/").split("/")
            folder = self._root
            for parent in parents:
                folder = folder.folders.setdefault(parent, _PathTree())
            folder.ends[name] = mark
            folder.lengths.add(len(name))

    def strip(self, text: str) -> str:
        """The text with only a :data:`MARK` instead of each of the job's paths."""
        return _MARKED.sub(MARK, self.replace(text))

    def replace(self, text: str) -> str:
        """The text with marks instead of paths; two texts with any other difference stay different."""
        whole = self._whole.get(text)
        if whole is not None:
            return whole
        pieces: list[str] = []
        done = at = 0
        while (at := text.find("/", at)) >= 0:
            end, mark = self._longest(text, at)
            if mark:
                pieces += [_plain(text[done:at]), mark]
                done = at = end
            else:
                at += 1
        return "".join([*pieces, _plain(text[done:])])

    def _longest(self, text: str, at: int) -> tuple[int, str]:
        """The end of the longest path that begins at ``at``, and its mark; an empty mark if there is none."""
        end, mark = at, ""
        folder: _PathTree | None = self._root
        while folder is not None:
            after = text.find("/", at + 1)
            name = text[at + 1 : after] if after >= 0 else text[at + 1 :]
            for length in sorted(folder.lengths):
                mark_of_name = folder.ends.get(name[:length])
                if mark_of_name is not None and length <= len(name) and not _goes_on(name, length):
                    end, mark = at + 1 + length, mark_of_name
            folder = folder.folders.get(name) if after >= 0 else None
            at = after
        return end, mark


def _goes_on(name: str, length: int) -> bool:
    """Whether the following text belongs to the file name: ``in.bam.bai`` is not ``in.bam``."""
    return length < len(name) and (name[length].isalnum() or name[length] in "_.+%@~-")


def _plain(text: str) -> str:
    return text.replace(MARK, f"{MARK}0") if MARK in text else text
