"""Runs a job that improves, as a process that stays when it wants the media of the third query.

``python -m tests.jobs.steps.held stepjob --job FILE``
"""

from __future__ import annotations

import sys

from mmrlhf_jobs.__main__ import main
from tests.jobs.improvement.held import hold

if __name__ == "__main__":
    hold(call=3)
    sys.exit(main(sys.argv[1:]))
