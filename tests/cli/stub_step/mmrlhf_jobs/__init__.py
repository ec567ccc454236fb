"""Stands in for the real job package: only ``__main__`` is replaced."""

from pathlib import Path

__path__ = [*__path__, str(Path(__file__).parents[4] / "jobs" / "mmrlhf_jobs")]
