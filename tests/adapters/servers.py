"""Servers for tests: on 127.0.0.1, in folders of their own, gone when the test is."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from urllib.request import urlopen

import psutil
import pytest

STARTS_WITHIN = 120
"""Seconds."""


@contextmanager
def mlflow_server(database: str, folder: Path, port: int) -> Iterator[subprocess.Popen[bytes]]:
    """`mlflow server` on a database, its files in the folder, ready to be asked; with all its processes gone at the
    end."""
    options = {"backend-store-uri": database, "artifacts-destination": folder / "files", "port": port}
    options |= {"host": "127.0.0.1", "workers": 1}
    command = [sys.executable, "-m", "mlflow", "server", *(f"--{name}={value}" for name, value in options.items())]
    quiet = {"MLFLOW_DISABLE_TELEMETRY": "true", "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false"}
    with _serving(command, quiet, folder, port) as server:
        yield server


@contextmanager
def secateur_ui(database: str, folder: Path, port: int) -> Iterator[subprocess.Popen[bytes]]:
    """`secateur ui` on a database, as `mlflow_server`."""
    code = "from secateur.cli import main; main()"
    command = [sys.executable, "-c", code, "ui", "--uri", database, "--port", str(port)]
    with _serving(command, {}, folder, port) as server:
        yield server


@contextmanager
def _serving(
    command: list[str], environment: dict[str, str], folder: Path, port: int
) -> Iterator[subprocess.Popen[bytes]]:
    with (folder / "server.log").open("ab") as log:
        server = subprocess.Popen(command, env=os.environ | environment, cwd=folder, stdout=log, stderr=log)
    try:
        _wait(lambda: _is_healthy(port), server, folder / "server.log")
        yield server
    finally:
        kill(server)


def kill(server: subprocess.Popen[bytes]) -> None:
    """With all that it started, at once."""
    if server.poll() is None:
        for process in psutil.Process(server.pid).children(recursive=True):
            process.kill()
    server.kill()
    server.wait()


@contextmanager
def postgres() -> Iterator[str]:
    """A PostgreSQL of its own: the address of an empty database; skips the test where none is installed."""
    programs = max(Path("/usr/lib/postgresql").glob("*/bin"), key=lambda path: int(path.parent.name), default=None)
    if programs is None:
        pytest.skip("no PostgreSQL in /usr/lib/postgresql: apt-get install postgresql")
    with TemporaryDirectory(prefix="secateur-postgres-") as place:
        folder, port = Path(place), free_port()
        if os.geteuid() == 0:
            shutil.chown(folder, "postgres", "postgres")
        log = folder / "postgres.log"
        data, user = folder / "data", _as_nobody_special()
        subprocess.run(
            [*user, programs / "initdb", "--pgdata", data, "--username=secateur", "--auth=trust", "--no-sync"],
            check=True, cwd=folder, stdout=subprocess.DEVNULL,
        )  # fmt: skip
        settings = {"listen_addresses": "127.0.0.1", "unix_socket_directories": folder, "fsync": "off"}
        command = [*user, programs / "postgres", "-D", data, "-p", str(port)]
        command += [f"--{name}={value}" for name, value in settings.items()]
        with log.open("wb") as file:
            server = subprocess.Popen(command, cwd=folder, stdout=file, stderr=file)
        try:
            ready = [programs / "pg_isready", "-q", "-h", "127.0.0.1", "-p", str(port)]
            _wait(lambda: subprocess.run(ready).returncode == 0, server, log)
            yield f"postgresql+psycopg2://secateur@127.0.0.1:{port}/postgres"
        finally:
            server.send_signal(signal.SIGINT)  # "fast": it ends its sessions, then itself
            server.wait()


def free_port() -> int:
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        port: int = found.getsockname()[1]
        return port


def _as_nobody_special() -> list[str]:
    """PostgreSQL refuses root; its package brings a user along. It ends with the tests, however those end."""
    end = ["setpriv", "--pdeathsig", "INT"]
    return [*end, "--reuid=postgres", "--regid=postgres", "--clear-groups"] if os.geteuid() == 0 else end


def _is_healthy(port: int) -> bool:
    try:
        with urlopen(f"http://127.0.0.1:{port}/health", timeout=5) as answer:
            return answer.status == 200
    except OSError:
        return False


def _wait(is_ready: Callable[[], bool], server: subprocess.Popen[bytes], log: Path) -> None:
    end = time.monotonic() + STARTS_WITHIN
    while not is_ready():
        if server.poll() is not None or time.monotonic() > end:
            pytest.fail(f"{server.args} did not start: {log.read_text()[-2000:]}")
        time.sleep(0.1)
