# Licensed under the Apache License, Version 2.0; see the LICENSE file.
"""Read the text of a document: only within its roots, limited in size, and recorded."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass, field
from typing import Any

from schema_salad.exceptions import ValidationException
from schema_salad.fetcher import DefaultFetcher

from airflow_hybrid import settings
from airflow_hybrid.cwl.documents.trust.roots import Roots
from airflow_hybrid.cwl.documents.yaml_bounds import refuse_unbounded
from airflow_hybrid.errors import InputError
from airflow_hybrid.internet import RefusedError, open_url, read_all
from airflow_hybrid.printable import redacted

_STANDARD = "https://w3id.org/cwl/"
"""the standard's own files, which any document may read"""


@dataclass
class Reading:
    """The reads to load one document.

    :ivar roots: what may be read.
    :ivar fetched: the URLs that were read, in order.
    :ivar refused: URLs that were not read -> the reason.
    """

    roots: Roots
    fetched: dict[str, None] = field(default_factory=dict)
    refused: dict[str, str] = field(default_factory=dict)


class DocumentFetcher(DefaultFetcher):
    """Records what was read for a document; reads nothing outside its roots.

    :param arguments: schema-salad's own.
    """

    def __init__(self, reading: Reading, *arguments: Any) -> None:
        super().__init__(*arguments)
        self._reading = reading

    def check_exists(self, url: str) -> bool:
        if self._refuses(url):
            return False
        if not _is_web(url) or url in self.cache:
            return bool(super().check_exists(url))
        try:
            open_url(url, judge=self._judge, method="HEAD").close()
        except RefusedError as error:
            self._reading.refused[url] = error.message
            return False
        except OSError:
            return False
        return True

    def fetch_text(self, url: str, content_types: list[str] | None = None) -> str:
        if self._refuses(url):
            raise ValidationException(self._reading.refused[url])
        text = self._from_web(url) if _is_web(url) else str(super().fetch_text(url, content_types))
        try:
            refuse_unbounded(text, redacted(url), is_document=True)
        except InputError as error:
            raise ValidationException(str(error)) from None
        if not url.startswith(_STANDARD):
            self._reading.fetched[url] = None
        return _whole_characters(text)

    def _judge(self, url: str) -> None:
        """Check a redirect: it may only lead where the document may read."""
        if not url.startswith(_STANDARD) and self._refuses(url):
            raise RefusedError(self._reading.refused[url])

    def _refuses(self, url: str) -> bool:
        problem = None if url.startswith(_STANDARD) else self._reading.roots.problem(url)
        if problem:
            self._reading.refused[url] = problem
        return problem is not None

    def _from_web(self, url: str) -> str:
        known = self.cache.get(url)
        if isinstance(known, str):
            return known
        try:
            with open_url(url, judge=self._judge) as response:
                data = read_all(response, settings.current().fetched_document_size << 20, url)
            self.cache[url] = text = data.decode(response.headers.get_content_charset("utf-8"))
        except (OSError, RefusedError, ValueError, LookupError) as error:
            raise ValidationException(f"Error fetching {redacted(url)}: {error}") from None
        return text


def _is_web(url: str) -> bool:
    return url.startswith(("http://", "https://"))


_TWO_HALVES = re.compile(r"(?<!\\)((?:\\\\)*)(\\u[dD][89abAB][0-9a-fA-F]{2}\\u[dD][c-fC-F][0-9a-fA-F]{2})")


def _whole_characters(text: str) -> str:
    """The text of a document in which JSON's surrogate pairs are characters; YAML reads each as two characters.

    Other text, of an ``$include``, is unchanged.
    """
    if not text.lstrip().startswith("{") or not _TWO_HALVES.search(text):
        return text
    try:
        document = json.loads(text)
    except ValueError:
        return text
    if not document.keys() & {"class", "cwlVersion", "$graph"}:
        return text
    return _TWO_HALVES.sub(lambda match: match[1] + json.loads(f'"{match[2]}"'), text)
