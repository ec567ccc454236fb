"""A real Label Studio, from PyPI, on the loopback address and with a database of its own."""

from __future__ import annotations

import json
import os
import shutil
import sqlite3
import subprocess
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

from tests.jobs.annotation.environments import make_once, python_with
from tests.patience import PATIENCE
from tests.ports import free_port

__all__ = ["LabelStudio", "run_label_studio"]

_VERSION: Final = "1.23.0"
_ADMIN: Final = "admin@example.org"
_TOKEN: Final = "0123456789abcdef0123456789abcdef01234567"
_START_SECONDS: Final = 300 * PATIENCE
_DATABASE: Final = "label_studio.sqlite3"


class LabelStudio:
    """Its REST API, as far as the tests use it."""

    def __init__(self, url: str, data: Path) -> None:
        self._url = url
        self._data = data

    def call(self, method: str, path: str, content: object = None, *, token: str = _TOKEN) -> Any:
        """One request; errors carry what the server said."""
        request = urllib.request.Request(
            self._url + path,
            method=method,
            data=None if content is None else json.dumps(content).encode(),
            headers={"Authorization": f"Token {token}", "Content-Type": "application/json"},
        )
        try:
            with urllib.request.urlopen(request, timeout=60 * PATIENCE) as response:
                return json.loads(response.read() or b"null")
        except urllib.error.HTTPError as error:
            error.add_note(error.read().decode()[:2000])
            raise

    def create_project(self, page: str) -> int:
        """A project with this labelling page."""
        content = {"title": "Ranking of responses", "label_config": page, "maximum_annotations": 2}
        return int(self.call("POST", "/api/projects", content)["id"])

    def load(self, project: int, tasks: list[Any]) -> None:
        """Import tasks, as the page for it does."""
        self.call("POST", f"/api/projects/{project}/import", tasks)

    def tasks(self, project: int) -> dict[str, int]:
        """Number of each task by its `task_id`."""
        found = self.call("GET", f"/api/tasks?project={project}&fields=all&page_size=1000")
        return {task["data"]["task_id"]: task["id"] for task in found["tasks"]}

    def export(self, project: int) -> bytes:
        """The raw JSON export, byte by byte."""
        path = f"/api/projects/{project}/export?exportType=JSON&download_all_tasks=true"
        request = urllib.request.Request(
            self._url + path, headers={"Authorization": f"Token {_TOKEN}"}
        )
        with urllib.request.urlopen(request, timeout=60 * PATIENCE) as response:
            content: bytes = response.read()
        return content

    def write_storage(self, project: int) -> Path:
        """Write all annotations of a project to a target storage, which is a folder here."""
        folder = self._data / f"target-{project}"
        folder.mkdir()
        content = {"project": project, "title": "target", "path": str(folder)}
        number = self.call("POST", "/api/storages/export/localfiles", content)["id"]
        self.call("POST", f"/api/storages/export/localfiles/{number}/sync")
        return folder

    def add_user(self, name: str) -> tuple[str, str]:
        """Id and token of a new user."""
        email = f"{name}@example.org"
        content = {"username": name, "email": email, "password": "not-a-secret"}
        number = self.call("POST", "/api/users", content)["id"]
        with sqlite3.connect(self._data / _DATABASE) as database:
            query = "select key from authtoken_token where user_id = ?"
            (token,) = database.execute(query, (number,)).fetchone()
        return str(number), token


@contextmanager
def run_label_studio(folder: Path) -> Iterator[LabelStudio]:
    """Start a server with an empty database in a folder, and stop it at the end."""
    python = python_with(f"label-studio=={_VERSION}")

    def migrate(data: Path) -> None:
        # A minute of migrations, done once: later servers start from a copy.
        data.mkdir(parents=True)
        with _serve(python, data):
            pass

    template = make_once(f"label-studio-{_VERSION}-database", migrate)
    shutil.copytree(template, folder)
    with _serve(python, folder) as url:
        yield LabelStudio(url, folder)


@contextmanager
def _serve(python: Path, data: Path) -> Iterator[str]:
    port = free_port()
    command: list[str | Path] = [
        python.with_name("label-studio"), "start", "--no-browser", "--enable-legacy-api-token",
        "--internal-host", "127.0.0.1", "--port", str(port), "--data-dir", data,
        "--username", _ADMIN, "--password", "not-a-secret", "--user-token", _TOKEN,
    ]  # fmt: skip
    quiet = {"COLLECT_ANALYTICS": "false", "LATEST_VERSION_CHECK": "false"}
    environment = {
        name: value for name, value in os.environ.items() if not name.startswith("PYTHON")
    }
    environment |= {
        "LABEL_STUDIO_LOCAL_FILES_SERVING_ENABLED": "true",
        "LABEL_STUDIO_LOCAL_FILES_DOCUMENT_ROOT": str(data),
    }
    environment |= {**quiet, "LABEL_STUDIO_BASE_DATA_DIR": str(data), "HOME": str(data)}
    log = data / "server.log"
    with log.open("wb") as output:
        server = subprocess.Popen(command, stdout=output, stderr=output, env=environment)
        try:
            url = f"http://127.0.0.1:{port}"
            _wait(server, url, log)
            yield url
        finally:
            server.terminate()
            server.wait(timeout=150 * PATIENCE)


def _wait(server: subprocess.Popen[bytes], url: str, log: Path) -> None:
    deadline = time.monotonic() + _START_SECONDS
    while time.monotonic() < deadline and server.poll() is None:
        try:
            urllib.request.urlopen(f"{url}/health", timeout=5).close()
        except (urllib.error.URLError, OSError):
            time.sleep(0.2)
        else:
            return
    words = "\n".join(log.read_text(errors="replace").splitlines()[-15:])
    raise RuntimeError(f"Label Studio did not come up:\n{words}")
