"""The log of a node in a real object store: over an outage, and after SIGKILL."""

from __future__ import annotations

import os
import signal
from pathlib import Path

from mmrlhf.archive.logs import ArchivedLogs
from mmrlhf_api.runs import RunLayout
from tests.cluster.wait import wait_until
from tests.s3.conftest import Bucket
from tests.unit.api.specimens import job as a_job
from tests.unit.log_archive.launcher import start

SPEAKS = """
import os, pathlib, sys, time
print("step 1 with", os.environ["AWS_SECRET_ACCESS_KEY"], flush=True)
while not pathlib.Path(os.environ["WHILE_AWAY"]).exists():
    time.sleep(0.05)
print("step 2 while the store is away", flush=True)
time.sleep(600)
"""


def test_a_log_outlives_the_store_for_a_while_and_its_launcher_for_good(
    bucket: Bucket, tmp_path: Path
) -> None:
    server = bucket.server
    artifacts = {
        "uri": f"{bucket.uri}/artifacts",
        "endpoint": server.endpoint,
        "region": server.region,
    }
    logs = RunLayout.of(a_job(artifacts=artifacts)).within(artifacts["uri"]).logs

    def kept() -> list[str]:
        """Lines of the rank and its launcher; what the archive says of itself stands between."""
        found = ArchivedLogs(logs, endpoint=server.endpoint, region=server.region)
        lines = found.lines(attempt=2, nodes=[1]) if found.pieces else ()
        return [line.text for line in lines if not line.text.startswith("log: ")]

    lines = ["the launcher starts", "step 1 with ***"]
    away = tmp_path / "away"
    process = start(tmp_path, SPEAKS, artifacts=artifacts, WHILE_AWAY=str(away))
    try:
        wait_until(lambda: kept() == lines, timeout=120, what=f"{lines}")
        server.crash()
        try:
            away.touch()
            assert process.stdout is not None
            assert [process.stdout.readline() for _ in range(3)][-1].startswith("step 2")
        finally:
            server.revive()
        lines.append("step 2 while the store is away")
        wait_until(lambda: kept() == lines, timeout=120, what=f"{lines}")
        assert process.poll() is None
    finally:
        children = Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text()
        process.kill()
        for pid in children.split():
            os.kill(int(pid), signal.SIGKILL)
        process.communicate()
    assert process.returncode == -signal.SIGKILL
    assert kept() == lines
