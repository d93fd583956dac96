# Licensed under the Apache License, Version 2.0; see the LICENSE file.
"""A throw-away PostgreSQL server of one's own: from Debian's package, in a temporary folder, on a private socket."""

from __future__ import annotations

import os
import pwd
import shutil
import signal
import subprocess
import tempfile
from pathlib import Path

from tests.system.processes import end_server

NEEDED = "PostgreSQL's server programs (Debian: apt-get install postgresql)"
# Lost on a power cut, which a test database may be.
FAST = ["-c", "fsync=off", "-c", "synchronous_commit=off", "-c", "full_page_writes=off", "-c", "max_connections=200"]


def programs() -> Path | None:
    """The folder of ``initdb`` and ``postgres``, the newest version first; None if there is none."""
    debian = sorted(Path("/usr/lib/postgresql").glob("*/bin"), key=lambda p: int(p.parent.name), reverse=True)
    on_path = shutil.which("initdb")
    for folder in [*debian, *([Path(on_path).resolve().parent] if on_path else [])]:
        if (folder / "initdb").exists() and (folder / "postgres").exists():
            return folder
    return None


def preferred_database() -> str:
    """``postgres`` where its programs are installed, else ``sqlite``."""
    return "postgres" if programs() else "sqlite"


class Postgres:
    """One server; the folder, and with it the socket, belongs to the user that the server runs as.

    PostgreSQL refuses to run as root: then it runs as Debian's ``postgres`` (or ``nobody``). There is no TCP port, so
    nothing can collide with a server of the machine, and only that user and root can open the socket.
    """

    def __init__(self) -> None:
        bin_folder = programs()
        if bin_folder is None:
            raise RuntimeError(f"{NEEDED} are missing")
        self._bin = bin_folder
        self._user: str | int = _server_user()
        self.folder = Path(tempfile.mkdtemp(prefix="airflow-hybrid-pg-", dir="/tmp"))
        self._server: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Make the data folder, start the server, create the database ``airflow``.

        :raises RuntimeError: with the server's own words.
        """
        data, log = self.folder / "data", self.folder / "server.log"
        if os.getuid() == 0:
            shutil.chown(self.folder, self._user)
        self._run("initdb", "-D", str(data), "-U", "airflow", "-A", "trust", "-E", "UTF8", "--locale=C", "--no-sync")
        argv = [str(self._bin / "postgres"), "-D", str(data), "-k", str(self.folder), "-c", "listen_addresses=", *FAST]
        with log.open("wb") as out:
            self._server = subprocess.Popen(
                argv,
                user=self._switch(),
                cwd="/",
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=out,
                start_new_session=True,
            )
        for _ in range(100):
            ready = self._run("pg_isready", "-q", "-h", str(self.folder), "-t", "1", check=False)
            if ready == 0:
                break
            if self._server.poll() is not None:
                raise RuntimeError(f"PostgreSQL did not start:\n{log.read_text(errors='replace')}")
        self._run("createdb", "-h", str(self.folder), "-U", "airflow", "airflow")

    @property
    def pid(self) -> int | None:
        return self._server.pid if self._server else None

    @property
    def url(self) -> str:
        """SQLAlchemy URL for the synchronous driver."""
        return f"postgresql+psycopg2://airflow@/airflow?host={self.folder}"

    @property
    def async_url(self) -> str:
        """SQLAlchemy URL for the asynchronous driver."""
        return f"postgresql+asyncpg://airflow@/airflow?host={self.folder}"

    def stop(self) -> None:
        """End the server and remove its files."""
        if self._server is not None:
            end_server(self._server, signal.SIGINT)  # "fast" shutdown: connections are dropped
            self._server = None
        shutil.rmtree(self.folder, ignore_errors=True)

    def _switch(self) -> str | int | None:
        return self._user if os.getuid() == 0 else None

    def _run(self, program: str, *args: str, check: bool = True) -> int:
        done = subprocess.run(
            [str(self._bin / program), *args], user=self._switch(), cwd="/", stdin=subprocess.DEVNULL,
            capture_output=True, text=True, check=False,
        )  # fmt: skip
        if check and done.returncode:
            raise RuntimeError(f"{program} failed:\n{done.stderr or done.stdout}")
        return done.returncode


def _server_user() -> str | int:
    if os.getuid() != 0:
        return os.getuid()
    for name in ("postgres", "nobody"):
        try:
            return pwd.getpwnam(name).pw_name
        except KeyError:
            continue
    raise RuntimeError("PostgreSQL does not run as root, and there is neither a user postgres nor nobody")
