"""A launcher that keeps the log of a rank, as a process of its own."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any, Final

from mmrlhf_api.serialization import job_json
from tests.unit.api.specimens import job as a_job

LAUNCHER: Final = """
import os, subprocess, sys
from mmrlhf_jobs.log_archive.node_log import keep_log
with keep_log([], seconds=0.05):
    print("the launcher starts", flush=True)
    code = subprocess.run([sys.executable, "-c", sys.argv[1]]).returncode
    print(f"the rank ended with {code}", file=sys.stderr, flush=True)
os._exit(code)
"""


def start(
    folder: Path, rank: str, *, artifacts: dict[str, Any], **env: str
) -> subprocess.Popen[str]:
    """Start a launcher of attempt 2, node 1.

    Args:
        folder: For the job file.
        rank: Program that the launcher runs.
        artifacts: The job's store.
        env: Variables beside those of this process.
    """
    job = folder / "job.json"
    job.write_text(job_json(a_job(artifacts=artifacts)))
    return subprocess.Popen(
        [sys.executable, "-c", LAUNCHER, rank],
        env={
            **os.environ,
            "MMRLHF_JOB": str(job),
            "MMRLHF_ATTEMPT": "2",
            "PET_NODE_RANK": "1",
            **env,
        },
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
