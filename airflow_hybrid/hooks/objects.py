# Licensed under the Apache License, Version 2.0; see the LICENSE file.
"""Files of object stores (``s3://``, ``gs://`` ...), by Airflow's object storage: read on this machine, where the
stores' Connections are; a location has no credentials for them.
"""

from __future__ import annotations

from typing import IO, Any, cast
from urllib.parse import unquote, urlsplit

from airflow_hybrid.errors import TransferError

WEB = ("http", "https")
HERE = ("file", "hybrid")


def is_url(location: str) -> bool:
    """Whether a location is neither a file of this machine nor of a deployment: of the web, or of an object store."""
    scheme = urlsplit(location).scheme
    return bool(scheme) and scheme not in HERE and location.startswith(f"{scheme}://")


def is_object(location: str) -> bool:
    """Whether it is in an object store."""
    return is_url(location) and urlsplit(location).scheme not in WEB


def open_object(url: str) -> tuple[IO[bytes], int | None]:
    """Open an object for reading; -> the stream, and its size in bytes. Blocking.

    :param url: as of Airflow's ObjectStoragePath; ``s3://conn_id@bucket/key`` names a Connection.
    :raises TransferError: no provider for the scheme is installed, or the store refuses.
    """
    from airflow.sdk import ObjectStoragePath

    try:
        path = ObjectStoragePath(_plain(url))
        size = path.stat()["size"]
        return cast("IO[bytes]", cast(Any, path).open("rb")), int(size) if size is not None else None
    except (OSError, ValueError, ImportError) as error:
        raise TransferError(
            f"{url} cannot be read: {error}",
            hint="object stores are read by Airflow's providers (s3: apache-airflow-providers-amazon[s3fs], gs:"
            " ...-google) with the Connection that the URL names, s3://conn_id@bucket/key",
        ) from error


def _plain(url: str) -> str:
    """Keys of objects are not percent-encoded; locations are."""
    scheme, _, rest = url.partition("://")
    return f"{scheme}://{unquote(rest)}"
