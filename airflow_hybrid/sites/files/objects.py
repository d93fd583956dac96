# Licensed under the Apache License, Version 2.0; see the LICENSE file.
"""Files of object stores (``s3://``, ``gs://`` ...), through Airflow's object storage. They are read on this machine,
which has the stores' Connections; locations have no credentials for them.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import IO, Any, cast
from urllib.parse import quote, unquote, urlsplit

from airflow_hybrid.errors import TransferError
from airflow_hybrid.model import JsonValue
from airflow_hybrid.model.locations import FILES, STORES, WEB, scheme_of
from airflow_hybrid.model.walking import location_of

MOST_LISTED = 100_000
"""files and folders of a Directory that is an input"""


def is_url(location: str) -> bool:
    """Whether a location is on the web or in an object store, not a file of this machine or of a deployment."""
    scheme = scheme_of(location)
    return bool(scheme) and scheme not in FILES and location[len(scheme) :].startswith("://")


def is_object(location: str) -> bool:
    """Whether it is in an object store."""
    return is_url(location) and scheme_of(location) in STORES


def connection_of(location: str) -> str | None:
    """The id of the Connection that a URL names; None: it names none, or is on the web."""
    if not is_url(location) or scheme_of(location) in WEB:
        return None
    return urlsplit(_plain(location)).netloc.rpartition("@")[0] or None


def object_at(path: str) -> Any:
    """An object, or what is below a prefix, as Airflow's ObjectStoragePath; what it does is blocking.

    :param path: a URL whose key is not percent-encoded.
    """
    from airflow.sdk import ObjectStoragePath

    return cast(Any, ObjectStoragePath(path))


def open_object(url: str) -> tuple[IO[bytes], int | None]:
    """Open an object for reading; -> the stream, and its size in bytes. Blocking.

    :param url: in the form of Airflow's ObjectStoragePath; ``s3://conn_id@bucket/key`` names a Connection.
    :raises TransferError: no provider for the scheme is installed, or the store refuses.
    """
    from airflow.sdk import ObjectStoragePath

    try:
        path = ObjectStoragePath(_plain(url))
        size = path.stat()["size"]
        return cast("IO[bytes]", cast(Any, path).open("rb")), int(size) if size is not None else None
    except (OSError, ValueError, ImportError) as error:
        raise _unreadable(url, error) from None


def with_listings(value: JsonValue) -> JsonValue:
    """Replace every Directory of an object store in ``value`` by its current Files, because locations cannot fetch one.

    Blocking.

    :raises TransferError: it cannot be listed, or it is empty.
    """
    if isinstance(value, list):
        return [with_listings(member) for member in value]
    if not isinstance(value, dict):
        return value
    location = str(location_of(value) or "")
    if value.get("class") == "Directory" and "listing" not in value and is_object(location):
        fields = {key: member for key, member in value.items() if key not in ("location", "path")}
        location = (quote(location, safe="/:@") if value.get("location") is None else location).rstrip("/")
        return {"basename": unquote(location.rpartition("/")[2]), **fields, "listing": _listing(location)}
    return {key: with_listings(member) for key, member in value.items()}


def _listing(url: str) -> list[JsonValue]:
    from airflow.sdk import ObjectStoragePath

    left = MOST_LISTED

    def entries(path: Any, location: str) -> Iterator[JsonValue]:
        nonlocal left
        for entry in sorted(path.iterdir(), key=lambda entry: str(entry.name)):
            left -= 1
            if left < 0:
                problem = f"there are more than {MOST_LISTED:,} files and folders below {url}"
                raise TransferError(problem, hint="name a folder further below, or the files")
            member_location = f"{location}/{quote(entry.name)}"
            about = {"basename": entry.name}
            if entry.is_dir():
                yield {"class": "Directory", **about, "listing": list(entries(entry, member_location))}
            elif entry.name:
                yield {"class": "File", **about, "location": member_location}

    try:
        listing = list(entries(ObjectStoragePath(_plain(url)), url))
    except (OSError, ValueError, ImportError) as error:
        raise _unreadable(url, error) from None
    if not listing:
        raise TransferError(f"there is nothing below {url}", hint="is the prefix right?")
    return listing


def _unreadable(url: str, error: Exception) -> TransferError:
    if isinstance(error, FileNotFoundError):
        return TransferError(f"{url} does not exist", hint="is the name right?")
    if isinstance(error, NotADirectoryError):
        return TransferError(f"{url} does not exist, or is not a directory", hint="is the name right?")
    return TransferError(
        f"{url} cannot be read: {error}",
        hint="object stores are read by Airflow's providers (s3: apache-airflow-providers-amazon[s3fs], gs:"
        " ...-google) with the Connection that the URL names, s3://conn_id@bucket/key",
    )


def _plain(url: str) -> str:
    """Keys of objects are not percent-encoded; locations are."""
    scheme, _, key = url.partition("://")
    return f"{scheme}://{unquote(key)}"
