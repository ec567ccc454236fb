"""A step that takes its time to keep what is done when it is asked to stop.

``STUB_SAVE_SECONDS`` says how long, and ``STUB_CODE`` its exit code then. It names itself, and a
process that it has started, on standard error.
"""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path

from mmrlhf_jobs.process.interruption import Interrupted
from mmrlhf_jobs.process.stopping import stopped_by_signals

try:
    with stopped_by_signals():
        helper = subprocess.Popen(["sleep", "600"])
        print("at work:", os.getpid(), helper.pid, file=sys.stderr, flush=True)
        try:
            time.sleep(600)
        finally:
            time.sleep(float(os.environ["STUB_SAVE_SECONDS"]))
            Path("kept").write_text(" ".join(sys.argv[1:]))
except Interrupted:
    helper.kill()
    sys.exit(int(os.environ["STUB_CODE"]))
