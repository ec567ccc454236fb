"""A figure's way from the event of a job to the people who read it; run by `test_wire`.

Usage: ``python new_figure.py NAME VALUE``; writes a JSON object with what each reader makes of it.
"""

from __future__ import annotations

import io
import json
import sys
import threading
from datetime import UTC, datetime
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from mmrlhf.client.views import JobView
from mmrlhf.local.events import EventTail
from mmrlhf_api import KINDS
from mmrlhf_api.base import wire_dict
from mmrlhf_api.crd import crd
from mmrlhf_api.reference import pages
from mmrlhf_jobs.reporting.events import Progress
from mmrlhf_jobs.reporting.fan_out import Several
from mmrlhf_jobs.reporting.file import FileProgress
from mmrlhf_jobs.reporting.log import LogProgress
from mmrlhf_jobs.reporting.push import PushProgress
from mmrlhf_operator.planning.draft import Draft
from mmrlhf_operator.state.progress import merge
from mmrlhf_operator.state.views import JobView as OperatorsView
from mmrlhfctl.local.display import PlainDisplay
from mmrlhfctl.text.job import summary
from mmrlhfctl.text.jobs import JobColumns

NOW = datetime(2026, 11, 23, 12, tzinfo=UTC)
KIND = KINDS["MMDPOJob"]
JOB: dict[str, Any] = {
    "apiVersion": "mmrlhf.io/v1alpha1",
    "kind": KIND.name,
    "metadata": {
        "name": "digits",
        "namespace": "vision",
        "uid": "u",
        "generation": 1,
        "creationTimestamp": "2026-11-23T11:00:00Z",
        "resourceVersion": "1",
    },
    "spec": {
        "model": {"uri": "/m"},
        "data": {"train": {"uri": "/d"}},
        "artifacts": {"uri": "/a"},
        "training": {"globalBatchSize": 8},
    },
}


def main() -> None:
    """Tell a figure and write what became of it."""
    name, value = sys.argv[1], float(sys.argv[2])
    log = io.StringIO()
    with TemporaryDirectory() as folder, _Operator() as operator:
        token, lines = Path(folder) / "token", Path(folder) / "lines"
        token.write_text("t")
        push = PushProgress(f"http://127.0.0.1:{operator.port}/", token)
        progress: Progress = Several((LogProgress(log), FileProgress(lines), push))
        progress.emit("step", step=3, totalSteps=9, loss=0.5, **{name: value})
        progress.close()
        local = io.StringIO()
        for event in EventTail(lines).read():
            PlainDisplay(local).show(event)
    draft = Draft(OperatorsView.read(KIND, JOB), NOW)
    draft.report(merge(None, operator.events, attempt=0, at=NOW), seconds=0)
    status = wire_dict(draft.status)
    view = JobView.read({**JOB, "status": {"phase": "Running", **status}})
    (version,) = crd(KIND)["spec"]["versions"]
    schema = version["schema"]["openAPIV3Schema"]["properties"]["status"]["properties"]
    columns = JobColumns([KIND], namespaces=False, wide=True)
    row = columns.row(view, NOW)
    found = {
        "log": log.getvalue().strip(),
        "local": local.getvalue().strip(),
        "status": status["progress"],
        "schema": schema["progress"]["properties"][name],
        "columns": [
            c["name"] for c in version["additionalPrinterColumns"] if name in c["jsonPath"]
        ],
        "reference": [line for line in pages()["status.md"].splitlines() if f"`{name}`" in line],
        "summary": [line for line in summary(view, NOW) if line.startswith("Progress")],
        "list": dict(zip(columns.headers, map(str, row), strict=True)),
    }
    sys.stdout.write(json.dumps(found))


class _Operator:
    """Takes what is pushed."""

    def __enter__(self) -> _Operator:
        self.events: list[dict[str, Any]] = []
        events = self.events

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"]))
                events.extend(json.loads(body)["events"])
                self.send_response(204)
                self.end_headers()

            def log_message(self, *arguments: object) -> None:
                pass

        self._server = HTTPServer(("127.0.0.1", 0), Handler)
        self.port = self._server.server_port
        threading.Thread(target=self._server.serve_forever, daemon=True).start()
        return self

    def __exit__(self, *exception: object) -> None:
        self._server.shutdown()
        self._server.server_close()


if __name__ == "__main__":
    main()
