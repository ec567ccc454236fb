"""Old command line, an alias that goes in the next version: see `mmrlhf_jobs.steps`."""

from __future__ import annotations

import sys
from collections.abc import Sequence

from mmrlhf_jobs.aliases import run_alias

__all__ = ["main"]


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the step; return the exit code."""
    return run_alias("improvement", "improve", arguments)


if __name__ == "__main__":
    sys.exit(main())
