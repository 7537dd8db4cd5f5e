"""A private PostgreSQL server in a temporary folder, on a free port of this machine: Debian's binaries, no service."""

from __future__ import annotations

import contextlib
import os
import pwd
import shutil
import socket
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

PLACES = ("/usr/lib/postgresql/*/bin", "/usr/local/bin", "/usr/local/pgsql/bin")
USER = "postgres"  # initdb refuses root
REASON = "no PostgreSQL server can be started"  # not installed, no user for it, or initdb or the server fails


def binaries() -> Path | None:
    """The folder of initdb and pg_ctl, the newest version's; None: there is none."""
    found = [Path(initdb).parent for initdb in (shutil.which("initdb"),) if initdb]
    for place in PLACES:
        root, _, pattern = place.partition("*")
        folders = sorted(Path(root).glob(f"*{pattern}")) if pattern else [Path(place)]
        found += [folder for folder in reversed(folders) if (folder / "initdb").is_file()]
    return found[0] if found else None


@contextlib.contextmanager
def postgresql() -> Iterator[str]:
    """The URL of an empty database; skips the test, with the reason, where no server can be started."""
    folder = binaries()
    if folder is None:
        pytest.skip(REASON)
    as_root = os.geteuid() == 0
    if as_root and USER not in {entry.pw_name for entry in pwd.getpwall()}:
        pytest.skip(REASON)
    home = Path(tempfile.mkdtemp(prefix="splitpoint-postgresql-"))
    if as_root:
        shutil.chown(home, USER)
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]

    def run(program: str, *arguments: str) -> subprocess.CompletedProcess[bytes]:
        return subprocess.run(
            [str(folder / program), "-D", str(home / "data"), *arguments],
            user=USER if as_root else None,
            cwd=home,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            check=False,
            timeout=120,
        )

    # One process at a time uses it, nothing need outlive it: no waiting for the disk.
    options = f"-p {port} -c listen_addresses=127.0.0.1 -c unix_socket_directories={home} -c fsync=off"
    try:
        for command in (
            ("initdb", "-U", USER, "-A", "trust", "--no-sync", "-E", "UTF8", "--locale=C"),
            ("pg_ctl", "start", "-w", "-t", "60", "-l", str(home / "log"), "-o", options),
        ):
            if run(*command).returncode != 0:
                pytest.skip(REASON)
        yield f"postgresql://{USER}@127.0.0.1:{port}/{USER}"
    finally:
        run("pg_ctl", "stop", "-m", "immediate", "-t", "30")
        shutil.rmtree(home, ignore_errors=True)
