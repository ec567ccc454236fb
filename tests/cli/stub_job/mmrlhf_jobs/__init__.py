"""Stands in for the real job package, so that the launcher is tested without training a model.

Only ``__main__`` is replaced; everything else, the node's launcher above all, is the real one.
"""

from pathlib import Path

__path__ = [*__path__, str(Path(__file__).parents[4] / "jobs" / "mmrlhf_jobs")]
